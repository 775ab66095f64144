"""Components, variances and scores agree with a float64 SVD whatever the split, order, offset and route."""

import logging

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from analysis.probes.moments import FeatureBlocks
from analysis.probes.streaming_pca import fit_pca, pca_plan
from tests.references import layer_probes as reference


def _features(n, d, seed=0, offset=0.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return ((rng.standard_normal((n, d)) * 0.8 ** np.arange(d)) @ basis.T + offset).astype(dtype)


@pytest.mark.parametrize(("n", "d"), [(300, 24), (20, 60)])
@pytest.mark.parametrize("route", ["covariance", "gram", "randomized"])
@pytest.mark.parametrize("block", [7, 1000])
def test_every_route_gives_the_svd(n, d, route, block):
    features = _features(n, d)
    mean, components, variances, total = reference.pca(features, 6)
    blocks = FeatureBlocks.from_array(torch.from_numpy(features), block=block)
    pca = fit_pca(blocks, 6, route=route, generator=torch.Generator().manual_seed(0))
    assert pca.route == route
    np.testing.assert_allclose(pca.mean.numpy(), mean, atol=1e-12)
    np.testing.assert_allclose(pca.variances.numpy(), variances, rtol=1e-8)
    np.testing.assert_allclose(pca.components.numpy(), components, atol=1e-5)
    assert pca.total_variance == pytest.approx(total, rel=1e-12)
    scores = pca.scores(blocks, dtype=torch.float64).numpy()
    np.testing.assert_allclose(scores, (features - mean) @ components.T, atol=1e-5)


def test_explained_variance_sums_to_one_and_matches_scikit_learn():
    features = _features(200, 15)
    pca = fit_pca(FeatureBlocks.from_array(torch.from_numpy(features)), 15)
    oracle = PCA().fit(features)
    np.testing.assert_allclose(pca.explained_variance.numpy(), oracle.explained_variance_ratio_.cumsum(), rtol=1e-10)
    assert float(pca.explained_variance[-1]) == pytest.approx(1.0, abs=1e-10)


def test_sign_rule_makes_the_largest_loading_positive():
    pca = fit_pca(FeatureBlocks.from_array(torch.from_numpy(_features(100, 12))), 5)
    peak = pca.components.gather(1, pca.components.abs().argmax(1, keepdim=True))
    assert bool((peak > 0).all())


def test_plan_follows_the_shape_and_the_budget(caplog):
    assert pca_plan(50_000, 512, 512)[0] == "covariance"
    assert pca_plan(5_000, 16_384, 1024)[0] == "gram"
    assert pca_plan(50_000, 16_384, 1024)[0] == "randomized"
    with caplog.at_level(logging.WARNING):
        route, _ = pca_plan(50_000, 4096, 100, memory=1 << 28)
    assert route == "randomized" and "GB, over budget" in caplog.text


def test_components_beyond_the_rank_are_clipped_with_one_warning(caplog):
    features = _features(50, 3) @ np.random.default_rng(0).standard_normal((3, 10))
    with caplog.at_level(logging.WARNING):
        pca = fit_pca(FeatureBlocks.from_array(torch.from_numpy(features), layer="layer2"), 8)
    assert pca.variances.numel() == 3
    assert [r.getMessage() for r in caplog.records] == ["layer2: 8 components requested, numerical rank 3: clipped"]


@pytest.mark.parametrize("value", [0.0, 3.7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_layer_is_degenerate_and_does_not_fail(value, dtype):
    pca = fit_pca(FeatureBlocks.from_array(torch.full((40, 6), value, dtype=dtype), block=7), 3)
    assert pca.degenerate and pca.explained_variance.numel() == 0


def test_non_finite_features_name_layer_and_row():
    features = torch.zeros(10, 3)
    features[7, 1] = torch.nan
    with pytest.raises(ValueError, match="layer4: non-finite features, first in row 7"):
        fit_pca(FeatureBlocks.from_array(features, block=3, layer="layer4"), 2)


def test_mismatched_widths_and_row_counts_are_refused():
    pca = fit_pca(FeatureBlocks.from_array(torch.from_numpy(_features(30, 5))), 2)
    with pytest.raises(ValueError, match="width 4 is not the fitted width 5"):
        pca.scores(FeatureBlocks.from_array(torch.zeros(3, 4)))
    with pytest.raises(ValueError, match="3 rows were read, 5 were expected"):
        fit_pca(FeatureBlocks(5, 2, lambda: iter([torch.eye(3)[:, :2]])), 1)
    with pytest.raises(ValueError, match="torch.Generator"):
        fit_pca(FeatureBlocks.from_array(torch.from_numpy(_features(30, 5))), 2, route="randomized")
