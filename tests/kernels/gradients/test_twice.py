"""Where torch differentiates one sample wrongly it is taken twice; what a model does to batches is not that."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from kernels import KernelOperator, kernel_matrix, verify
from tests.references import per_sample_jacobian as slow


class Divided(torch.autograd.Function):
    """Divides its gradient by the size of a batch."""

    @staticmethod
    def forward(ctx, h):
        return h.clone()

    @staticmethod
    def backward(ctx, g):
        return g / len(g)


class Patches(nn.Module):
    """LeViT's beginning: convolutions with batch normalization, turned into rows of patches by a transposed view."""

    def __init__(self, divided: bool = False) -> None:
        super().__init__()
        self.a, self.norm_a, self.b, self.norm_b = (
            nn.Conv2d(2, 3, 3, 2, 1),
            nn.BatchNorm2d(3),
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4),
        )
        self.inside, self.head, self.divided = nn.Linear(4, 4), nn.Linear(4, 3), divided

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm_b(self.b(torch.tanh(self.norm_a(self.a(x)))))
        h = h.flatten(2).transpose(1, 2)
        h = h + torch.tanh(self.inside(h))
        return self.head((Divided.apply(h) if self.divided else h).mean(1))


def network(divided: bool = False) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = Patches(divided).double().eval()
    for norm in (model.norm_a, model.norm_b):
        nn.init.normal_(norm.running_mean, std=0.3)
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return model, torch.randn(5, 2, 8, 8).double()


def beside_itself(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of the summed outputs of one sample of which there are two."""
    found = torch.autograd.grad(model(torch.cat([x, x]))[0].sum(), list(model.parameters()))
    return dict(zip(dict(model.named_parameters()), found, strict=True))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_kernel_is_that_of_right_gradients(precision: str) -> None:
    model, inputs = network()
    every = [beside_itself(model, x[None]) for x in inputs]
    rows = torch.stack([torch.cat([g.flatten() for g in one.values()]) for one in every])
    alone = torch.cat([values.sum(1) for values in slow.jacobian(model, inputs).values()], 1)
    if torch.allclose(alone, rows, rtol=1e-6):
        pytest.skip("this torch differentiates one sample rightly")
    if precision == "float64":
        with warnings.catch_warnings(action="ignore"):  # a pass of one sample is read wrongly, and starts again
            assert verify(model, inputs, kind="pntk").ok
        vector = torch.arange(5.0).double()
        product = KernelOperator(model, inputs, kind="pntk", normalize=False, precision="float64") @ vector
        torch.testing.assert_close(product, rows @ rows.T @ vector, rtol=1e-10, atol=1e-12)
    limit, true = (1e-10 if precision == "float64" else 1e-4), rows @ rows.T
    model, inputs = (model, inputs) if precision == "float64" else (model.float(), inputs.float())
    options = {"kind": "pntk", "normalize": False, "precision": precision}
    for more in ({}, {"fallback": ["a"]}, {"certify": "every"}, {"batch_size": 1}):
        with warnings.catch_warnings(action="ignore"):
            found = kernel_matrix(model, inputs, **options, **more).matrix.double()
        assert float((found - true).abs().max() / true.abs().max()) < limit, more


def test_a_gradient_that_is_divided_by_the_batch_is_no_error_of_torch() -> None:
    model, inputs = network(divided=True)
    with pytest.raises(ValueError, match="is not the sum of its samples' gradients"):
        kernel_matrix(model, inputs, kind="pntk", precision="float64")
