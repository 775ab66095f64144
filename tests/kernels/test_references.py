"""The reference agrees with a second, independent route, and the shared cases are what they claim to be."""

import pytest
import torch
from torch.func import functional_call, jacrev

from tests.kernels.cases import CASES, Case, make
from tests.references import per_sample_jacobian as slow


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_gives_each_sample_its_own_logits(case: Case) -> None:
    model, inputs, _ = make(case)
    with torch.no_grad():
        together = slow.logits(model, inputs)
        alone = torch.cat([slow.logits(model, slow.rows(inputs, slice(n, n + 1))) for n in range(4)])
    assert together.shape == (4, case.classes)
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)
    gradients = slow.flat(slow.jacobian(model, inputs))
    assert gradients.isfinite().all() and (gradients.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("name", ["mlp", "tied_linear", "conv2d_groups", "tiny_resnet"])
def test_jacobian_agrees_with_reverse_mode_of_torch_func(name: str) -> None:
    model, inputs, _ = make(next(case for case in CASES if case.name == name))
    parameters = dict(model.named_parameters())
    expected = jacrev(lambda p: functional_call(model, p, (inputs,)))(parameters)
    found = slow.jacobian(model, inputs)
    assert found.keys() == parameters.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, expected[key].flatten(2).detach(), rtol=1e-12, atol=1e-12)


def test_kernels_of_the_reference_agree_with_each_other() -> None:
    model, inputs, labels = make(CASES[0])
    jac = slow.jacobian(model, inputs)
    full = slow.flat(jac)
    block = slow.entk(full, full)
    torch.testing.assert_close(slow.trntk(full, full), torch.einsum("nmcc->nm", block))
    torch.testing.assert_close(slow.pntk(full, full), block.sum((2, 3)))
    torch.testing.assert_close(sum(slow.parts(jac, jac, slow.trntk).values()), slow.trntk(full, full))
    f = slow.logits(model, inputs).detach()
    assert torch.allclose(slow.loss_cotangent(f, labels).sum(1), torch.zeros(4, dtype=f.dtype))
    assert slow.loss_gradient(model, inputs, labels).shape == (4, 4)
