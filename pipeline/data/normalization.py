"""Mean and deviation of each channel or column of the training rows, correctly rounded on every machine."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from jaxtyping import Float, UInt8

Scale = tuple[list[float], list[float]]
"""Means and deviations, one of each for a channel or column."""


def pixel_scale(images: UInt8[np.ndarray, "n c h w"]) -> Scale:
    """Give mean and standard deviation of each channel, of pixels from 0 to 1.

    They come from counts of the 256 values, in whole numbers, so that no order of summation shows in the last bit.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, c, h, w)
        The training rows, before any padding.

    Returns
    -------
    mean, std : list of float
        The deviation divides by the number of pixels; that of a channel of one single value is 1.

    Examples
    --------
    >>> pixel_scale(np.array([0, 255, 0, 255], dtype=np.uint8).reshape(1, 1, 2, 2))
    ([0.5], [0.5])
    """
    means, deviations = [], []
    values = range(256)
    for channel in range(images.shape[1]):
        counts = np.bincount(images[:, channel].reshape(-1), minlength=256).tolist()
        total = sum(counts)
        first = Fraction(sum(count * value for count, value in zip(counts, values, strict=True)), 255 * total)
        second = Fraction(sum(count * value**2 for count, value in zip(counts, values, strict=True)), 255**2 * total)
        means.append(float(first))
        deviations.append(math.sqrt(second - first**2) or 1.0)
    return means, deviations


def column_scale(x: Float[np.ndarray, "n d"]) -> Scale:
    """Give mean and standard deviation of each column of the training rows.

    Sums are rounded once (``math.fsum``), so that no order of summation shows in the last bit.

    Parameters
    ----------
    x : ndarray of float64, shape (n, d)
        The training rows.

    Returns
    -------
    mean, std : list of float
        The deviation divides by n; that of a column of one single value is 1.

    Examples
    --------
    >>> column_scale(np.array([[1.0, 5.0], [3.0, 5.0]]))
    ([2.0, 5.0], [1.0, 1.0])
    """
    means, deviations = [], []
    for column in x.T:
        values = column.tolist()
        exponent = math.frexp(max(map(abs, values)))[1]  # a power of two moves no bit, and squares stay in range
        values = [math.ldexp(value, -exponent) for value in values]
        mean = math.fsum(values) / len(values)
        spread = math.fsum((value - mean) ** 2 for value in values) / len(values)
        constant = min(values) == max(values)
        means.append(math.ldexp(values[0] if constant else mean, exponent))
        deviations.append(1.0 if constant else math.ldexp(math.sqrt(spread), exponent) or 1.0)
    return means, deviations
