"""Onset logic on hand-made tables, and its bootstrap."""

import numpy as np
import pytest

from analysis.probes.onset import NO_ONSET, bootstrap_onset, components_needed, onset_layer
from tests.references import layer_probes as reference

EARLY = [[0.3, 0.4, 0.6], [0.5, 0.5, 0.7], [0.90, 0.905, 0.91], [0.92, 0.92, 0.925]]


def test_onset_is_the_first_layer_of_lasting_agreement():
    assert onset_layer(np.array(EARLY)) == 2


def test_agreement_lost_later_moves_it():
    assert onset_layer(np.array([*EARLY, [0.9, 0.92, 0.95], [0.93, 0.93, 0.93]])) == 5


def test_no_agreement_at_the_end_is_no_onset():
    assert onset_layer(np.array([*EARLY, [0.9, 0.92, 0.95]])) == NO_ONSET


@pytest.mark.parametrize("seed", range(20))
def test_onset_equals_the_double_loop(seed):
    rng = np.random.default_rng(seed)
    table = 0.9 + 0.012 * rng.random((6, 3))
    assert onset_layer(table) == reference.onset(table, 0.01)


def test_bootstrap_names_the_layer_and_bounds_it():
    rng = np.random.default_rng(0)
    shared = rng.random(4000)
    correct = np.stack([[shared < a for a in row] for row in EARLY])
    found = bootstrap_onset(correct, list("abcd"), generator=np.random.default_rng(1), draws=200)
    assert found.index == 2 and found.layer == "c"
    assert found.probability.sum() == pytest.approx(1.0)
    assert found.low in (2, 3) and found.probability[:2].sum() == 0.0
    again = bootstrap_onset(correct, list("abcd"), generator=np.random.default_rng(1), draws=200)
    np.testing.assert_array_equal(found.probability, again.probability)


def test_bootstrap_reports_no_onset():
    correct = np.zeros((2, 3, 100), bool)
    correct[:, 0] = True
    found = bootstrap_onset(correct, ["a", "b"], generator=np.random.default_rng(0), draws=20)
    assert found.layer == "no onset" and found.low == NO_ONSET and found.probability[-1] == 1.0
    with pytest.raises(ValueError, match="layer names"):
        bootstrap_onset(correct, ["a"], generator=np.random.default_rng(0))


def test_components_needed_must_hold_from_there_on():
    ks = np.array([1, 2, 4, 8])
    assert components_needed(ks, np.array([0.2, 0.9, 0.7, 0.9]), 0.9) == 8
    assert components_needed(ks, np.array([0.2, 0.895, 0.91, 0.9]), 0.9) == 2
    assert components_needed(ks, np.array([0.2, 0.3, 0.4, 0.5]), 0.9) is None
