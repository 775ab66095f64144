"""Hooks on parameters act on every sample's own gradient, without a loop over passes of the network."""

import pytest
import torch
from torch import Tensor, nn

from kernels import kernel_matrix
from tests.references import per_sample_jacobian as reference


def projected(gradient: Tensor) -> Tensor:
    direction = torch.arange(1.0, 1.0 + gradient.shape[-1], dtype=gradient.dtype)
    return gradient - (gradient @ direction)[..., None] * direction / direction.square().sum()


def written(gradient: Tensor) -> None:
    gradient.mul_(0.5)


@pytest.mark.parametrize("names", [("0.weight",), ("0.bias",), ("2.weight", "2.bias"), ("tied",)])
def test_each_samples_gradient_goes_through_the_hooks(names):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)).double().eval()
    if names == ("tied",):
        model[2].weight = model[0].weight
        names = ("0.weight",)
    for name in names:
        parameter = model.get_parameter(name)
        parameter.register_hook(projected)
        parameter.register_hook(written)
    x = torch.randn(5, 4, dtype=torch.float64)
    jacobian = reference.flat(reference.jacobian(model, x))
    found = kernel_matrix(model, x, normalize=False, precision="float64", certify="every")
    assert not found.metadata["coverage"]["fallback"]
    torch.testing.assert_close(found.matrix, reference.trntk(jacobian, jacobian), rtol=1e-10, atol=1e-12)
    generic = kernel_matrix(model, x, normalize=False, precision="float64", fallback=["0", "2"])
    assert generic.metadata["coverage"]["fallback_route"] == "loop"
    torch.testing.assert_close(generic.matrix, found.matrix, rtol=1e-10, atol=1e-12)
