"""What a batch gives is compared with single samples before the first product, and every product with itself."""

import pytest
import torch
from torch import Tensor, nn

from kernels import KernelOperator
from tests.references import per_sample_jacobian as slow

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
DOUBLE = {"precision": "float64"}


def multiplied(model: nn.Module, data: Tensor = X, **options) -> KernelOperator:
    op = KernelOperator(model.double().eval(), data, kind="pntk", **DOUBLE, **options)
    jacobian = slow.flat(slow.jacobian(model, data))
    torch.testing.assert_close(op @ torch.eye(len(data)).double(), slow.pntk(jacobian, jacobian), rtol=1e-9, atol=1e-9)
    return op


def test_samples_that_interact_are_refused() -> None:
    class Centered(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - x.mean(0))

    with pytest.raises(ValueError, match="sample 0 depends on the other samples.*batch_size=1"):
        multiplied(Centered(4, 3))

    class GradientOnly(nn.Linear):  # equal outputs, unequal gradients
        def forward(self, x: Tensor) -> Tensor:
            f = super().forward(x)
            return f + (f.sum() - f.sum().detach())

    with pytest.raises(ValueError, match="gradient of train sample 0 depends on the other samples"):
        multiplied(GradientOnly(4, 3))


def test_random_outputs_are_refused() -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(super().forward(x), 0.5, training=True)

    with torch.random.fork_rng(devices=[]), pytest.raises(ValueError, match="or on chance"):
        torch.manual_seed(0)
        multiplied(Noisy(4, 3))


def test_a_product_that_does_not_fit_its_gradients_is_an_error() -> None:
    class Counting(nn.Linear):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.calls += 1
            return super().forward(x) * (1.0 + 0.01 * (Counting.calls > 20))

    model = Counting(4, 3).double()
    op = KernelOperator(model, X, kind="pntk", memory=1, batch_size=2, **DOUBLE)
    Counting.calls = -1000
    op @ torch.ones(6).double()
    Counting.calls = 18  # between the pulled batches and the pushed ones
    with pytest.raises(RuntimeError, match="a product is not what its gradients say"):
        op @ torch.ones(6).double()


class WrongTangent(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x**2

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient

    @staticmethod
    def jvp(ctx, tangent: Tensor) -> Tensor:
        return 1.9 * ctx.saved_tensors[0] * tangent


class OnlyOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient


@pytest.mark.parametrize(("function", "route"), [(WrongTangent, "double"), (OnlyOnce, "loop")], ids=["wrong", "once"])
def test_the_route_is_one_that_agrees_with_the_gradients(function, route: str) -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(function.apply(self.first(x)))

    op = multiplied(Squared(), memory="5KB")
    assert op.metadata["route"] == route
    found = op.metadata["certificate"]
    assert found["adjoint"] < 1e-12 and found["products"] == 6 and 0 in found["samples"]


def test_parameters_that_a_forward_reaches_by_another_way_than_its_modules() -> None:
    class ByClosure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 3)
            self.held = [self.inner.weight]

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x @ self.held[0].T) + self.inner.bias

    model = ByClosure().double()
    assert multiplied(model).metadata["route"] == "double"  # substituted parameters would not be seen


def test_a_part_that_forward_computes_without_gradients() -> None:
    class Constant(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                size = self.weight.norm() + self.weight.sum().cos()
            return torch.tanh(super().forward(x)) * size

    assert multiplied(Constant(4, 3)).metadata["route"] == "double"


def test_output_without_gradients() -> None:
    class Cut(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    with pytest.raises(ValueError, match="does not depend on its trainable parameters"):
        KernelOperator(Cut(4, 3).double(), X, **DOUBLE) @ torch.ones(6).double()
