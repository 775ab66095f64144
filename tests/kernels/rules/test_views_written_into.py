"""A layer's output that is a view, and is written into, keeps the gradient of what the layer gave."""

import pytest
import torch
from torch import Tensor, nn

from kernels import KernelOperator, kernel_matrix
from tests.references import per_sample_jacobian as reference


class Written(nn.Module):
    """Linear maps of positions, whose results torch makes as views, changed in place."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.first, self.last = how, nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if self.how == "divided":
            h /= 3.0
        elif self.how == "assigned":
            h[:, 0] = 0.5
        else:
            h.flatten(1)[:, :4].mul_(2.0)
        y = self.last(torch.sin(h))
        y -= y.mean(2, keepdim=True)
        return y.sum(1)


@pytest.mark.parametrize("how", ["divided", "assigned", "through another view"])
def test_what_a_layer_gave_is_told_from_what_was_written_into_it(how):
    torch.manual_seed(0)
    model, x = Written(how).double().eval(), torch.randn(5, 3, 4, dtype=torch.float64)
    jacobian = reference.flat(reference.jacobian(model, x))
    found = kernel_matrix(model, x, normalize=False, precision="float64", certify="every")
    assert not found.metadata["coverage"]["fallback"]
    torch.testing.assert_close(found.matrix, reference.trntk(jacobian, jacobian), rtol=1e-10, atol=1e-12)
    operator = KernelOperator(model, x, kind="trntk", normalize=False, precision="float64")
    product = torch.as_tensor(operator @ torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(product, found.matrix, rtol=1e-9, atol=1e-11)
