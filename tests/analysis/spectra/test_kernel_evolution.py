"""Evolution of a kernel's spectrum: known answers on kernels that turn, grow and stay."""

import numpy as np
import pytest

from analysis.spectra.evolution_figure import evolution_figure
from analysis.spectra.kernel_evolution import spectral_evolution

LABELS = np.array([0, 0, 1, 1])
BLOCK = np.equal.outer(LABELS, LABELS).astype(np.float64)


def test_a_kernel_that_only_grows_has_no_velocity():
    found = spectral_evolution([0, 1, 10], [np.eye(4), 2 * np.eye(4), 8 * np.eye(4)], LABELS)
    assert np.isnan(found["velocity"][0]) and found["velocity"][1:] == pytest.approx([0.0, 0.0], abs=1e-15)
    assert found["eigenvalues"][:, 0] == pytest.approx([1.0, 2.0, 8.0])
    assert found["effective_rank"] == pytest.approx([4.0, 4.0, 4.0])


def test_a_kernel_that_turns_to_the_labels():
    found = spectral_evolution([0, 4], [np.eye(4), BLOCK], LABELS)
    assert found["velocity"][1] == pytest.approx((1 - 4 / (2 * np.sqrt(8))) / 4)
    assert found["alignment"][1] == pytest.approx(1.0) and found["alignment"][0] < 0.6
    assert found["effective_rank"] == pytest.approx([4.0, 2.0])


def test_without_labels_the_figure_leaves_alignment_out():
    steps, kernels = [0, 1], [np.eye(4), BLOCK]
    with_labels = evolution_figure({"a": [(steps, spectral_evolution(steps, kernels, LABELS))]})
    without = evolution_figure({"a": [(steps, spectral_evolution(steps, kernels, None))]})
    assert len(with_labels.axes) == 4 and len(without.axes) == 3
