"""Blocks of one batched pass, materialized, equal plain autograd of one sample at a time."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from kernels import kernel_matrix
from kernels.capture.capture import Capture
from kernels.inputs.outputs import bind_cotangent
from tests.kernels.cases import BY_NAME, CASES, Case, make
from tests.references import per_sample_jacobian as slow


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_blocks_equal_autograd(case: Case) -> None:
    model, inputs, _ = make(case, 5)
    expected = slow.jacobian(model, inputs)
    capture = Capture(model, slow.rows(inputs, slice(0, 3)))
    _, blocks = capture.blocks(inputs, bind_cotangent("class", None))
    found: dict[str, torch.Tensor] = {}
    for block in blocks:
        for name, value in block.gradients().items():
            found[name] = found.get(name, 0) + value.reshape(*value.shape[:2], -1)
    for name, value in expected.items():
        if name in capture.coverage.unused:
            assert not value.any()
            continue
        torch.testing.assert_close(found.pop(name), value, rtol=1e-10, atol=1e-12)
    assert not found
    for name in capture.coverage.fallback:
        assert name.startswith(case.fallback), f"{name}: {capture.coverage.reasons[name]}"


def test_both_kinds_of_checkpointing_are_the_same_model() -> None:
    model, inputs, _ = make(BY_NAME["checkpointed"], 5)
    plain = kernel_matrix(model, inputs, precision="float64")
    model.reentrant = True
    found = kernel_matrix(model, inputs, precision="float64")
    assert torch.equal(found.matrix, plain.matrix) and not found.metadata["coverage"]["fallback"]


def test_the_activation_of_gpt2_is_one_operation_here_and_its_own_outside() -> None:
    model, inputs, _ = make(BY_NAME["tiny_gpt2"], 5)
    before = type(model.transformer.h[0].mlp.act).forward
    with Operations() as seen:
        kernel_matrix(model, inputs, precision="float64", zero_gradient="zero", certify="off")
    written_out = torch.ops.aten.tanh.default
    assert seen.count[torch.ops.aten.gelu.default] and not seen.count[written_out]
    assert type(model.transformer.h[0].mlp.act).forward is before
    with Operations() as seen:
        model(**inputs)
    assert seen.count[written_out] and not seen.count[torch.ops.aten.gelu.default]


class Operations(TorchDispatchMode):
    """Count the operations by name."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[Any] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[func] += 1
        return func(*args, **kwargs or {})
