"""Image files to uint8 arrays: one table of modes, and a refusal of whatever it does not hold.

What an image file says is kept or refused, never clipped or guessed. The rules:

==============================  ==========================================================================
gray, color (L, RGB)            as they are
two levels (1)                  one gray channel of 0 and 255
palette (P)                     the colors that it points at
alpha (LA, RGBA, PA, color key) dropped where every pixel is opaque, else refused
16 bits of gray                 scaled by ``data.read.white``, else refused
16 bits of color, float, int32  refused
CMYK, YCbCr, LAB, HSV           refused
more than one frame             refused; of a phone's MPO file the main picture is taken
EXIF orientation                applied
other sizes than row 0's        scaled to ``data.read.resize``, else refused
==============================  ==========================================================================
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from pipeline.config.data import ReadConfig
from pipeline.data.errors import DataError
from pipeline.data.sources.sizes import refuse_too_large

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM")
"""What is opened; Pillow's other formats include some that start programs, such as PostScript."""
CHANNELS = {"L": "L", "1": "L", "LA": "L", "RGB": "RGB", "P": "RGB", "RGBA": "RGB", "PA": "RGB"}
"""Mode of a file to the mode that is stored."""
ORIENTATION = 0x0112
"""EXIF tag."""
_SEEN_THROUGH = (
    "some pixels are transparent (mode {}), and the file does not say what is behind them; save the images on a "
    "background, without transparency."
)


def decode_images(
    encoded: Sequence[bytes], name: str = "image column", read: ReadConfig | None = None
) -> UInt8[np.ndarray, "n c h w"]:
    """Decode image files of one common size; gray images keep one channel.

    Parameters
    ----------
    encoded : sequence of bytes
        One image file per row.
    name : str
        Where they come from, for messages.
    read : ReadConfig, optional
        Size that all images are scaled to, and what counts as white in 16 bits.

    Returns
    -------
    ndarray of uint8, shape (n, c, h, w)
        Pixels from 0 to 255.

    Raises
    ------
    DataError
        With row and mode of the first image that cannot be decoded, does not fit the rules of this module, or has
        another shape. Sizes are read from headers, before any pixel is decoded.
    """
    from PIL import Image

    read = read or ReadConfig()
    images: UInt8[np.ndarray, "n c h w"] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for row, content in enumerate(encoded):
            where = f"{name}, row {row}"
            try:
                with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                    pixels = _pixels(opened, read, where)
            except DataError:
                raise
            except Exception as error:  # decoders raise whatever they meet in damaged bytes
                raise _undecodable(error, where) from error
            if images is None:
                refuse_too_large(len(encoded) * pixels.size, f"{name}: {len(encoded)} images like that of row 0")
                images = np.empty((len(encoded), *pixels.shape), np.uint8)
            if pixels.shape != images.shape[1:]:
                raise _unlike(pixels.shape, images.shape[1:], where)
            images[row] = pixels
    if images is None:
        raise DataError(f"{name} has no rows.")
    return images


def fit_arrays(images: np.ndarray, read: ReadConfig, where: str) -> UInt8[np.ndarray, "n c h w"]:
    """Bring images that were stored as arrays, not as files, to the size and white that are asked for.

    Parameters
    ----------
    images : ndarray of uint8 or uint16, shape (n, c, h, w)
        One or three channels.
    read : ReadConfig
        Size that all images are scaled to, and what counts as white in 16 bits.
    where : str
        File and split, for messages.

    Raises
    ------
    DataError
        If the pixels have neither 8 bits nor 16 bits of gray with a known white.
    """
    from PIL import Image

    if 0 in images.shape[1:]:
        raise DataError(f"{where}: images of shape {images.shape[1:]} have no pixels.")
    if images.dtype.newbyteorder("=") == np.uint16:
        images = images.astype(np.uint16, copy=False)  # whichever byte comes first in the file
    if images.dtype == np.uint16 and images.shape[1] == 1 and read.white is not None:
        if images.max() > read.white:
            raise DataError(f"{where}: value {images.max()} is above data.read.white={read.white}.")
        images = np.round(images * (255 / read.white)).astype(np.uint8)
    elif images.dtype != np.uint8:
        way = "; data.read.white=65535 says that 65535 becomes 255" * (images.dtype == np.uint16)
        raise DataError(f"{where}: images have type {images.dtype}; they must be uint8 pixels from 0 to 255{way}.")
    elif read.white is not None:
        raise DataError(f"{where}: data.read.white={read.white} is for images of 16 bits, and these have 8.")
    if read.resize is None or tuple(read.resize) == images.shape[2:]:
        return images
    n, channels, (height, width) = *images.shape[:2], read.resize
    refuse_too_large(n * channels * height * width, f"{where}: data.read.resize={read.resize} of {n} images")
    scaled = np.empty((n, channels, height, width), np.uint8)
    for image, target in zip(images, scaled, strict=True):
        for plane, result in zip(image, target, strict=True):
            result[:] = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR))
    return scaled


