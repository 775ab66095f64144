"""What a model remembers from an earlier pass, callables that mix samples, and other input that gives no kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from kernels import (
    KernelOperator,
    fit_ekfac,
    influence_scores,
    kernel_features,
    kernel_matrix,
    layer_jacobians,
)
from kernels.inputs.samples import NotFiniteError
from tests.references import per_sample_jacobian as slow

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
EXACT: dict[str, Any] = {"kind": "pntk", "normalize": False, "precision": "float64"}


class Deriving(nn.Module):
    """Keeps a weight that it has derived from another."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)
        self.kept: Any = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = [self.a.weight.exp()]
        return self.b(torch.tanh(F.linear(x, self.kept[0], self.a.bias)))


@pytest.mark.parametrize("certify", ["sampled", "off"])
def test_a_weight_that_an_earlier_pass_derived_is_not_taken_for_a_constant(certify: str) -> None:
    model = Deriving().eval().double()
    fresh = layer_jacobians(model, X, precision="float64", certify=certify)
    assert "a.weight" in fresh and model.kept is None
    model(X)
    kept = model.kept[0]
    for call in (kernel_matrix, layer_jacobians, KernelOperator):
        with pytest.raises(
            ValueError, match="kept of the model was computed with gradients by an earlier forward pass"
        ):
            found: Any = call(model, X, precision="float64", certify=certify)
            found @ torch.ones(6)
    assert model.kept[0] is kept and not kept.is_leaf
    with pytest.raises(ValueError, match="computed with gradients by an earlier"):
        kernel_features(model, X, dim=4, precision="float64")
    model.kept = [kept.detach()]
    constant = layer_jacobians(model, X, precision="float64", certify=certify)
    assert "a.weight" not in constant and torch.allclose(constant["b.weight"], fresh["b.weight"])


def test_an_activation_that_is_kept_and_not_read_is_no_reason_to_refuse() -> None:
    class Keeping(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if hasattr(self, "last"):
                self.last.zero_()
            self.last = super().forward(x)
            return torch.tanh(self.last)

    model = Keeping(5, 3).double()
    true = kernel_matrix(model, X, **EXACT).matrix
    model(X)
    assert torch.equal(kernel_matrix(model, X, **EXACT).matrix, true)


def test_weights_that_parametrize_keeps_are_computed_in_every_pass() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 4)), nn.Tanh(), nn.Linear(4, 3)).eval().double()
    true = kernel_matrix(model, X, **EXACT).matrix
    with parametrize.cached():
        kept = model[0].weight
        assert torch.equal(kernel_matrix(model, X, **EXACT).matrix, true)
        assert model[0].weight is kept
        assert torch.allclose(torch.as_tensor(KernelOperator(model, X, **EXACT) @ torch.eye(6).double()), true)


def test_layers_of_ragged_samples_take_the_generic_route() -> None:
    class Ragged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            lengths = (x[:, :, 0] > 0).sum(1).clamp_min(1)
            parts = [one[: int(n)] for one, n in zip(x, lengths, strict=True)]
            ragged = torch.nested.as_nested_tensor(parts, layout=torch.jagged)
            return self.b(torch.stack([one.sum(0) for one in torch.tanh(self.a(ragged)).unbind()]))

    torch.manual_seed(0)
    model, texts = Ragged().double(), torch.randn(6, 4, 5, dtype=torch.float64)
    rows = torch.stack([slow.flat(slow.jacobian(model, one[None])).sum(-2).reshape(-1) for one in texts])
    found = kernel_matrix(model, texts, **EXACT).matrix
    assert torch.allclose(found, rows @ rows.T, rtol=1e-10)


