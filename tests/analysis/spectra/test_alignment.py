"""Kernel-target alignment: identities, the slow form, and constant labels."""

import math

import numpy as np
import pytest

from analysis.spectra.alignment import feature_target_alignment, kernel_target_alignment
from tests.references import random_matrix

GENERATOR = np.random.default_rng(0)
FEATURES = GENERATOR.standard_normal((40, 12))
KERNEL = FEATURES @ FEATURES.T
TARGETS = {
    "scalar": GENERATOR.standard_normal(40),
    "classes": np.eye(3)[GENERATOR.integers(0, 3, 40)],
}


@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("centered", [False, True])
def test_three_forms_agree(name: str, centered: bool) -> None:
    y, kernel = TARGETS[name], KERNEL
    fast = kernel_target_alignment(kernel, y, centered).value
    assert feature_target_alignment(FEATURES, y, centered).value == pytest.approx(fast, rel=1e-10)
    if centered:
        projector = np.eye(40) - 1 / 40
        kernel, y = projector @ kernel @ projector, projector @ y
    assert fast == pytest.approx(random_matrix.kernel_target_alignment(kernel, y), rel=1e-10)


def test_identities() -> None:
    y = TARGETS["scalar"]
    assert kernel_target_alignment(np.outer(y, y), y).value == pytest.approx(1.0)
    assert kernel_target_alignment(np.eye(40), y).value == pytest.approx(40**-0.5)
    scaled = kernel_target_alignment(7 * KERNEL, -3 * y).value
    assert scaled == pytest.approx(kernel_target_alignment(KERNEL, y).value)


@pytest.mark.parametrize("targets", [np.ones(40), np.zeros(40), np.tile([1.0, 0.0], (40, 1))])
def test_constant_labels_give_nan_with_a_reason(targets: np.ndarray) -> None:
    for found in (kernel_target_alignment(KERNEL, targets), feature_target_alignment(FEATURES, targets)):
        assert math.isnan(found.value) and "constant labels" in found.reason
    assert kernel_target_alignment(np.zeros((40, 40)), TARGETS["scalar"]).reason == "zero kernel"
    assert feature_target_alignment(np.zeros((40, 2)), TARGETS["scalar"]).reason == "zero kernel"
