"""A model is after every call what it was before it, also when its forward pass fails at any point of the call."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

import kernels
from kernels import (
    autograd_kernel,
    find_output_layer,
    fisher_blocks,
    fit_ekfac,
    influence_scores,
    kernel_features,
    kernel_matrix,
    layer_factors,
    layer_features,
    layer_jacobians,
    plan_kernel,
    token_products,
    verify,
)
from tests.references import per_sample_jacobian as slow

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(5) % 3


class Asked(Exception):
    """None of the errors that mean that a rule or a route does not fit."""


class Busy(nn.Module):
    """Writes to everything that a forward pass can write to, and fails on request."""

    def __init__(self, error: type[BaseException] = Asked) -> None:
        super().__init__()
        self.first, self.norm, self.gate, self.head = (
            nn.Linear(4, 5),
            nn.BatchNorm1d(5),
            nn.Linear(5, 5),
            nn.Linear(5, 3),
        )
        prune.l1_unstructured(self.first, "weight", 0.4)
        self.scale = nn.Parameter(torch.rand(5) + 0.5)
        self.frozen = nn.Parameter(torch.ones(5), requires_grad=False)
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("cache", torch.zeros(8, 5))
        self.register_buffer("turn", torch.polar(torch.ones(5), torch.arange(5.0)))
        self.lock, self.log, self.known, self.hidden = threading.Lock(), [], {"last": None}, torch.zeros(5)
        self.head.register_forward_hook(lambda _m, _a, out: 1.5 * out)
        self.first.register_forward_pre_hook(lambda _m, args, kwargs: ((args[0] + 0.1,), kwargs), with_kwargs=True)
        self.scale.register_hook(lambda gradient: gradient)
        self.error, self.passes, self.fails_at = error, [0], 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes[0] = self.passes[0] + 1
        h = torch.tanh(self.norm(self.first(x)))
        self.gate = self.gate.to(x.device)
        self.steps += 1
        self.cache[: len(x)] = h.detach()
        self.last = h
        self.hidden = h.detach().mean(0)
        self.log.append(h)
        self.known["last"] = h
        self.eval()
        count[0] += 1
        if count[0] == self.fails_at:
            raise self.error("asked for")
        h = h * self.scale.exp().sort().values + (h * self.turn.to(h.dtype.to_complex())).real
        h = h + torch.sigmoid(self.gate(h))
        return self.head(h * self.frozen)


count = [0]  # of forward passes: the model's own count is put back


def snapshot(model: nn.Module) -> dict[Any, Any]:
    """Everything that can be seen from outside: objects by identity, tensors by their bits."""
    found: dict[Any, Any] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            found[name, key] = value if isinstance(value, bool | int | str) else id(value)
            if isinstance(value, dict):
                found[name, key, "inside"] = [*value, *map(id, value.values())]
            elif isinstance(value, list):
                found[name, key, "inside"] = [value[0] if value and isinstance(value[0], int) else id(x) for x in value]
            elif isinstance(value, Tensor):
                found[name, key, "bits"] = value.detach().clone()
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        found[name, "bits"] = value.detach().clone()
        found[name, "grad"] = value.grad.clone() if value.is_leaf and value.grad is not None else None
        found[name] = (id(value), value.dtype, value.requires_grad, value.data_ptr(), id(value.grad), value._version)
        found[name, "hooks"] = list(value._backward_hooks or {})
    return found


def differences(before: dict[Any, Any], after: dict[Any, Any]) -> list[Any]:
    return [
        key
        for key in before.keys() | after.keys()
        if not (
            torch.equal(before[key], after[key])
            if isinstance(before.get(key), Tensor) and isinstance(after.get(key), Tensor)
            else before.get(key) == after.get(key)
        )
    ]


def busy(error: type[BaseException] = Asked) -> Busy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Busy(error).eval()
    model(X[:2])
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    return model


class Reader(nn.Module):
    """The same network under the name that texts have."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.train(network.training)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.network(input_ids.to(torch.get_default_dtype()))


