"""Parameters without entries, such as an adapter of rank 0, add nothing to any kernel."""

import warnings

import pytest
import torch
from torch import Tensor, nn

import kernels
from tests.kernels.inputs.rows import X, linear
from tests.kernels.inputs.test_inputs_stay import NUMBERS


class Placeholder(nn.Module):
    """An adapter of rank 0, a layer without inputs, and a parameter that stands for nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.nothing = linear(), nn.Linear(0, 3)
        self.down, self.up = nn.Parameter(torch.empty(4, 0)), nn.Parameter(torch.empty(0, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x + x @ self.down @ self.up) + self.nothing(x[:, :0])


@pytest.fixture(scope="module")
def placeholders() -> tuple[nn.Module, nn.Module]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that there is nothing to initialize
        empty = Placeholder().eval()
    nn.init.zeros_(empty.nothing.bias)
    plain = nn.Module()
    plain.inner, plain.extra = empty.inner, empty.nothing.bias
    plain.forward = lambda x: plain.inner(x) + plain.extra
    return empty, plain


@pytest.mark.parametrize("function", ["kernel", "loss", "fallback", "jacobian", "autograd", "fisher"])
def test_parameters_without_entries_add_nothing(placeholders, function: str) -> None:
    found, expected = (NUMBERS[function](model, X) for model in placeholders)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_parameters_without_entries_are_sketched_and_verified(placeholders) -> None:
    for sketch in ("tensorsketch", "countsketch", "rademacher"):
        assert kernels.kernel_features(placeholders[0], X, sketch=sketch, dim=8).values.isfinite().all()
    assert kernels.verify(placeholders[0], X[:3]).ok
