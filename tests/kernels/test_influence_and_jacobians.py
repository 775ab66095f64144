"""Influence scores are the explicit inverse-Fisher products; Jacobians, Fisher blocks and plain routes agree."""

import pytest
import torch

from kernels.capture.factor_stream import layer_factors
from kernels.fisher.ekfac import accumulate_ekfac
from kernels.gram import kernel_matrix
from kernels.influence import fit_ekfac, influence_scores
from kernels.jacobians import autograd_kernel, fisher_blocks, layer_jacobians
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow

DOUBLE = {"precision": "float64"}


def explicit_scores(model, fisher, train, y, test, z) -> torch.Tensor:
    def loss_gradients(inputs, labels):
        with torch.no_grad():
            e = slow.loss_cotangent(slow.logits(model, inputs), labels)
        shapes = {name: p.shape for name, p in model.named_parameters()}
        jac = slow.jacobian(model, inputs)
        return {n: torch.einsum("nc,ncp->np", e, j).reshape(-1, *shapes[n]) for n, j in jac.items()}

    left, right = loss_gradients(test, z), loss_gradients(train, y)
    solved = fisher.inverse_product(left)
    return sum(solved[n].reshape(len(z), -1) @ right[n].reshape(len(y), -1).T for n in solved)


@pytest.mark.parametrize("name", ["mlp", "conv2d_groups", "tied_language_model", "mlp_one_output", "bare_parameters"])
@pytest.mark.parametrize("memory", ["1GiB", 1])
def test_influence_is_the_explicit_inverse_fisher_product(name: str, memory) -> None:
    model, inputs, labels = make(BY_NAME[name], n=9)
    train, y, test, z = inputs[:6], labels[:6], inputs[6:], labels[6:]
    fisher = fit_ekfac(model, train, seed=2, batch_size=4, **DOUBLE)
    expected = explicit_scores(model, fisher, train, y, test, z)
    found = influence_scores(model, fisher, train, test, labels=y, test_labels=z, memory=memory, batch_size=2, **DOUBLE)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_layer_scores_add_up_and_a_point_supports_itself() -> None:
    model, inputs, labels = make(BY_NAME["conv2d"], n=6)
    fisher = fit_ekfac(model, inputs, fisher="exact", **DOUBLE)
    whole = influence_scores(model, fisher, inputs, inputs, labels=labels, test_labels=labels, **DOUBLE)
    parts = influence_scores(model, fisher, inputs, inputs, labels=labels, test_labels=labels, layerwise=True, **DOUBLE)
    assert set(parts) == set(fisher.blocks)
    torch.testing.assert_close(sum(parts.values()), whole)
    assert (whole.diagonal() > 0).all()


def test_fit_reads_labels_from_the_data_and_does_not_depend_on_batches() -> None:
    model, inputs, labels = make(BY_NAME["mlp"], n=8)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), batch_size=3)
    empirical = fit_ekfac(model, loader, fisher="empirical", **DOUBLE)
    direct = accumulate_ekfac(lambda: layer_factors(model, inputs, cotangent="loss", labels=labels, **DOUBLE))
    small = fit_ekfac(model, inputs, seed=1, batch_size=3, **DOUBLE)
    large = fit_ekfac(model, inputs, seed=1, batch_size=8, **DOUBLE)
    for key in direct.blocks:
        torch.testing.assert_close(empirical.blocks[key].eigenvalues, direct.blocks[key].eigenvalues)
        torch.testing.assert_close(small.blocks[key].eigenvalues, large.blocks[key].eigenvalues)


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


@pytest.mark.parametrize("name", ["mlp", "tiny_resnet", "frozen_first_layer"])
@pytest.mark.parametrize("method", ["loop", "vmap"])
def test_plain_routes_agree_with_the_engine(name: str, method: str) -> None:
    model, inputs, _ = make(BY_NAME[name])
    for kind, cotangent in (("pntk", "sum"), ("trntk", "class")):
        exact = kernel_matrix(model, inputs, kind=kind, normalize=False, precision="float64")
        found = autograd_kernel(model, inputs, method=method, cotangent=cotangent, chunk=3, **DOUBLE)
        torch.testing.assert_close(found, exact.matrix, rtol=1e-10, atol=1e-11)
    parts = autograd_kernel(model, inputs, method=method, layerwise=True, **DOUBLE)
    assert set(parts) == {n for n, p in model.named_parameters() if p.requires_grad}


def test_bad_input_is_named() -> None:
    model, inputs, labels = make(BY_NAME["mlp"])
    fisher = fit_ekfac(model, inputs, **DOUBLE)
    with pytest.raises(ValueError, match="one gradient per sample"):
        influence_scores(model, fisher, inputs, inputs, cotangent="class", test_cotangent="class", **DOUBLE)
    with pytest.raises(ValueError, match="needs labels"):
        influence_scores(model, fisher, inputs, inputs, **DOUBLE)
    with pytest.raises(MemoryError, match="the budget is"):
        layer_jacobians(model, inputs, memory=100, **DOUBLE)
    with pytest.raises(MemoryError, match="smaller=True"):
        fisher_blocks(model, inputs, memory="15k", **DOUBLE)
    with pytest.raises(ValueError, match="unknown method"):
        autograd_kernel(model, inputs, method="jit")
