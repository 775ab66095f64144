"""Blocks of one batched pass, materialised, equal plain autograd of one sample at a time."""

import pytest
import torch

from kernels import kernel_matrix
from kernels.capture import Capture
from kernels.outputs import bind_cotangent
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
