"""What a forward pass writes into parameters is gone after every call, and the kernel is that of what it wrote."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kernels import kernel_matrix, layer_factors, layer_features, layer_jacobians
from kernels.inputs import Loan, call_logits
from tests.references import per_sample_jacobian as slow

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


class Bounded(nn.Module):
    def __init__(self, write: Callable[[nn.Linear], Any]) -> None:
        super().__init__()
        self.a, self.b, self.write = nn.Linear(4, 5), nn.Linear(5, 3), write

    def forward(self, x: Tensor) -> Tensor:
        self.write(self.a)
        return self.b(torch.tanh(self.a(x)))


@torch.no_grad()
def divided(layer: nn.Linear) -> None:
    layer.weight.div_(layer.weight.norm(dim=1, keepdim=True))


@torch.no_grad()
def one_row(layer: nn.Linear) -> None:
    layer.weight[0].zero_()


@torch.no_grad()
def several(layer: nn.Linear) -> None:
    torch._foreach_clamp_min_([layer.weight, layer.bias], 0.0)


WRITES: dict[str, Callable[[nn.Linear], Any]] = {
    "clamped through data": lambda layer: layer.weight.data.clamp_(0.0),
    "other data": lambda layer: setattr(layer.weight, "data", layer.weight.data.clamp(0.0)),
    "divided by its norm": divided,
    "one row": one_row,
    "several at once": several,
}


@pytest.mark.parametrize("name", WRITES)
def test_parameters_that_forward_writes_to_are_put_back(name: str) -> None:
    torch.manual_seed(0)
    model = Bounded(WRITES[name]).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wide = Bounded(WRITES[name]).double().eval()
    wide.load_state_dict(before)
    wide(X.double())
    flat = slow.flat(slow.jacobian(wide, X.double()))
    calls: list[Callable[[], Any]] = [
        lambda: torch.testing.assert_close(
            kernel_matrix(model, X, normalize=False).matrix.double(), slow.trntk(flat, flat), rtol=1e-4, atol=1e-5
        ),
        lambda: layer_features(model, X),
        lambda: layer_jacobians(model, X),
        lambda: list(layer_factors(model, X, batch_size=2)),
    ]
    for call in calls:
        call()
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_changed_between_two_passes_of_a_loan_stays_changed() -> None:
    model = Bounded(WRITES["clamped through data"]).eval()
    loan = Loan(model)
    for value in (-1.0, -2.0):
        with torch.no_grad():
            model.a.weight.fill_(value)
        with loan.lent() as own:
            call_logits(own, X)
            assert bool((model.a.weight == 0).all())
        assert bool((model.a.weight == value).all())
