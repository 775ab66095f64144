"""Operations that are written out in operations with a rule: exact, and without a loop over samples."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import KernelOperator, kernel_matrix
from tests.references import per_sample_jacobian as reference


class Heads(nn.Module):
    """Two heads with a matrix and a bias each, over three positions of four numbers."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first, self.last = nn.Linear(4, 4), nn.Linear(12, 3)
        self.weight, self.bias = nn.Parameter(torch.randn(2, 2, 2)), nn.Parameter(torch.randn(2, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x)).unflatten(2, (2, 2))  # sample, position, head, entry
        if self.how == "einsum":
            out = torch.einsum("bthi,hio->btho", h, self.weight)
        else:
            rows = h.flatten(0, 1).transpose(0, 1)
            product = torch.bmm(rows, self.weight)
            if self.how == "baddbmm":
                product = torch.baddbmm(self.bias[:, None], rows, self.weight)
            out = product.transpose(0, 1).unflatten(0, (len(x), 3))
        return self.last(torch.sin(out).flatten(1))


class StandardizedWeights(nn.Module):
    """A convolution whose weights are standardized by batch normalization, as BiT's are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.last = nn.Parameter(torch.randn(4, 2, 3)), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.reshape(1, 4, -1)
        weight = F.batch_norm(flat, None, None, training=True, momentum=0.0).reshape_as(self.weight)
        return self.last(F.conv1d(x, weight).tanh().mean(2))


@pytest.mark.parametrize("how", ["bmm", "baddbmm", "einsum"])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_products_per_head_have_rules(how, count):
    torch.manual_seed(0)
    check(Heads(how), torch.randn(count, 3, 4))


def test_weights_standardized_by_their_own_statistics_couple_no_samples():
    torch.manual_seed(0)
    check(StandardizedWeights(), torch.randn(4, 2, 7))


def check(model: nn.Module, x: Tensor) -> None:
    model, x = model.double().eval(), x.double()
    jacobian = reference.flat(reference.jacobian(model, x))
    found = kernel_matrix(model, x, normalize=False, precision="float64")
    assert not found.metadata["coverage"]["fallback"]
    torch.testing.assert_close(found.matrix, reference.trntk(jacobian, jacobian), rtol=1e-10, atol=1e-12)


def test_a_backward_pass_that_fails_without_kernels_is_said_to():
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.exp(self.layer(x))
            h.mul_(2)  # the backward pass of exp needs what this overwrites
            return h

    for call in (kernel_matrix, lambda model, x: KernelOperator(model, x) @ torch.ones(2)):
        with pytest.raises(ValueError, match="backward pass of the model alone, without kernels, fails on one sample"):
            call(Kept(), torch.ones(2, 2))
