"""Blocks of one batched pass, materialised, equal plain autograd of one sample at a time."""

import pytest
import torch

from kernels.capture import Capture, bind_cotangent
from tests.kernels.cases import CASES, Case, make
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
