"""Every method finds the training point that a test point was copied from."""

import numpy as np

from analysis.attribution.influence import exact_influence
from analysis.attribution.representer import refit_representer_head
from analysis.attribution.similarity import embedding_scores
from analysis.attribution.trak import TrakNetwork, trak_scores


def test_planted_duplicates_score_highest_in_every_method():
    rng = np.random.default_rng(0)
    h, y = rng.normal(size=(80, 10)), np.arange(80) % 2
    test, twins = h[[3, 10, 41]], np.array([3, 10, 41])
    head = refit_representer_head(h, y, penalty=1e-1)
    probability = 1 / (1 + np.exp(-(h @ head.weight.T)))
    error = probability - np.eye(2)[y]
    gradients = (error[:, :, None] * h[:, None, :]).reshape(80, -1)
    uniform = np.full(80, 0.5)
    methods = {
        "grad_cos": embedding_scores(gradients[twins], gradients),
        "trak": trak_scores([TrakNetwork(h, test, uniform)], ridge=1e-3).scores,
        "embedding": embedding_scores(test, h),
    }
    for name, scores in methods.items():
        np.testing.assert_array_equal(scores.argmax(1), twins, err_msg=name)
    whitened = exact_influence(gradients[twins], gradients, gradients, damping=1e-3).scores
    own = np.array([(whitened[row] > whitened[row, twin]).sum() for row, twin in enumerate(twins)])
    assert (own < 4).all()
