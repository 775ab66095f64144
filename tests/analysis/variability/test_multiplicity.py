"""Ambiguity and discrepancy equal their definitions over all subsets of runs."""

import numpy as np
import pytest

from analysis.classifier_metrics import churn_matrix
from analysis.variability.multiplicity import ambiguity, competitors, discrepancy, multiplicity_of_best
from tests.references import predictive_multiplicity as reference

DECIDED = np.random.default_rng(0).integers(0, 3, size=(5, 23))


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_of_every_size_they_equal_the_mean_over_subsets(size):
    churn = churn_matrix(DECIDED)
    assert ambiguity(DECIDED, size) == pytest.approx(reference.ambiguity(DECIDED, size), abs=1e-12)
    assert discrepancy(churn, size) == pytest.approx(reference.discrepancy(DECIDED, size), abs=1e-12)


def test_churn_equals_its_definition_and_both_measures_of_two_runs():
    churn = churn_matrix(DECIDED)
    wanted = [[reference.churn(a, b) for b in DECIDED] for a in DECIDED]
    np.testing.assert_allclose(churn, wanted, atol=1e-15)
    pairs = churn[np.triu_indices(5, 1)].mean()
    assert ambiguity(DECIDED, 2) == pytest.approx(pairs) and discrepancy(churn, 2) == pytest.approx(pairs)


def test_they_grow_with_the_runs_and_are_bounded():
    found = [ambiguity(DECIDED, size) for size in range(2, 6)]
    assert found == sorted(found) and ambiguity(np.repeat(DECIDED[:1], 4, axis=0)) == 0
    assert ambiguity(DECIDED) >= churn_matrix(DECIDED).max(), "who differs most differs where not all agree"


def test_only_runs_about_as_good_as_the_best_compete():
    accuracy = np.array([0.90, 0.899, 0.85, 0.90, 0.80])
    assert competitors(accuracy, 0.01).tolist() == [True, True, False, True, False]
    found = multiplicity_of_best(DECIDED, accuracy, 0.01)
    kept = DECIDED[[0, 1, 3]]
    assert found[0] == pytest.approx(reference.ambiguity(kept, 3)) and found[2] == 3
    assert found[1] == max(reference.churn(kept[0], kept[1]), reference.churn(kept[0], kept[2]))
    assert multiplicity_of_best(DECIDED, np.array([0.9, 0.1, 0.2, 0.3, 0.4]), 0.01) == (0.0, 0.0, 1)


def test_impossible_sizes_and_tolerances_are_refused():
    with pytest.raises(ValueError, match="size = 6 must be between 2 and 5"):
        ambiguity(DECIDED, 6)
    with pytest.raises(ValueError, match="size = 1 must be"):
        discrepancy(churn_matrix(DECIDED), 1)
    with pytest.raises(ValueError, match="tolerance = 5 must be a difference of accuracies"):
        competitors(np.array([0.9, 0.8]), 5)
    with pytest.raises(ValueError, match="accuracy has 1 of 2 values that are NaN"):
        multiplicity_of_best(DECIDED[:2], np.array([0.9, np.nan]), 0.1)
    with pytest.raises(ValueError, match="with m = 5"):
        multiplicity_of_best(DECIDED, np.array([0.9]), 0.1)
    with pytest.raises(ValueError, match="churn has 4 of 4"):
        discrepancy(np.full((2, 2), np.nan))


def test_one_run_is_refused():
    with pytest.raises(ValueError, match="there is 1 run: ambiguity and discrepancy are about how two or more"):
        ambiguity(np.ones((1, 5), int))
    with pytest.raises(ValueError, match="there is 1 run"):
        discrepancy(np.zeros((1, 1)))
