"""Jacobians are the explicit ones; Fisher blocks, kernel parts and plain autograd agree with them."""

import pytest
import torch

from kernels.gram import kernel_matrix
from kernels.jacobians import autograd_kernel, fisher_blocks, layer_jacobians
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow

DOUBLE = {"precision": "float64"}


@pytest.mark.parametrize("name", ["mlp", "tied_language_model", "cross_attention_packed", "bare_parameters"])
def test_jacobians_are_the_explicit_ones(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name])
    expected = slow.jacobian(model, inputs)
    found = layer_jacobians(model, inputs, batch_size=3, **DOUBLE)
    assert found.keys() == expected.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-10, atol=1e-12)
    summed = layer_jacobians(model, inputs, cotangent="sum", **DOUBLE)
    for key, value in summed.items():
        torch.testing.assert_close(value[:, 0], expected[key].sum(1), rtol=1e-10, atol=1e-12)


def test_fisher_blocks_share_the_kernel_parts_spectrum() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], n=5)
    parts = kernel_matrix(model, inputs, kind="pntk", normalize=False, precision="float64", layerwise=True).parts
    full = fisher_blocks(model, inputs, cotangent="sum", **DOUBLE)
    small = fisher_blocks(model, inputs, cotangent="sum", smaller=True, **DOUBLE)
    for name, p in model.named_parameters():
        assert full[name].matrix.shape == (p.numel(), p.numel()) and not full[name].is_kernel
        assert small[name].is_kernel == (p.numel() > 5)
        expected = torch.linalg.eigvalsh(parts[name]).flip(0)
        for block in (full[name].matrix, small[name].matrix):
            values = torch.linalg.eigvalsh(block).flip(0)
            count = min(len(values), 5)
            torch.testing.assert_close(values[:count], expected[:count], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["mlp", pytest.param("tiny_resnet", marks=pytest.mark.slow), "frozen_first_layer"])
@pytest.mark.parametrize("method", ["loop", "vmap"])
def test_plain_routes_agree_with_the_engine(name: str, method: str) -> None:
    model, inputs, _ = make(BY_NAME[name])
    for kind, cotangent in (("pntk", "sum"), ("trntk", "class")):
        exact = kernel_matrix(model, inputs, kind=kind, normalize=False, precision="float64")
        found = autograd_kernel(model, inputs, method=method, cotangent=cotangent, chunk=3, **DOUBLE)
        torch.testing.assert_close(found, exact.matrix, rtol=1e-10, atol=1e-11)
    parts = autograd_kernel(model, inputs, method=method, layerwise=True, **DOUBLE)
    assert set(parts) == {n for n, p in model.named_parameters() if p.requires_grad}


def test_budgets_and_methods_are_checked() -> None:
    model, inputs, _ = make(BY_NAME["mlp"])
    with pytest.raises(MemoryError, match="the budget is"):
        layer_jacobians(model, inputs, memory=100, **DOUBLE)
    with pytest.raises(MemoryError, match="smaller=True"):
        fisher_blocks(model, inputs, memory="15k", **DOUBLE)
    with pytest.raises(ValueError, match="unknown method"):
        autograd_kernel(model, inputs, method="jit")
