"""The residual networks for CIFAR of He et al. (arXiv 1512.03385, section 4.2): ResNet-20, 32, 44, 56, 110.

The published networks with parameter-free shortcuts (option A): 269,722 parameters at depth 20, 464,154 at 32, 658,586
at 44 and 853,018 at 56. Parameter names follow the common convention (``conv1``, ``layer1.0.bn1``, ``linear``), so
that weights which others trained load by ``weights.path``. Such weights of the four networks reach 8.27, 7.37, 6.89
and 6.61 % test error on CIFAR-10, inputs normalized by ImageNet's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class PlainBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.new = stride, channels - channels_in

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o g v"]:
        """Map a batch of feature maps; where channels are new, the input gets zeros for them (option A)."""
        z = F.relu(self.bn1(self.conv1(x)))
        z = self.bn2(self.conv2(z))
        if self.new or self.stride > 1:
            before = self.new // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new - before))
        return F.relu(z + x)


class CifarResNet(nn.Module):
    """Residual network of 6k + 2 layers on three resolutions.

    Module paths for features: ``conv1`` (stem), ``layer1.0 ... layer3.K`` (block outputs), ``linear``.

    Parameters
    ----------
    input_shape : (channels, height, width)
        Shape of one image.
    n_classes : int
        Number of logits.
    depth : int
        Layers with weights: 20, 32, 44, 56 and 110 are published.
    width : int
        Channels of the first stage; later stages double it.

    Raises
    ------
    ValueError
        If the depth is not 6k + 2, or the samples are no images.

    Examples
    --------
    >>> model = CifarResNet((3, 32, 32), 10, depth=20)
    >>> sum(parameter.numel() for parameter in model.parameters())
    269722
    """

    def __init__(self, input_shape: Sequence[int], n_classes: int, depth: int = 20, width: int = 16) -> None:
        super().__init__()
        if len(input_shape) != 3:
            raise ValueError(f"a ResNet needs images (channels, height, width), got shape {tuple(input_shape)}")
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"model.depth={depth} is not 6k + 2; choose 20, 32, 44, 56 or 110")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, blocks, 1)
        self.layer2 = self._stage(width, 2 * width, blocks, 2)
        self.layer3 = self._stage(2 * width, 4 * width, blocks, 2)
        self.linear = nn.Linear(4 * width, n_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)

    @staticmethod
    def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = PlainBlock(channels_in, channels, stride)
        return nn.Sequential(first, *(PlainBlock(channels, channels, 1) for _ in range(blocks - 1)))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Map a batch of images to logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))