TEXTS = {"input_ids": torch.arange(20).reshape(5, 4) % 7}
FALLBACK = {"fallback": ["head"]}
CALLS: dict[str, Callable[[nn.Module], Any]] = {
    "kernel_matrix": lambda m: kernel_matrix(m, X),
    "kernel_matrix in float64": lambda m: kernel_matrix(m, X, kind="pntk", precision="float64", **FALLBACK),
    "kernel_matrix test x train": lambda m: kernel_matrix(m, X, X[:2], kind="entk", batch_size=2),
    "kernel_matrix conjugate": lambda m: kernel_matrix(m, X, kind="conjugate", output_layer="head"),
    "kernel_matrix embedding": lambda m: kernel_matrix(m, X, kind="embedding", precision="float64"),
    "kernel_matrix sketched": lambda m: kernel_matrix(m, X, kind="pntk", sketch="countsketch", dim=8),
    "plan_kernel": lambda m: plan_kernel(m, X, eval_mode=True),
    "kernel_features": lambda m: kernel_features(m, X, dim=8, precision="float64"),
    "layer_factors": lambda m: list(layer_factors(m, X, batch_size=2, precision="float64", eval_mode=True)),
    "layer_features": lambda m: list(layer_features(m, X, batch_size=2, eval_mode=True)),
    "layer_jacobians": lambda m: layer_jacobians(m, X),
    "fisher_blocks": lambda m: fisher_blocks(m, X, layers=["scale"]),
    "fit_ekfac": lambda m: fit_ekfac(m, X),
    "influence_scores": lambda m: influence_scores(m, FISHER[0], X, X[:2], labels=Y, test_labels=Y[:2]),
    "token_products": lambda m: token_products(Reader(m), TEXTS, TEXTS, labels=Y, test_labels=Y),
    "verify": lambda m: verify(m, X[:2]),
    "autograd_kernel": lambda m: autograd_kernel(m, X[:2], precision="float64"),
    "find_output_layer": lambda m: find_output_layer(m, X),
}
FISHER: list[Any] = []


def test_every_function_that_takes_a_model_is_tried() -> None:
    takes = {name for name in kernels.__all__ if "model" in getattr(getattr(kernels, name), "__annotations__", {})}
    assert takes <= {name.split()[0] for name in CALLS}


@pytest.mark.parametrize("name", CALLS)
def test_the_model_is_the_same_after_a_call_and_after_one_that_fails(name: str) -> None:
    if name == "influence_scores" and not FISHER:
        FISHER.append(fit_ekfac(busy(), X))
    model = busy()
    before, modes = snapshot(model), [module.training for module in model.modules()]
    count[0] = 0
    CALLS[name](model)
    assert not differences(before, snapshot(model))
    passes = count[0]
    assert passes > 0
    for at in sorted({1, passes // 2 + 1, passes}):
        error = (KeyboardInterrupt, Asked)[at % 2]
        model = busy(error)
        model.fails_at, count[0] = at, 0
        before = snapshot(model)
        with pytest.raises(error, match="asked for"):
            CALLS[name](model)
        assert not differences(before, snapshot(model)), at
        assert [module.training for module in model.modules()] == modes


def test_the_kernel_of_a_model_that_writes_to_everything() -> None:
    model = busy()
    found = kernel_matrix(model, X, normalize=False, precision="float64").matrix
    jacobian = slow.flat(slow.jacobian(busy().double(), X.double()))
    torch.testing.assert_close(found, slow.trntk(jacobian, jacobian), rtol=1e-10, atol=1e-12)


def test_a_model_is_free_between_the_batches_of_a_stream() -> None:
    model = busy().train()
    before, expected = snapshot(model), busy()(X)
    for _ in layer_factors(model, X, batch_size=2, precision="float64", eval_mode=True):
        assert model.training and not differences(before, snapshot(model))
    torch.testing.assert_close(busy()(X), expected)


class ScalesOnce(nn.Module):
    """As RWKV in evaluation mode: the first pass scales a weight in place and says so in a flag."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head, self.scaled = nn.Linear(4, 5), nn.Linear(5, 3), False

    def forward(self, x: Tensor) -> Tensor:
        if not self.scaled:
            with torch.no_grad():
                self.head.weight.div_(2)
            self.scaled = True
        return self.head(self.first(x).tanh())


@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=["converted", "as it is"])
def test_a_weight_that_the_first_pass_scales_is_scaled_once(kind):
    torch.manual_seed(0)
    model, twin = ScalesOnce().to(kind).eval(), ScalesOnce().double().eval()
    twin.load_state_dict(model.state_dict())
    before = model.head.weight.clone()
    found = kernel_matrix(model, X.to(kind), kind="trntk", normalize=False, precision="float64")
    again = kernel_matrix(model, X.to(kind), kind="trntk", normalize=False, precision="float64")
    twin(X.double())
    jacobian = slow.flat(slow.jacobian(twin, X.double()))
    torch.testing.assert_close(found.matrix, slow.trntk(jacobian, jacobian))
    torch.testing.assert_close(again.matrix, found.matrix)
    torch.testing.assert_close(model.head.weight, before, rtol=0, atol=0)
    assert not model.scaled


class Noisy(nn.Module):
    """Draws random numbers in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + torch.randn(len(x), 3)


@pytest.mark.parametrize("call", [kernel_matrix, layer_jacobians, plan_kernel])
def test_a_refused_model_has_drawn_no_random_numbers(call: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    model, before = Noisy().eval(), torch.get_rng_state()
    with pytest.raises(ValueError, match="random numbers"):
        call(model, X)
    assert torch.equal(torch.get_rng_state(), before)
