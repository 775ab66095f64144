"""Tensors computed from parameters alone are followed: plus a number, in place, sparse, by a model's own function."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import kernel_matrix
from tests.references import per_sample_jacobian as reference


class Product(torch.autograd.Function):
    """An elementwise product of two matrices with a backward pass of its own, as PEFT's LoHa has it."""

    @staticmethod
    def forward(ctx, left, right):
        ctx.save_for_backward(left, right)
        return left * right

    @staticmethod
    def backward(ctx, row):
        left, right = ctx.saved_tensors
        return row * right, row * left


class Derived(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first, self.last = how, nn.Linear(4, 4), nn.Linear(4, 3)
        self.gain, self.other = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4, 4))
        self.more = nn.Parameter(torch.randn(4, 4))
        self.register_buffer("places", torch.tensor([[0, 1, 2, 3], [3, 1, 0, 0]]))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        if self.how == "shifted":
            h = F.layer_norm(h, (4,), self.gain + 1, 2.0 - 0.5 * self.gain) * (1.0 + self.gain)
        elif self.how == "in place":
            weight = self.other.t() * 2
            weight /= weight.new_tensor(3.0) + self.gain.exp()
            weight += self.more
            h = F.linear(h, weight)
        elif self.how == "into a constant":
            weight = torch.eye(4, dtype=x.dtype)
            weight += self.other @ self.more
            weight.mul_(self.gain)
            h = F.linear(h, weight)
        elif self.how == "sparse":
            weight = torch.eye(4, dtype=x.dtype)
            weight += torch.sparse_coo_tensor(self.places, 0.5 * self.gain, (4, 4), check_invariants=False)
            h = F.linear(h, weight)
        else:
            h = F.linear(h, Product.apply(self.other, self.more))
        return self.last(torch.sin(h))


@pytest.mark.parametrize("how", ["shifted", "in place", "into a constant", "sparse", "own function"])
def test_what_parameters_become_before_they_meet_a_sample_is_followed(how):
    torch.manual_seed(0)
    model, x = Derived(how).double().eval(), torch.randn(5, 4, dtype=torch.float64)
    unused = {"shifted": ("other", "more"), "sparse": ("other", "more")}.get(how, ())
    jacobian = reference.flat(reference.jacobian(model, x))
    found = kernel_matrix(model, x, normalize=False, precision="float64", certify="every")
    assert not found.metadata["coverage"]["fallback"] and {*unused} <= {*found.metadata["coverage"]["unused"]}
    torch.testing.assert_close(found.matrix, reference.trntk(jacobian, jacobian), rtol=1e-10, atol=1e-12)
