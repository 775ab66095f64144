"""TRAK equals its dense formula."""

import numpy as np
import pytest

from analysis.attribution.trak import TrakNetwork, trak_scores
from tests.references import attribution_formulas as reference


def test_trak_is_its_dense_formula_averaged_over_networks():
    rng = np.random.default_rng(0)
    networks = [TrakNetwork(rng.normal(size=(40, 6)), rng.normal(size=(5, 6)), rng.uniform(size=40)) for _ in range(3)]
    one = trak_scores(networks[:1])
    np.testing.assert_allclose(
        one.scores, reference.trak_one(networks[0].train, networks[0].test, networks[0].probability), rtol=1e-8
    )
    singular = np.linalg.svd(networks[0].train, compute_uv=False)
    assert one.condition[0] == pytest.approx((singular[0] / singular[-1]) ** 2)
    ones = np.zeros(40)
    features = [reference.trak_one(n.train, n.test, ones) for n in networks]
    doubt = np.mean([1 - n.probability for n in networks], axis=0)
    np.testing.assert_allclose(trak_scores(networks).scores, np.mean(features, axis=0) * doubt, rtol=1e-8)


def test_singular_trak_features_need_a_ridge():
    rng = np.random.default_rng(0)
    wide = TrakNetwork(rng.normal(size=(5, 9)), rng.normal(size=(2, 9)), rng.uniform(size=5))
    with pytest.raises(ValueError, match="singular .* pass ridge"):
        trak_scores([wide])
    assert trak_scores([wide], ridge=1e-3).condition[0] > 1e2
    with pytest.raises(ValueError, match="at least one network"):
        trak_scores([])
