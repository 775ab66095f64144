"""``verify`` tells right from wrong on a few samples."""

import pytest
import torch
from torch import nn

from kernels import verify
from kernels.rules.table import RULES
from tests.kernels.cases import BY_NAME, make


@pytest.mark.parametrize(
    "name",
    [
        "mlp_relu_without_bias",
        pytest.param("tiny_resnet", marks=pytest.mark.slow),
        pytest.param("tiny_gpt2", marks=pytest.mark.slow),
        "rows_picked_by_the_data",
    ],
)
def test_a_sound_model_is_ok(name: str) -> None:
    model, inputs, _ = make(BY_NAME[name], 4, dtype=torch.float32)
    found = verify(model, inputs)
    assert found.ok and found.float32_error < 1e-3 and found.contraction_error < 1e-5
    total = found.ruled + found.fallback + found.unused + found.frozen
    assert total == sum(p.numel() for p in model.parameters())
    assert (found.fallback > 0) == (name == "rows_picked_by_the_data") == ("generic route" in str(found))


def test_settings_of_the_process_do_not_enter() -> None:
    model, inputs, _ = make(BY_NAME["mlp"], 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = verify(model, inputs)
    assert found == verify(model, inputs) and found.contraction_error < 1e-5


def test_relu_flips_are_counted() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
    close = torch.tensor([[1.0, -1.0 + 1e-9], [1.0, 2.0]], dtype=torch.float64)
    assert verify(model.eval(), close).relu_flips > 0


def test_a_rule_that_misreads_its_operation_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    linear = RULES[nn.functional.linear]
    wrong = replace(linear, reduce=lambda use, delta: 2 * linear.reduce(use, delta))
    monkeypatch.setitem(RULES, nn.functional.linear, wrong)
    model, inputs, _ = make(BY_NAME["mlp"], 4, dtype=torch.float32)
    found = verify(model, inputs)
    assert found.ok and found.ruled == 0 and "no rule reproduces autograd" in str(found)
