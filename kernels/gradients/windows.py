r"""Windows of a convolution: which pixels each output position reads.

The patch of output position :math:`t` holds, for every kernel offset :math:`u`, the pixel
:math:`r t + d u - p` for stride r, dilation d and p zeros before the image, axis by axis.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kernels.machine.scratch import Place


@dataclass(frozen=True)
class Windows:
    """Geometry of a convolution, one entry per spatial axis.

    Attributes
    ----------
    kernel, stride, dilation : tuple of int
        As in the convolution.
    before : tuple of int
        Zeros in front of the image; those behind it follow from the number of windows.
    space : tuple of int
        Number of windows, that is the output's extent; positions are in row-major order.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    space: tuple[int, ...]

    @property
    def positions(self) -> int:
        """Output positions T."""
        return torch.Size(self.space).numel()

    def patches(self, images: Float[Tensor, "n c *extent"], place: Place | None = None) -> Float[Tensor, "n t i"]:
        """Unfold whole patches, (n, T, C * prod(kernel)), ordered (channel, kernel offset) as a weight.

        The result is a transposed view, since runs of neighboring positions are copied several times faster than
        patches. It lies in new memory, or in what ``place`` gives.
        """
        padded = self._padded(images, place)
        steps = padded.stride()
        windows = padded.as_strided(
            (*padded.shape[:2], *self.kernel, *self.space),
            (
                *steps[:2],
                *(s * d for s, d in zip(steps[2:], self.dilation, strict=True)),
                *(s * r for s, r in zip(steps[2:], self.stride, strict=True)),
            ),
            padded.storage_offset(),
        )
        if place is not None and windows.numel() > images.numel():
            windows = place(windows.numel()).view(windows.shape).copy_(windows)
        return windows.reshape(len(images), -1, self.positions).transpose(1, 2)

    def bands(self, images: Float[Tensor, "n c *extent"], place: Place | None = None) -> list[Float[Tensor, "n t j"]]:
        """Patches cut by their offset along the first axis, each (n, T, C * prod(kernel[1:])).

        Rows of equal residue modulo the stride are contiguous, so a step along the first axis is a shift within
        the same memory: only the other axes are unfolded, and a k x k patch costs k copies of its pixel, not k * k.
        """
        padded, stride = self._padded(images, place), self.stride[0]
        offsets = [self.dilation[0] * u for u in range(self.kernel[0])]
        rest = torch.Size(self.space[1:]).numel()
        unfolded: dict[int, Tensor] = {}
        for offset in reversed(offsets):  # the last offset of a residue reaches furthest
            residue = offset % stride
            if residue not in unfolded:
                rows = replace(
                    self,
                    kernel=(1, *self.kernel[1:]),
                    before=(0,) * len(self.before),
                    space=(offset // stride + self.space[0], *self.space[1:]),
                )
                unfolded[residue] = rows.patches(padded[:, :, residue:], place)
        starts = [(offset % stride, offset // stride * rest) for offset in offsets]
        return [unfolded[residue][:, start : start + self.positions] for residue, start in starts]

    def projected(self, images: Float[Tensor, "n c *extent"], vector: Float[Tensor, " i"]) -> Float[Tensor, "n t g"]:
        """Product of each group's patches with one vector, without unfolding them: a convolution with it."""
        groups = images.shape[1] * torch.Size(self.kernel).numel() // len(vector)
        weight = vector.view(1, -1, *self.kernel).expand(groups, *(-1,) * (1 + len(self.kernel)))
        convolve = (F.conv1d, F.conv2d, F.conv3d)[len(self.kernel) - 1]
        found = convolve(self._padded(images), weight, stride=self.stride, dilation=self.dilation, groups=groups)
        for axis, extent in enumerate(self.space, 2):
            found = found.narrow(axis, 0, extent)
        return found.flatten(2).transpose(1, 2)

    def _padded(self, images: Tensor, place: Place | None = None) -> Tensor:
        """Pad with zeros as far as the windows read."""
        sides = []
        axes = zip(self.kernel, self.stride, self.dilation, self.before, self.space, images.shape[2:], strict=True)
        for kernel, stride, dilation, before, space, extent in axes:
            read = (space - 1) * stride + dilation * (kernel - 1) + 1
            sides.append((before, max(0, read - before - extent)))
        if not any(map(any, sides)):
            return images
        if place is None:
            return F.pad(images, [amount for side in reversed(sides) for amount in side])
        shape = (*images.shape[:2], *(a + n + b for (a, b), n in zip(sides, images.shape[2:], strict=True)))
        padded = place(torch.Size(shape).numel()).view(shape).zero_()
        inside = padded
        for axis, (start, _) in enumerate(sides, 2):
            inside = inside.narrow(axis, start, images.shape[axis])
        inside.copy_(images)
        return padded
