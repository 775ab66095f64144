"""Six surface measures of an image, its pixels as columns, and planted brightness: controls for a shift of images.

These measures know nothing of what an image shows. Lossy storage leaves traces in them: JPEG takes fine detail away and
leaves steps at the borders of its blocks of 8 x 8 pixels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from analysis.shift.cues import rotated

IMAGE_CUES = ("brightness", "contrast", "saturation", "edges", "detail", "block_borders")
BLOCK = 8
"""Side of the blocks into which JPEG cuts an image, in pixels."""
BRIGHTER = 16
"""Gray levels that the planted control adds."""


def image_cue_features(images: UInt8[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n 6"]:
    """Measure brightness, contrast, saturation, edges, fine detail and steps at block borders, in gray levels.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, c, h, w)
        As stored, before any normalization; 9 pixels at least on each side for a block border.

    Returns
    -------
    ndarray, shape (n, 6)
        Columns in the order of `IMAGE_CUES`: mean and standard deviation of the gray image; mean range over channels;
        mean size of the step to the next pixel; mean size of the second difference; mean step across borders of 8 x 8
        blocks minus mean step elsewhere (0 without a border).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift.image_cues import image_cue_features
    >>> halves = np.repeat(np.array([0, 100], np.uint8), 8) * np.ones((1, 3, 16, 16), np.uint8)  # one step at a border
    >>> image_cue_features(halves)[0].round(1).tolist()
    [50.0, 50.0, 0.0, 3.3, 7.1, 50.0]
    """
    rows = np.empty((len(images), len(IMAGE_CUES)))
    for i, image in enumerate(images):
        values = image.astype(np.float64)
        gray = values.mean(axis=0)
        steps = [np.abs(np.diff(gray, axis=axis)) for axis in (0, 1)]
        second = [np.abs(np.diff(gray, n=2, axis=axis)) for axis in (0, 1) if gray.shape[axis] > 2]
        rows[i] = (
            gray.mean(),
            gray.std(),
            np.ptp(values, axis=0).mean(),
            _mean(steps),
            _mean(second),
            _across_borders(steps),
        )
    return rows


def _mean(parts: list[np.ndarray]) -> float:
    whole = np.concatenate([part.ravel() for part in parts]) if parts else np.zeros(0)
    return float(whole.mean()) if whole.size else 0.0


def _across_borders(steps: list[np.ndarray]) -> float:
    """Mean step across block borders minus that elsewhere, over both directions."""
    at, off = [], []
    for axis, part in enumerate(steps):
        border = np.arange(part.shape[axis]) % BLOCK == BLOCK - 1
        at.append(np.compress(border, part, axis=axis))
        off.append(np.compress(~border, part, axis=axis))
    return _mean(at) - _mean(off) if any(part.size for part in at) else 0.0


def image_cue_rates(images: UInt8[np.ndarray, "n c h w"]) -> dict[str, float]:
    """Mean of every measure over images.

    Raises
    ------
    ValueError
        If there is no image.
    """
    if not len(images):
        raise ValueError("cue rates need at least one image.")
    return dict(zip(IMAGE_CUES, image_cue_features(images).mean(axis=0).tolist(), strict=True))


def pixel_columns(
    a: UInt8[np.ndarray, "n c h w"], b: UInt8[np.ndarray, "m c h w"]
) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "m k"]]:
    """Pixels of both samples from 0 to 1, rotated to at most n + m columns.

    The rotation keeps all inner products: an L2 classifier without column scaling is unchanged.
    """
    pixels = np.concatenate([a, b]).reshape(len(a) + len(b), -1).astype(np.float64) / 255.0
    return rotated(pixels @ pixels.T, len(a))


def plant_brightness(images: UInt8[np.ndarray, "n c h w"]) -> UInt8[np.ndarray, "n c h w"]:
    """Make every image brighter by 16 gray levels, as far as white: a shift that surface measures must see."""
    return np.minimum(images.astype(np.int16) + BRIGHTER, 255).astype(np.uint8)
