"""Prediction depth equals a loop over layers and examples, and grows where a layer decides otherwise."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from analysis.probes import layer_votes, prediction_depth
from analysis.probes.example_depth import rank_correlations
from tests.references import layer_probes as reference


def layers(rows, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    means = 3 * np.random.default_rng(9).normal(size=(3, 4))
    return [(means[labels] + noise * rng.normal(size=(rows, 4))).astype(np.float32) for noise in (9, 3, 1)], labels


def test_votes_and_depths_are_those_of_a_loop():
    (train, labels), (test, truth) = layers(60, 0), layers(40, 1)
    votes = layer_votes(train, labels, test, neighbors=5)
    slow = np.stack(
        [reference.knn(a.astype(float), labels, b.astype(float), 5) for a, b in zip(train, test, strict=True)]
    )
    np.testing.assert_array_equal(votes, slow)
    found = prediction_depth(votes, truth)
    for example, depth in enumerate(found):
        others = [layer for layer in range(3) if slow[layer, example] != truth[example]]
        assert depth == (max(others) + 1 if others else 0)
    assert set(found) > {0, 1}


def test_decisions_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"decided has the shape .5,. and votes .2, 4.*with m = 4"):
        prediction_depth(np.zeros((2, 4), int), np.zeros(5, int))
    with pytest.raises(ValueError, match="votes has 1 axis"):
        prediction_depth([0, 1], [0, 1])


def test_runs_are_compared_by_ranks():
    depths = np.random.default_rng(0).integers(0, 4, (3, 50))
    found = rank_correlations(depths)
    assert found[0, 2] == pytest.approx(spearmanr(depths[0], depths[2]).statistic) and found[1, 1] == pytest.approx(1)
    assert np.isnan(rank_correlations(np.zeros((2, 5)))).all()


LAYER, TRUTH = np.arange(16.0).reshape(8, 2), np.array([0, 1] * 4)


@pytest.mark.parametrize(
    ("train", "labels", "test", "message"),
    [
        ([LAYER, LAYER[:7]], TRUTH, [LAYER, LAYER], r"layer 1 has train \(7, 2\) and test \(8, 2\): with 8 labels"),
        ([LAYER, LAYER], TRUTH, [LAYER, LAYER[:5]], r"test \(8, d\), the same rows at every layer"),
        ([LAYER], TRUTH, [LAYER[:, :1]], "layer 0 has train"),
        ([LAYER * np.nan], TRUTH, [LAYER], r"train\[0\] has 16 of 16 values that are NaN"),
        ([LAYER], TRUTH, [np.full((8, 2), np.inf)], r"test\[0\] has"),
        ([LAYER], TRUTH - 1, [LAYER], "labels are outside"),
        ([LAYER], TRUTH, [LAYER, LAYER], "train has 1 layers and test 2"),
        ([], TRUTH, [], "at least one"),
    ],
)
def test_layers_of_other_rows_are_refused(train, labels, test, message):
    with pytest.raises(ValueError, match=message):
        layer_votes(train, labels, test, neighbors=1)
    with pytest.raises(ValueError, match="needs 30 neighbors, there are 8 training rows"):
        layer_votes([LAYER], TRUTH, [LAYER])


def test_depths_that_are_none_are_refused():
    with pytest.raises(ValueError, match="a depth needs at least two"):
        prediction_depth(np.zeros((1, 4), int), np.zeros(4, int))
    with pytest.raises(ValueError, match="depths has 10 of 10"):
        rank_correlations(np.full((2, 5), np.nan))
