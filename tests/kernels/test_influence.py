"""Influence scores are the explicit inverse-Fisher products."""

import pytest
import torch

from kernels.capture.factor_stream import layer_factors
from kernels.fisher.ekfac import accumulate_ekfac
from kernels.influence import fit_ekfac, influence_scores
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


@pytest.mark.parametrize(
    ("name", "memory"),
    [(name, "1GiB") for name in ("mlp", "conv2d_groups", "tied_language_model", "mlp_one_output", "bare_parameters")]
    + [("mlp", 1), ("tied_language_model", 1)]
    + [
        pytest.param(name, 1, marks=pytest.mark.slow) for name in ("conv2d_groups", "mlp_one_output", "bare_parameters")
    ],
)
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


def test_bad_input_is_named() -> None:
    model, inputs, labels = make(BY_NAME["mlp"])
    fisher = fit_ekfac(model, inputs, **DOUBLE)
    with pytest.raises(ValueError, match="one gradient per sample"):
        influence_scores(model, fisher, inputs, inputs, cotangent="class", test_cotangent="class", **DOUBLE)
    with pytest.raises(ValueError, match="needs labels"):
        influence_scores(model, fisher, inputs, inputs, **DOUBLE)
