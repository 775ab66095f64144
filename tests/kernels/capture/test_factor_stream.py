"""``layer_factors`` pulls back the cotangent that was named."""

import pytest
import torch
from torch import nn

from kernels import layer_factors
from tests.kernels.cases import BY_NAME, make
from tests.references import per_sample_jacobian as slow


@pytest.mark.parametrize("cotangent", ["sum", "loss", "log_odds", "class"])
def test_layer_factors_pull_back_the_named_cotangent(cotangent: str) -> None:
    model, inputs, labels = make(BY_NAME["mlp"], 5)
    logits = slow.logits(model, inputs).detach().requires_grad_()
    chosen = logits.gather(1, labels[:, None])[:, 0]
    others = logits.masked_fill(torch.nn.functional.one_hot(labels, 3).bool(), float("-inf"))
    scalar = {
        "sum": lambda: logits.sum(),
        "loss": lambda: nn.functional.cross_entropy(logits, labels, reduction="sum"),
        "log_odds": lambda: (chosen - others.logsumexp(1)).sum(),
    }
    if cotangent == "class":
        rows = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    else:
        rows = torch.autograd.grad(scalar[cotangent](), logits)[0].unsqueeze(1)
    jacobian = slow.jacobian(model, inputs)
    for part in layer_factors(model, inputs, cotangent=cotangent, labels=labels, precision="float64", batch_size=2):
        for block in part.blocks:
            for name, found in block.gradients().items():
                expected = torch.einsum("nrc,ncp->nrp", rows[part.rows], jacobian[name][part.rows])
                torch.testing.assert_close(found.flatten(2), expected, rtol=1e-10, atol=1e-12)