def test_a_callable_that_mixes_samples_is_refused() -> None:
    model = nn.Linear(5, 3).double()
    mixing = {
        "mean": lambda logits, _: (logits / logits.mean(0)).sum(1),
        "running sum": lambda logits, _: logits.cumsum(0).sum(1),
    }
    for cotangent in mixing.values():
        with pytest.raises(ValueError, match="callable mixes samples"):
            layer_jacobians(model, X, cotangent=cotangent, precision="float64")
    for detached in (lambda logits, _: logits.detach().sum(1), lambda logits, _: logits.argmax(1)):
        with pytest.raises(TypeError, match="does not lead back to the logits"):
            layer_jacobians(model, X, cotangent=detached, precision="float64")
    assert layer_jacobians(model, X, cotangent=lambda logits, _: logits.logsumexp(1), precision="float64")


def test_calls_from_which_no_kernel_can_come_are_refused_in_a_sentence() -> None:
    model = nn.Linear(5, 3).double()
    with pytest.raises(TypeError, match=r"not computed inside torch.func"):
        torch.vmap(lambda x: kernel_matrix(model, x, **EXACT).matrix)(X[None])
    with pytest.raises(ValueError, match="on the meta device, which keeps no values"):
        kernel_matrix(model, X.to("meta"), **EXACT)
    with pytest.raises(ValueError, match="it has no outputs"):
        kernel_matrix(model, X, output=lambda logits: logits[:, :0], **EXACT)
    with pytest.raises(TypeError, match="out=5 is no path of a file"):
        kernel_matrix(model, X, out=5, **EXACT)


def test_numbers_and_models_that_no_fisher_matrix_can_have() -> None:
    model = nn.Linear(5, 3).double()
    wrong_ones: list[dict[str, Any]] = [{"damping": float("nan")}, {"damping": "a"}, {"damping": -1}]
    for wrong in [*wrong_ones, {"relative": "yes"}, {"draws": 1.5}]:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fit_ekfac(model, X, precision="float64", **wrong)
    fisher, labels = fit_ekfac(model, X, precision="float64"), torch.zeros(6, dtype=torch.long)
    other = nn.Linear(5, 4).double()
    with pytest.raises(ValueError, match=r"weight\+bias is \(4, 5\) here and \(3, 5\) in the Fisher matrix"):
        influence_scores(other, fisher, X, X, labels=labels, test_labels=labels, precision="float64")
    with pytest.raises(TypeError, match="fisher is str"):
        influence_scores(model, "x", X, X, labels=labels, test_labels=labels)  # type: ignore[arg-type]

    class Root(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).abs().sqrt()

    points = torch.cat([X[:3], torch.zeros(1, 5).double()])
    with pytest.raises(ValueError, match="the gradient of weight is NaN or infinite for sample 3"):
        fit_ekfac(Root(5, 3, bias=False).double(), points, precision="float64")


class Broken(nn.Module):
    """Has finite outputs, and a gradient that is NaN of one sample."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = self.layer(x)
        return (found - found.detach() * (x[:, :1] > 100)).abs().sqrt()


def test_a_gradient_that_is_not_finite_is_named_with_its_sample() -> None:
    model, points, labels = Broken().eval().double(), X.clone(), torch.arange(6) % 3
    points[4, 0] = 101.0
    with pytest.raises(
        NotFiniteError, match=r"the gradient of layer.(weight|bias) is NaN or infinite for given sample 4"
    ):
        layer_jacobians(model, points, precision="float64")
    fisher = fit_ekfac(model, X, precision="float64")
    for train, test, side in ((points, X, "train"), (X, points, "test")):
        with pytest.raises(NotFiniteError, match=f"is NaN or infinite for {side} sample 4"):
            influence_scores(model, fisher, train, test, labels=labels, test_labels=labels, precision="float64")


def test_an_operator_is_no_array() -> None:
    operator = KernelOperator(nn.Linear(5, 1), X.float())
    with pytest.raises(TypeError, match="a KernelOperator holds no matrix: multiply with it"):
        np.asarray(operator)
    assert (np.ones(6) @ operator).shape == (6,)
