"""The caller's tensors are never changed, and data that change while they are read are noticed."""

import pytest
import torch
from torch import Tensor, nn

import kernels
from kernels.inputs import Samples
from tests.kernels.inputs.rows import X, Y, linear


class Normalizing(nn.Module):
    """Changes its input in place, as a first layer that normalizes does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = linear()

    def forward(self, x: Tensor, drop: Tensor | None = None) -> Tensor:
        if drop is not None:
            x[drop.bool()] = 0.0
            drop.zero_()
        return self.inner(x.sub_(0.5).mul_(2.0))


class Outside(Normalizing):
    """The same numbers without a change of the input."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner((x - 0.5) * 2.0)


WEIGHT = "inner.0.weight"
NUMBERS = {
    "kernel": lambda model, x: kernels.kernel_matrix(model, x, normalize=False, batch_size=2).matrix,
    "loss": lambda model, x: kernels.kernel_matrix(model, x, kind="loss_gradient", labels=Y, normalize=False).matrix,
    "fallback": lambda model, x: kernels.kernel_matrix(model, x, normalize=False, fallback=["inner"]).matrix,
    "embedding": lambda model, x: kernels.kernel_matrix(model, x, kind="embedding", normalize=False).matrix,
    "features": lambda model, x: kernels.kernel_features(model, x, dim=8).values,
    "jacobian": lambda model, x: kernels.layer_jacobians(model, x)[WEIGHT],
    "autograd": lambda model, x: kernels.autograd_kernel(model, x, method="vmap"),
    "layer": lambda model, x: next(kernels.layer_features(model, x)).features["inner.0"],
    "fisher": lambda model, x: kernels.fit_ekfac(model, x).inverse_product(
        {name: torch.ones(1, *p.shape) for name, p in model.named_parameters()}
    )[WEIGHT],
}


@pytest.mark.parametrize("function", NUMBERS)
def test_a_model_that_changes_its_input_changes_none_of_ours(function: str) -> None:
    data = X.clone()
    found = NUMBERS[function](Normalizing().eval(), data)
    torch.testing.assert_close(found, NUMBERS[function](Outside().eval(), X), rtol=1e-4, atol=1e-5)
    assert torch.equal(data, X)


def test_named_inputs_and_labels_stay_as_they_are() -> None:
    batch = {"x": X.clone(), "drop": torch.tensor([0, 1, 0, 0, 0, 0]), "labels": Y.clone()}
    kept = {name: value.clone() for name, value in batch.items()}
    for kind in ("pntk", "loss_gradient", "embedding"):
        kernels.kernel_matrix(Normalizing().eval(), batch, kind=kind)

    def clipping(logits: Tensor, labels: Tensor) -> Tensor:
        return logits.gather(1, labels.clamp_(max=1)[:, None])[:, 0]

    kernels.kernel_features(Normalizing().eval(), batch, kind=clipping, dim=8)
    assert all(torch.equal(batch[name], value) for name, value in kept.items()) and list(batch) == list(kept)


def test_data_that_change_while_they_are_in_use_are_refused() -> None:
    data = X.clone()
    operator = kernels.KernelOperator(linear(), data)
    data[0, 0] += 1.0
    with pytest.raises(RuntimeError, match="train data have changed since they were read: pass data.clone"):
        operator @ torch.ones(6)
    labels = Y.clone()
    samples = Samples(X, labels)
    labels.zero_()
    assert torch.equal(samples.labels, Y)
