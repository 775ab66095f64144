"""Whole-batch image operations on tensors: shape, normalization and augmentation, without torchvision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from pipeline.data.errors import DataError
from pipeline.data.sources.sizes import refuse_too_large


def fit_images(images: UInt8[np.ndarray, "n c h w"], pad: int, channels: int | None) -> UInt8[np.ndarray, "n k p q"]:
    """Pad images with black on each side and repeat a gray channel.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, c, h, w)
        As stored.
    pad : int
        Pixels added on each of the four sides.
    channels : int or None
        Wanted number of channels; None keeps them.

    Raises
    ------
    DataError
        If color would have to be thrown away, ``pad`` is negative, or the result does not fit the memory.
    """
    if pad < 0:
        raise DataError(f"data.image.pad={pad} must not be negative.")
    n, present, height, width = images.shape
    fitted = n * max(present, channels or present) * (height + 2 * pad) * (width + 2 * pad)
    if fitted > images.size:
        refuse_too_large(fitted, f"data.image.pad={pad}, data.image.channels={channels} with {n} images", copies=1)
    if pad:
        images = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    if channels is None or channels == images.shape[1]:
        return images
    if images.shape[1] != 1:
        raise DataError(
            f"data.image.channels={channels}, but the images have {images.shape[1]} channels, not one gray."
        )
    return np.repeat(images, channels, axis=1)


def normalize_images(
    images: UInt8[Tensor, "n c h w"],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "n c h w"]:
    """Map pixels to [0, 1], then subtract the mean and divide by the standard deviation of each channel.

    A single number serves all channels; None skips its step.

    Raises
    ------
    DataError
        If the numbers fit neither one nor every channel, or a standard deviation is not positive.
    """
    result = images.to(dtype) / 255
    channels = images.shape[1]
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) not in (1, channels):
            raise DataError(f"data.image.{name} has {len(values)} numbers for {channels} channels.")
    if std is not None and min(std) <= 0:
        raise DataError(f"data.image.std={list(std)} must be positive.")
    if mean is not None:
        result -= torch.tensor(mean, dtype=dtype).view(1, -1, 1, 1)
    if std is not None:
        result /= torch.tensor(std, dtype=dtype).view(1, -1, 1, 1)
    return result


def normalize_vectors(
    vectors: Float[Tensor, "n d"], scale: tuple[Sequence[float], Sequence[float]] | None
) -> Float[Tensor, "n d"]:
    """Subtract the mean and divide by the deviation of each column; without a scale, vectors stay as they are."""
    if scale is None:
        return vectors
    mean, std = (torch.tensor(values, dtype=vectors.dtype) for values in scale)
    return (vectors - mean) / std


def crop_and_flip(images: UInt8[Tensor, "n c h w"], pad: int, generator: torch.Generator) -> UInt8[Tensor, "n c h w"]:
    """Shift every image at random by up to ``pad`` pixels over black borders, and mirror half of them.

    The whole batch is one gather: no loop over images, no global random state.

    Parameters
    ----------
    images : Tensor of uint8, shape (n, c, h, w)
        A batch.
    pad : int
        Largest shift in each direction.
    generator : torch.Generator
        CPU generator; the draws depend on the batch size and nothing else.
    """
    n, channels, height, width = images.shape
    top, left = torch.randint(0, 2 * pad + 1, (2, n), generator=generator)
    mirrored = torch.rand(n, generator=generator) < 0.5
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = functional.pad(images, (pad, pad, pad, pad))
    return padded[
        torch.arange(n)[:, None, None, None],
        torch.arange(channels)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
