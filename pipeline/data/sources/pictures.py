"""Image files to uint8 arrays: one table of modes, and a refusal of whatever it does not hold.

What an image file says is kept or refused, never clipped or guessed. The rules:

==============================  ==========================================================================
gray, color (L, RGB)            as they are; gray among color becomes three equal channels
two levels (1)                  one gray channel of 0 and 255
palette (P)                     the colors that it points at
alpha (LA, RGBA, PA, color key) dropped where every pixel is opaque, else laid over ``data.read.background``, else
                                refused
16 bits of gray                 scaled by ``data.read.white``, else refused
16 bits of color, float, int32  refused
CMYK, YCbCr, LAB, HSV           by plain formulas to RGB with ``data.read.to_rgb``, else refused
a color profile (ICC)           converted to sRGB with ``data.read.profiles=srgb`` (also CMYK), else not looked at
more than one frame             refused; of a phone's MPO file the main picture is taken
EXIF orientation                applied
other sizes than the first's    scaled to ``data.read.resize``, else refused
==============================  ==========================================================================
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from pipeline.config.data import ReadConfig
from pipeline.data.color_profiles import to_srgb
from pipeline.data.errors import DataError
from pipeline.data.sources.sizes import refuse_too_large

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM")
"""What is opened; Pillow's other formats include some that start programs, such as PostScript."""
CHANNELS = {"L": "L", "1": "L", "LA": "L", "RGB": "RGB", "P": "RGB", "RGBA": "RGB", "PA": "RGB"}
"""Mode of a file to the mode that is stored."""
BY_FORMULA = ("CMYK", "YCbCr", "LAB", "HSV")
"""Modes of color that are not RGB: without the color profile of a printer or camera, what they show is a guess."""
_SMALLER = "scale them, such as by 'data.read.resize=[64,64]'"
ORIENTATION = 0x0112
"""EXIF tag."""
_SEEN_THROUGH = (
    "some pixels are transparent (mode {}), and the file does not say what is behind them; data.read.background=255 "
    "lays such images over white, 0 over black."
)


def decode_images(
    encoded: Sequence[bytes | Path], name: str = "image column", read: ReadConfig | None = None
) -> UInt8[np.ndarray, "n c h w"]:
    """Decode image files of one common size; gray images keep one channel where no image has color.

    Parameters
    ----------
    encoded : sequence of bytes or Path
        One image file per row, as its bytes or where it lies.
    name : str
        Where bytes come from, for messages; files are named by their paths.
    read : ReadConfig, optional
        Size that all images are scaled to, what counts as white in 16 bits, what is behind transparent pixels.

    Returns
    -------
    ndarray of uint8, shape (n, c, h, w)
        Pixels from 0 to 255.

    Raises
    ------
    DataError
        With row (or path) and mode of the first image that cannot be decoded, does not fit the rules of this module,
        or has another size. Sizes are read from headers, before any pixel is decoded.
    """
    from PIL import Image

    read = read or ReadConfig()
    images: UInt8[np.ndarray, "n c h w"] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for row, content in enumerate(encoded):
            where = f"{name}, row {row}" if isinstance(content, bytes) else str(content)
            stream = io.BytesIO(content if isinstance(content, bytes) else _file(content))
            try:
                with Image.open(stream, formats=FORMATS) as opened:
                    pixels = _pixels(opened, read, where)
            except DataError:
                raise
            except Exception as error:  # decoders raise whatever they meet in damaged bytes
                raise _undecodable(error, where) from error
            if images is None:
                first = "row 0" if isinstance(content, bytes) else str(content)
                alike = f"{name}: {len(encoded)} images like that of {first}"
                refuse_too_large(len(encoded) * pixels.size, alike, way=_SMALLER)
                images = np.empty((len(encoded), *pixels.shape), np.uint8)
            if pixels.shape[1:] != images.shape[2:]:
                raise _unlike(pixels.shape, images.shape[1:], where, first)
            if len(pixels) > images.shape[1]:
                alike = f"{name}: {len(encoded)} images with color"
                refuse_too_large(len(encoded) * pixels.size, alike, way=_SMALLER)
                images = np.repeat(images, len(pixels), axis=1)
            images[row] = pixels  # one gray channel fills all three
    if images is None:
        raise DataError(f"{name} has no rows.")
    return images


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the image file cannot be read ({error.strerror}).") from error


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
        if images.dtype.kind == "f":
            way = "; of values from 0 to 1 such pixels are numpy.round(255 * values).astype('uint8')"
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
    profile = opened.info.get("icc_profile") if read.profiles == "srgb" else None
    by_formula = opened.mode in BY_FORMULA
    by_profile = opened.mode == "CMYK" and profile
    if not deep and opened.mode not in CHANNELS and not (by_formula and read.to_rgb) and not by_profile:
        way = "data.read.to_rgb=true turns it into RGB without a color profile, or " * by_formula
        raise DataError(
            f"{where}: mode {opened.mode} is none of {', '.join(CHANNELS)}; {way}save the images as 8-bit gray or RGB."
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
    if profile and image.mode != "LAB":  # whose values mean the same everywhere
        image = to_srgb(image, profile, where)
    image = _opaque(image, read.background, where)
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
        raise DataError(
            f"{where}: some pixels are transparent (mode {image.mode}); save images of 16 bits without transparency."
        )
    if values.max() > white:
        raise DataError(f"{where}: value {values.max()} (mode {image.mode}) is above data.read.white={white}.")
    return np.round(values * (255 / white)).astype(np.uint8)


def _opaque(image: Image, background: int | None, where: str) -> Image:
    """Drop an alpha channel or color key that hides nothing, and bring the rest to gray or RGB."""
    from PIL import Image

    if image.mode not in BY_FORMULA and ("A" in image.mode or "transparency" in image.info):
        shown = image.convert("RGBA")
        if shown.getchannel("A").getextrema()[0] != 255:
            if background is None:
                raise DataError(f"{where}: {_SEEN_THROUGH.format(image.mode)}")
            behind = Image.new("RGBA", image.size, (background, background, background, 255))
            shown = Image.alpha_composite(behind, shown)
            return shown.convert("RGB").getchannel(0) if CHANNELS[image.mode] == "L" else shown.convert("RGB")
        image.info.pop("transparency", None)
    wanted = CHANNELS.get(image.mode, "RGB")
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


def _unlike(found: tuple[int, ...], first: tuple[int, ...], where: str, other: str) -> DataError:
    (_, height, width), (_, rows, columns) = found, first
    return DataError(
        f"{where}: the image is {height}x{width} where {other} is {rows}x{columns} (height x width). "
        f"'data.read.resize=[{rows},{columns}]' scales all images to one size."
    )


def same_channels(parts: Sequence[UInt8[np.ndarray, "_ _ _ _"]]) -> list[UInt8[np.ndarray, "_ _ _ _"]]:
    """Give gray images three equal channels where others have color."""
    most = max(part.shape[1] for part in parts)
    return [np.repeat(part, most, axis=1) if part.shape[1] == 1 < most else part for part in parts]
