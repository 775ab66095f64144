"""A gradient that a sample has only in company, or only in some batches, is told from its own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from kernels import KernelOperator, kernel_matrix
from tests.references import per_sample_jacobian as slow


class Divided(torch.autograd.Function):
    """Divides the gradient of its weight by the size of a batch of more than three."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.T, x.T @ g / (len(x) if len(x) > 3 else 1)


class Body(nn.Module):
    def __init__(self, body: Callable[["Body", Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.head, self.body = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3), body

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(self, torch.tanh(self.a(x)))))


def hooked(model: Body, h: Tensor) -> Tensor:
    if h.requires_grad:
        h.register_hook(lambda g: g / (len(g) if len(g) > 3 else 1))
    return h


COMPANY = {
    "hook": hooked,
    "own_backward": lambda model, h: Divided.apply(h, model.b.weight),
    "detached": lambda model, h: h + h.detach() if len(h) > 3 else 2 * h,
    "one_of_the_batch": lambda model, h: torch.cat([h[:-1], h[-1:].detach()]) if len(h) > 3 else h,
    "leak": lambda model, h: h + (len(h) > 3) * (h.mean(0) - h.mean(0).detach()),
}


def network(body: Callable[[Body, Tensor], Tensor], n: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Body(body).double().eval(), torch.randn(n, 4).double()


@pytest.mark.parametrize("name", list(COMPANY))
def test_gradients_that_depend_on_the_batch_are_refused(name: str) -> None:
    model, inputs = network(COMPANY[name], 4)
    with pytest.raises(ValueError, match="for train samples 0 to 4 is not the sum of its samples' gradients"):
        kernel_matrix(model, inputs, kind="pntk", precision="float64")


def test_an_output_that_is_scaled_in_every_large_batch_is_refused() -> None:
    model, inputs = network(lambda _, h: h * (0.5 if len(h) > 3 else 1), 4)
    with pytest.raises(ValueError, match="output depends on the other samples of its batch"):
        kernel_matrix(model, inputs, kind="pntk", precision="float64")


class Recomputed(torch.autograd.Function):
    """Computes a layer again in its backward pass, and hands over the gradients of its parameters."""

    @staticmethod
    def forward(ctx, layer, x, *parameters):
        ctx.layer, ctx.parameters = layer, parameters
        ctx.save_for_backward(x)
        return layer(x)

    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.layer(x)
        return (None, *torch.autograd.grad(y, [x, *ctx.parameters], g))


class Hidden(Recomputed):
    """Does so with parameters that it is not given, as reentrant checkpoints do."""

    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.layer(x)
        y.backward(g)
        return None, x.grad


RECOMPUTED = {
    "given": lambda model, h: Recomputed.apply(model.b, h, *model.b.parameters()),
    "hidden": lambda model, h: Hidden.apply(model.b, h),
    "hidden_and_seen": lambda model, h: Hidden.apply(model.b, model.b(h)),
}


@pytest.mark.parametrize("layers", ["all", ["b", "head"]], ids=["all", "some"])
@pytest.mark.parametrize("name", list(RECOMPUTED))
def test_layers_that_compute_their_activations_again_have_their_gradients(name: str, layers) -> None:
    model, inputs = network(RECOMPUTED[name], 5)
    rows = []
    for x in inputs:
        model.zero_grad()
        model(x[None]).sum().backward()
        chosen = [p for name, p in model.named_parameters() if layers == "all" or name.startswith(tuple(layers))]
        rows.append(torch.cat([p.grad.flatten() for p in chosen]))
    model.zero_grad()
    true = torch.stack(rows) @ torch.stack(rows).T
    options = {"kind": "pntk", "precision": "float64", "layers": layers}
    found = kernel_matrix(model, inputs, normalize=False, **options).matrix
    torch.testing.assert_close(found, true, rtol=1e-10, atol=1e-12)
    assert all(p.grad is None for p in model.parameters())
    if name != "given":
        with pytest.raises(ValueError, match="a backward pass runs inside the backward pass of the model"):
            KernelOperator(model, inputs, **options) @ torch.ones(5)


SPREAD = {
    "chunks_of_the_batch": lambda model, h: torch.cat([model.b(part) for part in h.split(5)]),
    "a_shape_that_is_asserted": lambda model, h: h + required(model.b(torch.ones(2, 4).double()), (2, 4)).sum(0),
}


def required(h: Tensor, shape: tuple[int, ...]) -> Tensor:
    assert h.shape == shape
    return h


@pytest.mark.parametrize("name", list(SPREAD))
def test_results_that_cannot_be_spread_over_the_samples_take_the_generic_route(name: str) -> None:
    model, inputs = network(SPREAD[name], 12)
    true = torch.cat([values.sum(1) for values in slow.jacobian(model, inputs).values()], 1)
    found = kernel_matrix(model, inputs, kind="pntk", precision="float64", normalize=False).matrix
    torch.testing.assert_close(found, true @ true.T, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("classes", [3, 11])
def test_distances_to_parameters_are_right_for_several_cotangents(classes: int) -> None:
    model, inputs = network(lambda model, h: torch.exp(-torch.cdist(h, model.b.weight)), 4)
    model.head = nn.Linear(4, classes).double()
    rows = torch.cat([values.flatten(2) for values in slow.jacobian(model, inputs).values()], 2)
    found = kernel_matrix(model, inputs, kind="trntk", precision="float64", normalize=False, certify="off").matrix
    torch.testing.assert_close(found, torch.einsum("ncp,mcp->nm", rows, rows), rtol=1e-10, atol=1e-12)
