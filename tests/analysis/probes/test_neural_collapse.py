"""NC1-NC4 on features whose collapse is known in closed form."""

import numpy as np
import pytest
import torch

from analysis.probes.moments import FeatureBlocks
from analysis.probes.neural_collapse import center_mismatch, measure_neural_collapse, self_duality_gap
from tests.references import layer_probes as reference


def _etf(noise, seed=0, per_class=200, classes=10, width=30):
    rng = np.random.default_rng(seed)
    means = reference.simplex_etf(classes, width, rng)
    labels = np.repeat(np.arange(classes), per_class)
    return means[labels] + noise * rng.standard_normal((len(labels), width)), labels, means


def _measure(features, labels, **keywords):
    blocks = FeatureBlocks.from_array(torch.from_numpy(features), block=333, layer="pool")
    return measure_neural_collapse(blocks, labels, int(labels.max()) + 1, **keywords)


def test_simplex_features_are_collapsed():
    features, labels, means = _etf(0.0, per_class=3)
    found = _measure(features, labels)
    for value in (
        found["nc1"],
        found["nc1_trace"],
        found["cdnv"],
        found["nc2_norms"],
        found["nc2_cosines"],
        found["nc2_angles"],
    ):
        assert abs(value) < 1e-12
    assert found["directions"] == 9
    assert self_duality_gap(torch.from_numpy(3.0 * means), torch.from_numpy(means + 5.0)) < 1e-12


@pytest.mark.parametrize(("noise", "expected"), [(0.01, 8.1e-4), (0.1, 0.080)])
def test_isotropic_noise_gives_its_known_value(noise, expected):
    features, labels, _ = _etf(noise)
    assert _measure(features, labels)["nc1"] == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("seed", range(3))
def test_low_rank_form_equals_the_full_one(seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(120) % 5)
    features = rng.standard_normal((5, 8))[labels] + rng.standard_normal((120, 8)) * np.linspace(2, 0.1, 8)
    found = _measure(features, labels)
    assert found["directions"] == 4
    assert found["nc1"] == pytest.approx(reference.nc1(features, labels, 1e-8), rel=1e-8)


def test_the_last_singular_value_is_always_cut():
    features, labels, _ = _etf(0.1, per_class=20)
    assert _measure(features, labels, cutoff=0.0)["directions"] == 9


def test_nc1_is_invariant_to_rotation_scale_and_shift():
    features, labels, _ = _etf(0.2, per_class=20)
    rotation = np.linalg.qr(np.random.default_rng(5).standard_normal((30, 30)))[0]
    base = _measure(features, labels)["nc1"]
    assert _measure(7.0 * features @ rotation + 3.0, labels)["nc1"] == pytest.approx(base, rel=1e-10)


def test_self_duality_gap_spans_zero_to_four():
    rng = np.random.default_rng(0)
    means = torch.from_numpy(rng.standard_normal((4, 6)))
    centered = means - means.mean(0)
    assert self_duality_gap(-centered, means) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="NC3 is undefined"):
        self_duality_gap(torch.zeros(4, 6), means)


def test_center_mismatch_counts_disagreement():
    assert center_mismatch(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])) == 0.25
    with pytest.raises(ValueError, match="equally many"):
        center_mismatch(np.array([0]), np.array([0, 1]))


def test_missing_and_single_classes_are_named():
    features = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    blocks = FeatureBlocks.from_array(features, layer="layer1")
    with pytest.raises(ValueError, match=r"\[1\] are missing from layer1"):
        measure_neural_collapse(blocks, np.array([0, 0, 2, 2, 0, 2]), 3)
    with pytest.raises(ValueError, match="layer1: NC1 is undefined for a single class"):
        measure_neural_collapse(blocks, np.zeros(6, int), 1)


def test_a_constant_layer_has_no_direction():
    found = measure_neural_collapse(FeatureBlocks.from_array(torch.full((6, 3), 2.5)), np.array([0, 1] * 3), 2)
    assert found["directions"] == 0 and np.isnan(found["nc1"])
