"""From the color space of a profile (ICC) that an image file embeds to sRGB, by Pillow's ImageCms."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from pipeline.data.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageCms import ImageCmsTransform

_LEVELS = (0, 51, 102, 153, 204, 255)
_ROUNDED = 1
"""Levels by which the conversion from one sRGB profile to another rounds."""


def to_srgb(image: Image, profile: bytes, where: str) -> Image:
    """Convert an image of 8 bits; one whose profile is sRGB itself keeps its bytes.

    Parameters
    ----------
    image : Image
        Gray, RGB, CMYK, or a palette of RGB, with or without alpha.
    profile : bytes
        The embedded profile.
    where : str
        File or row, for messages.

    Returns
    -------
    Image
        Gray stays gray, all else is RGB; an alpha channel stays as it is.

    Raises
    ------
    DataError
        If the profile is damaged, or of other colors than the image's.
    """
    from PIL import ImageCms

    seen_through = image.mode not in ("CMYK", "L", "RGB") and ("A" in image.mode or "transparency" in image.info)
    gray = image.mode in ("1", "L", "LA")
    full = image.convert("LA" if gray else "RGBA") if seen_through else image
    colors = full if full.mode == "CMYK" else full.convert("L" if gray else "RGB")
    try:
        transform = _transform(profile, colors.mode)
    except (ImageCms.PyCMSError, OSError) as error:
        raise DataError(
            f"{where}: the color profile in the file does not convert its {colors.mode} values ({error}); save the "
            "image in sRGB, or data.read.profiles=ignored takes values as they are stored."
        ) from error
    if transform is None:
        return image
    converted = ImageCms.applyTransform(colors, transform)
    assert converted is not None
    if gray:
        converted = converted.getchannel(1)
    if seen_through:
        converted.putalpha(full.getchannel("A"))
    return converted


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """Conversion to RGB in sRGB; None where values would stay as they are."""
    from PIL import Image, ImageCms

    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode == "CMYK":
        return transform
    grid = np.array(list(product(_LEVELS, repeat=3)), np.uint8)[None]
    tried = Image.fromarray(np.arange(256, dtype=np.uint8)[None] if mode == "L" else grid)
    found = ImageCms.applyTransform(tried, transform)
    moved = np.asarray(found).astype(int) - np.asarray(tried.convert("RGB"))
    return transform if np.abs(moved).max() > _ROUNDED else None
