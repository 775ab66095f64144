"""The four-way probe matrix and its paired intervals."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from analysis.shift.probe_fits import random_fourier_features
from analysis.shift.probes import paired_difference, probe_matrix


def _source(n, angle, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    direction = np.array([np.cos(angle), np.sin(angle), 0.0, 0.0])
    return rng.standard_normal((n, 4)) + 2.4 * (labels[:, None] - 0.5) * direction, labels


@pytest.fixture(scope="module")
def rows():
    reference, sample = _source(1200, 0.0, 0), _source(300, 1.2, 1)
    rivals = {"perfect": sample[1], "constant": np.ones(300, int)}
    return probe_matrix(
        reference, sample, sizes=[50, 400], redraws=6, generator=np.random.default_rng(0), rivals=rivals
    )


def _mean(rows, train, test, size):
    found = [r["accuracy"] for r in rows if (r["train"], r["test"], r["size"]) == (train, test, size)]
    assert len(found) == 6
    return np.mean(found)


def test_matrix_has_every_cell_and_finds_concept_shift(rows):
    assert _mean(rows, "P", "P", 400) > 0.8 > _mean(rows, "P", "M", 400)
    assert _mean(rows, "M", "M held out", 210) > 0.8 > _mean(rows, "M", "P", 210)
    assert _mean(rows, "perfect", "M held out", 0) == 1.0
    constant = [r for r in rows if r["train"] == "constant"]
    assert all(r["balanced_accuracy"] == 0.5 and np.isnan(r["auc"]) for r in constant)
    assert not [r for r in rows if r["train"] == "M" and r["test"] == "M"]


def test_paired_interval_decides_and_stays_silent_inside_itself(rows):
    better = paired_difference(rows, ("M", 210), ("P", 400))
    assert better.wins and better.low > 0 and better.redraws == 6
    same = paired_difference(rows, ("P", 400), ("P", 400))
    assert not same.wins and same.mean == 0
    with pytest.raises(ValueError, match="share 0 redraws"):
        paired_difference(rows, ("P", 400), ("P", 999))


def test_corrected_interval_is_wider_than_the_naive_one(rows):
    corrected = paired_difference(rows, ("P", 50), ("P", 400))
    naive = paired_difference(rows, ("P", 50), ("P", 400), overlap=0.0)
    assert corrected.high - corrected.low > 1.5 * (naive.high - naive.low)


def test_same_seed_same_matrix():
    reference, sample = _source(200, 0.0, 0), _source(60, 1.0, 1)
    one, two = (
        probe_matrix(reference, sample, sizes=[50], redraws=2, generator=np.random.default_rng(0)) for _ in range(2)
    )
    assert one == two


def test_random_features_approach_the_gaussian_kernel():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), rng.standard_normal((10, 3))
    a, b = random_fourier_features(x, y, width=20_000, generator=np.random.default_rng(1))
    expected = np.exp(-(cdist(y, x) ** 2) / (2 * np.median(pdist(x)) ** 2))
    np.testing.assert_allclose(b @ a.T, expected, atol=0.04)
    with pytest.raises(ValueError, match="positive width"):
        random_fourier_features(x, y, width=0, generator=rng)


def test_bad_sources_are_refused():
    good, small = _source(200, 0.0, 0), _source(60, 1.0, 1)
    rng = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=r"M: probes need two classes or more, the same on both sides; found \{0: 60\}"
    ):
        probe_matrix(good, (small[0], np.zeros(60, int)), sizes=[50], redraws=1, generator=rng)
    with pytest.raises(ValueError, match="fewer than 150 to train on"):
        probe_matrix(good, small, sizes=[150], redraws=1, generator=rng)
