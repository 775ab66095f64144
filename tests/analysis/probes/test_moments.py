"""Streamed moments do not depend on the order or the offset of the rows."""

import numpy as np
import pytest
import torch

from analysis.probes.moments import StreamedMoments


def _features(n, d, seed=0, offset=0.0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]
    return ((rng.standard_normal((n, d)) * 0.8 ** np.arange(d)) @ basis.T + offset).astype(dtype)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("seed", range(3))
def test_moments_do_not_depend_on_splits_order_or_offset(offset, seed):
    features = _features(500, 20, seed, offset)
    rng = np.random.default_rng(seed)
    shuffled = features[rng.permutation(500)]
    parts = np.split(shuffled, np.sort(rng.choice(np.arange(1, 500), 6, replace=False)))
    moments, other = StreamedMoments(20), StreamedMoments(20)
    for i, part in enumerate(parts):
        (moments if i % 2 else other).update(torch.from_numpy(part))
    moments.merge(other)
    exact = np.cov(features.T, bias=True)
    assert moments.count == 500
    np.testing.assert_allclose(moments.mean.numpy(), features.mean(0), rtol=1e-12, atol=1e-12)
    assert np.linalg.norm(moments.covariance.numpy() - exact) <= 1e-9 * np.linalg.norm(exact)


def test_float32_batches_at_a_large_offset_keep_six_digits():
    features = _features(2000, 10, 3, 1e4, np.float32)
    moments = StreamedMoments(10)
    for part in torch.from_numpy(features).split(137):
        moments.update(part)
    exact = np.cov(features.astype(np.float64).T, bias=True)
    assert np.linalg.norm(moments.covariance.numpy() - exact) <= 1e-6 * np.linalg.norm(exact)
