"""He et al.'s networks for CIFAR: sizes as published, shortcuts without parameters, names as others write them."""

import pytest
import torch

from models import build_model
from models.cifar_resnet import PlainBlock

PUBLISHED = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018}


@pytest.mark.parametrize("depth", PUBLISHED)
def test_the_published_networks_have_their_size(depth):
    model = build_model("cifar_resnet", input_shape=(3, 32, 32), n_classes=10, seed=0, depth=depth)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[depth]
    layers = [name for name, value in model.named_parameters() if value.ndim > 1]
    assert len(layers) == depth and layers[-1] == "linear.weight" and "layer3.0.conv2.weight" in layers


def test_a_shortcut_takes_every_second_pixel_and_puts_zeros_around_the_channels():
    block = PlainBlock(4, 8, 2).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(2, 4, 6, 6)
    found = block(x)
    assert torch.equal(found[:, 2:6], x[:, :, ::2, ::2]) and not found[:, [0, 1, 6, 7]].any()


def test_depths_that_have_no_such_network_are_refused():
    with pytest.raises(ValueError, match="model.depth=21 is not 6k \\+ 2; choose 20, 32, 44, 56 or 110"):
        build_model("cifar_resnet", input_shape=(3, 8, 8), n_classes=2, seed=0, depth=21)
    with pytest.raises(ValueError, match="needs images"):
        build_model("cifar_resnet", input_shape=(8,), n_classes=2, seed=0)
