"""Random crop and flip, one image and one pixel at a time."""

import numpy as np


def crop_and_flip_slow(images, pad, tops, lefts, mirrored):
    """``out[i, c, y, x]`` is the padded image at (top + y, left + x), columns reversed where mirrored."""
    n, channels, height, width = images.shape
    out = np.zeros_like(images)
    for i in range(n):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    source_x = width - 1 - x if mirrored[i] else x
                    row = tops[i] + y - pad
                    column = lefts[i] + source_x - pad
                    if 0 <= row < height and 0 <= column < width:
                        out[i, c, y, x] = images[i, c, row, column]
    return out
