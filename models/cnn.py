"""Small convolutional networks: the published ones, and a smooth one whose training can be differentiated.

The binary networks and the PyTorch port of the poisoned-data network follow the public code of
arXiv 2305.14585; the poisoned-data network is the BadNets-style CIFAR-10 classifier of arXiv 2110.06904's code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.configs import CNNConfig
from models.dense import Dense
from models.fields import choices_of
from models.initialization import initialize_


class ScaledConv(nn.Module):
    """3x3 convolution ``relu(conv(x)) / sqrt(9 c)`` with c output channels, padding 1."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.scale = 1 / math.sqrt(9 * channels)

    def forward(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h w"]:
        """Map a batch of images."""
        return F.relu(self.conv(x)) * self.scale


class ScaledCNN(nn.Module):
    """Small CNN with every layer but the last divided by the root of its own fan, drawn from N(0, 1).

    Module paths: ``stages.S.i`` for convolutions (post-activation), ``hidden.0``, ``hidden.1``, ``head``.

    Parameters
    ----------
    input_shape : (channels, height, width)
        Three poolings halve each side, rounding down; at least 8 pixels a side.
    n_outputs : int
        1 for the published single-logit networks.
    stages : sequence of sequence of int
        Output channels of the convolutions of each stage; a pooling ends each stage.
    pool : {"avg", "max"}
        Kind of 2x2 pooling.
    """

    def __init__(self, input_shape: Sequence[int], n_outputs: int, stages: Sequence[Sequence[int]], pool: str) -> None:
        super().__init__()
        channels, height, width = input_shape
        blocks = []
        for stage in stages:
            layers: list[nn.Module] = []
            for out in stage:
                layers.append(ScaledConv(channels, out))
                channels = out
            layers.append(nn.AvgPool2d(2) if pool == "avg" else nn.MaxPool2d(2))
            blocks.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*blocks)
        shrink = 2 ** len(stages)
        flat = channels * (height // shrink) * (width // shrink)
        if flat == 0:
            raise ValueError(f"images of {height}x{width} are too small: {len(stages)} poolings need {shrink}x{shrink}")
        self.hidden = nn.Sequential(
            Dense(flat, 128, "relu", True, "torchntk"), Dense(128, 64, "relu", True, "torchntk")
        )
        self.head = nn.Linear(64, n_outputs)
        initialize_(self, "normal")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Map a batch of images to logits."""
        return self.head(self.hidden(self.stages(x).flatten(1)))


class PoisonCNN(nn.Module):
    """CIFAR-10 network of the poisoned-data study: ReLU before batch norm, 820,394 parameters.

    Three stages of two 3x3 convolutions and a 2x2 max-pool, then the flattened features are max-pooled in
    groups of four and pass two dense layers of 512 with batch norm. Batch norm uses momentum 0.01 and
    eps 1e-3 (the Keras defaults 0.99 and 1e-3). Module paths: ``stages.S``, ``dense.0``, ``dense.1``, ``head``.

    Parameters
    ----------
    input_shape : (channels, height, width)
        (3, 32, 32) in the publication; sides must be multiples of 8.
    n_outputs : int
        Number of classes.
    """

    def __init__(self, input_shape: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        if height % 8 or width % 8:
            raise ValueError(f"image sides must be multiples of 8, got {height}x{width}; pad the images")
        stages = []
        for out in (32, 64, 128):
            layers: list[nn.Module] = []
            for _ in range(2):
                layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(), _batch_norm(nn.BatchNorm2d, out)]
                channels = out
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.MaxPool1d(4)
        self.dropout = nn.Dropout(0.2)
        flat = channels * (height // 8) * (width // 8) // 4
        self.dense = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(fan_in, 512), nn.ReLU(), _batch_norm(nn.BatchNorm1d, 512))
                for fan_in in (flat, 512)
            )
        )
        self.head = nn.Linear(512, n_outputs)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Map a batch of images to logits."""
        x = self.pool(self.stages(x).flatten(1).unsqueeze(1)).squeeze(1)
        return self.head(self.dense(self.dropout(x)))


class SmoothCNN(nn.Module):
    """Two 3x3 convolutions of stride 2 with 8 and 16 channels, GELU after each, and a linear layer.

    No kink, no pooling by maximum, no normalization: a small change of the training rows changes the training smoothly,
    so that its derivative (``attribution.methods=[magic]``) describes what a small change does. 9,098 parameters on
    1x28x28 with ten classes, 11,642 on 3x32x32. Module paths: ``stages.0``, ``stages.1``, ``head``.

    Parameters
    ----------
    input_shape : (channels, height, width)
        Of one image, of any size.
    n_outputs : int
        Number of logits.
    """

    def __init__(self, input_shape: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        self.stages = nn.Sequential(
            nn.Sequential(nn.Conv2d(channels, 8, 3, stride=2, padding=1), nn.GELU()),
            nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.GELU()),
        )
        self.head = nn.Linear(16 * -(-height // 4) * -(-width // 4), n_outputs)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Map a batch of images to logits."""
        return self.head(self.stages(x).flatten(1))


def _batch_norm(kind: type[nn.Module], width: int) -> nn.Module:
    return kind(width, momentum=0.01, eps=1e-3)


VARIANTS = choices_of(CNNConfig, "variant")


def build_cnn(
    *, input_shape: Sequence[int], n_classes: int, variant: str = "cifar2", outputs: int | None = None
) -> nn.Module:
    """Build one of the published networks, or the smooth one.

    Parameters
    ----------
    input_shape : (channels, height, width)
        Shape of one image.
    n_classes : int
        Number of classes.
    variant : {"mnist2", "cifar2", "poison", "smooth"}
        ``mnist2``: convolutions 64-32-8, average pooling (39,081 parameters on 1x28x28, one output).
        ``cifar2``: 64-64-32-32-8-8, max pooling per pair (94,161 on 3x32x32, one output).
        ``poison``: :class:`PoisonCNN`. ``smooth``: :class:`SmoothCNN`, which nobody published.
    outputs : int, optional
        Number of outputs when it is not the number of classes; the published binary networks have 1.
    """
    if len(input_shape) != 3:
        raise ValueError(f"a CNN needs images (channels, height, width), got samples of shape {tuple(input_shape)}")
    n_outputs = n_classes if outputs is None else outputs
    if variant == "mnist2":
        return ScaledCNN(input_shape, n_outputs, stages=[[64], [32], [8]], pool="avg")
    if variant == "cifar2":
        return ScaledCNN(input_shape, n_outputs, stages=[[64, 64], [32, 32], [8, 8]], pool="max")
    if variant == "poison":
        return PoisonCNN(input_shape, n_outputs)
    if variant == "smooth":
        return SmoothCNN(input_shape, n_outputs)
    raise ValueError(f"unknown CNN variant {variant!r}; choose one of {', '.join(VARIANTS)}")
