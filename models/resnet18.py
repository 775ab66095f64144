"""ResNet-18 for small images (arXiv 1512.03385), any width.

At width 64 on CIFAR-10 it has 11,173,962 parameters, with or without the max-pool after the stem. Parameter
names follow the common convention (``conv1``, ``layer1.0.bn1``, ``layer2.0.downsample.0``, ``fc``), so weights
that others trained load once converted to safetensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.configs import ResNet18Config
from models.fields import choices_of

NORMS = choices_of(ResNet18Config, "norm")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input (projected where shapes change)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o g v"]:
        """Map a batch of feature maps."""
        z = F.relu(self.bn1(self.conv1(x)))
        z = self.bn2(self.conv2(z))
        return F.relu(z + self.downsample(x))


class ResNet18(nn.Module):
    """ResNet-18 with a 3x3, stride-1 stem.

    Module paths for features: ``conv1`` (stem), ``layer1.0 ... layer4.1`` (8 block outputs), ``avgpool``, ``fc``.

    Parameters
    ----------
    input_shape : (channels, height, width)
        Shape of one image.
    n_classes : int
        Number of logits.
    width : int
        Channels of the first stage; later stages double it.
    max_pool : bool
        A 3x3, stride-2 max-pool after the stem, as in the public CIFAR-10 weights that the trNTK study used
        (arXiv 2305.14585); a quarter of the arithmetic.
    norm : {"batch", "frozen"}
        ``frozen`` keeps batch norm on its stored statistics (mean 0 and variance 1 unless loaded) also in training,
        where scale and shift are still trained: a sample's output then does not depend on the others in its batch.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_classes: int,
        width: int = 64,
        max_pool: bool = False,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise ValueError(f"ResNet-18 needs images (channels, height, width), got shape {tuple(input_shape)}")
        if width < 1:
            raise ValueError(f"width must be positive, got {width}")
        if norm not in NORMS:
            raise ValueError(f"unknown norm {norm!r}; choose one of {', '.join(NORMS)}")
        self.frozen_norm = norm == "frozen"
        self.conv1 = nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if max_pool else nn.Identity()
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.layer2 = nn.Sequential(BasicBlock(width, 2 * width, 2), BasicBlock(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(BasicBlock(2 * width, 4 * width, 2), BasicBlock(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(BasicBlock(4 * width, 8 * width, 2), BasicBlock(8 * width, 8 * width, 1))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def train(self, mode: bool = True) -> ResNet18:
        """Set the mode; under ``norm="frozen"`` batch norm stays in evaluation mode."""
        super().train(mode)
        if self.frozen_norm:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Map a batch of images to logits."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))