def _pixels(opened: Image, read: ReadConfig, where: str) -> UInt8[np.ndarray, "c h w"]:
    """Decode one opened file by the rules of the module."""
    from PIL import Image, ImageOps

    if opened.format != "MPO" and getattr(opened, "is_animated", False):
        raise DataError(f"{where}: the {opened.format} file holds more than one frame; store each as a row of its own.")
    deep = _is_deep(opened)
    if not deep and opened.mode not in CHANNELS:
        raise DataError(
            f"{where}: mode {opened.mode} is none of {', '.join(CHANNELS)}; save the images as 8-bit gray or RGB."
        )
    opened.load()
    image: Image.Image = opened
    if opened.getexif().get(ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(opened)
    if deep:
        image = Image.fromarray(_scaled(image, read.white, where))
    elif read.white is not None:
        raise DataError(
            f"{where}: data.read.white={read.white} is for images of 16 bits, and this one (mode {opened.mode}) has 8; "
            "leave data.read.white at null."
        )
    image = _opaque(image, where)
    if read.resize is not None and image.size != (read.resize[1], read.resize[0]):
        image = image.resize((read.resize[1], read.resize[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _is_deep(opened: Any) -> bool:
    """Whether the file has more than 8 bits per channel, which Pillow would cut to 8 for color without a word."""
    if opened.mode.startswith("I;16") or (opened.mode == "I" and opened.format in ("PNG", "PPM")):
        return True
    for tile in opened.tile:
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(isinstance(word, str) and ";16" in word for word in arguments):
            return True
        if tile[0].startswith("ppm") and any(isinstance(word, int) and word > 255 for word in arguments):
            return True
    return False


def _scaled(image: Image, white: int | None, where: str) -> UInt8[np.ndarray, "h w"]:
    """Map 16 bits of gray to 0 to 255, where the file's owner says which value is white."""
    if not image.mode.startswith("I"):
        raise DataError(f"{where}: 16 bits per color channel (mode {image.mode}); save the images with 8 bits.")
    if white is None:
        raise DataError(
            f"{where}: 16 bits of gray (mode {image.mode}), and rows are stored with 8. Say which value becomes 255: "
            "data.read.white=65535 for the full range, 4095 for 12 bits."
        )
    values = np.asarray(image).astype(np.int64)
    hidden = image.info.get("transparency")
    if hidden is not None and (values == hidden).any():
        raise DataError(f"{where}: {_SEEN_THROUGH.format(image.mode)}")
    if values.max() > white:
        raise DataError(f"{where}: value {values.max()} (mode {image.mode}) is above data.read.white={white}.")
    return np.round(values * (255 / white)).astype(np.uint8)


def _opaque(image: Image, where: str) -> Image:
    """Drop an alpha channel or color key that hides nothing, and bring the rest to gray or RGB."""
    if "A" in image.mode or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema()[0] != 255:
            raise DataError(f"{where}: {_SEEN_THROUGH.format(image.mode)}")
        image.info.pop("transparency", None)
    wanted = CHANNELS[image.mode]
    return image if image.mode == wanted else image.convert(wanted)


def _undecodable(error: Exception, where: str) -> DataError:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, (Image.DecompressionBombWarning, Image.DecompressionBombError)):
        found = re.search(r"\d+", str(error))
        pixels = f"{int(found.group()):,}" if found else "too many"
        limit = f"{Image.MAX_IMAGE_PIXELS:,}" if Image.MAX_IMAGE_PIXELS else "fewer"
        return DataError(
            f"{where}: the image has {pixels} pixels, more than {limit}; it was not decoded. Scale it down."
        )
    if isinstance(error, UnidentifiedImageError):
        return DataError(f"{where}: the image cannot be decoded (not a {', '.join(FORMATS)} file).")
    return DataError(f"{where}: the image cannot be decoded ({error}).")


def _unlike(found: tuple[int, ...], first: tuple[int, ...], where: str) -> DataError:
    channels, height, width = found
    if channels != first[0]:
        return DataError(
            f"{where}: the image has {channels} channel{'s' * (channels > 1)} where row 0 has {first[0]}; save all "
            "images as gray or all as RGB."
        )
    return DataError(
        f"{where}: the image is {height}x{width} where row 0 is {first[1]}x{first[2]} (height x width). "
        f"'data.read.resize=[{first[1]},{first[2]}]' scales all images to one size."
    )
