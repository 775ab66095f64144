"""Products in row blocks equal those of the whole matrix, for any budget of memory."""

import numpy as np
import pytest
import torch

from analysis.surrogates.blocked_kernel import KernelBlocks

KERNEL = np.random.default_rng(0).normal(size=(23, 17))
VECTORS = torch.from_numpy(np.random.default_rng(1).normal(size=(17, 2)))


@pytest.mark.parametrize("memory", [1, 5 * 17 * 8, 2**30])
def test_products_do_not_depend_on_the_memory_budget(memory):
    blocks = KernelBlocks(KERNEL, memory=memory)
    np.testing.assert_allclose(blocks.times(VECTORS).numpy(), KERNEL @ VECTORS.numpy(), rtol=1e-12)
    scores, back = blocks.curvature_pass(VECTORS, lambda rows, part: 2 * part)
    np.testing.assert_allclose(scores.numpy(), KERNEL @ VECTORS.numpy(), rtol=1e-12)
    np.testing.assert_allclose(back.numpy(), 2 * KERNEL.T @ KERNEL @ VECTORS.numpy(), rtol=1e-12)
    assert blocks.passes == 2


def test_a_sub_matrix_is_taken_by_index(tmp_path):
    stored = np.memmap(tmp_path / "kernel.bin", dtype=np.float64, mode="w+", shape=KERNEL.shape)
    stored[:] = KERNEL
    stored.flush()
    mapped = np.memmap(tmp_path / "kernel.bin", dtype=np.float64, mode="r", shape=KERNEL.shape)
    rows, columns = np.array([20, 3, 4, 11]), np.array([0, 16, 5])
    blocks = KernelBlocks(mapped, rows=rows, columns=columns, memory=2 * 3 * 8)
    assert blocks.shape == (4, 3)
    assert [part.stop - part.start for part, _ in blocks] == [2, 2]
    np.testing.assert_allclose(blocks.times(VECTORS[:3]).numpy(), KERNEL[np.ix_(rows, columns)] @ VECTORS[:3].numpy())


def test_rounding_to_single_precision_is_noticed():
    assert KernelBlocks(KERNEL.astype(np.float32).astype(np.float64)).single
    assert not KernelBlocks(KERNEL).single
