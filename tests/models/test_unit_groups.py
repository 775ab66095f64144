"""Units change places without changing a function, and networks that this does not know are refused."""

import copy

import pytest
import torch
from torch import nn

from models import build_model
from models.unit_groups import NoUnitGroupsError, permuted, random_permutations, unit_groups

NETWORKS = {
    "mlp": ("mlp", (1, 6, 6), {"widths": [9, 7]}),
    "mlp of the torchNTK form": ("mlp", (1, 6, 6), {"widths": [9, 7], "parameterization": "torchntk", "bias": False}),
    "cnn": ("cnn", (1, 12, 12), {"variant": "mnist2"}),
    "cnn with norms": ("cnn", (3, 32, 32), {"variant": "poison"}),
    "resnet18": ("resnet18", (1, 8, 8), {"width": 2}),
}


def network(name: str) -> nn.Module:
    kind, shape, options = NETWORKS[name]
    model = build_model(kind, input_shape=shape, n_classes=3, seed=0, **options).double().eval()
    with torch.no_grad():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.add_(torch.rand(buffer.shape, dtype=torch.float64))
    return model


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_random_permutation_keeps_the_function(name):
    model = network(name)
    probe = torch.randn(3, *NETWORKS[name][1], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    groups = unit_groups(model, probe)
    assert all(name in model.state_dict() for name in groups.axes) and set(groups.seen_at) == set(groups.sizes)
    orders = random_permutations(groups, torch.Generator().manual_seed(3))
    twin = copy.deepcopy(model)
    twin.load_state_dict(permuted(model.state_dict(), groups, orders))
    moved = [name for name, value in twin.state_dict().items() if not torch.equal(value, model.state_dict()[name])]
    assert len(moved) >= len(groups.sizes)
    torch.testing.assert_close(twin(probe), model(probe), rtol=1e-10, atol=1e-10)


def test_blocks_of_a_residual_stream_share_their_order():
    groups = unit_groups(network("resnet18"), torch.randn(2, 1, 8, 8))
    assert groups.axes["layer1.0.conv2.weight"][0] == groups.axes["layer1.1.conv2.weight"][0] == (0, "conv1")
    assert groups.axes["layer2.0.downsample.0.weight"] == [(0, "layer2.0"), (1, "conv1")]
    assert len(groups.sizes) == 12, "a stem, three further streams and eight blocks"


class Skip(nn.Module):
    """A residual network that is not ResNet-18."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.head(x + torch.tanh(self.second(x)))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Skip(), "permuting its units changes its outputs"),
        (nn.Sequential(nn.Linear(4, 6), nn.GroupNorm(2, 6), nn.Linear(6, 2)), "1 normalizes groups of channels"),
        (nn.Sequential(nn.Linear(4, 2)), "it has one layer"),
        (nn.Sequential(nn.Flatten()), "no linear or convolutional layer"),
        (nn.Sequential(nn.Linear(4, 4), nn.Bilinear(2, 2, 2)), "1.weight belongs to no linear"),
        (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 2, 1, groups=2), nn.Flatten(), nn.Linear(4, 2)), "groups"),
    ],
    ids=["residual", "group norm", "one layer", "no layer", "another layer", "grouped convolution"],
)
def test_networks_that_are_no_chains_are_refused(model, reason):
    with pytest.raises(NoUnitGroupsError, match=reason):
        unit_groups(model, torch.randn(3, 4))
