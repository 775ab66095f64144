r"""Patch Gram of a convolution from a shifted pixel Gram.

Two patches at output positions t and s share the sum
:math:`a_t \cdot a_s = \sum_u \langle x_{rt+du}, x'_{rs+du} \rangle` over kernel offsets u, stride r and
dilation d: the pixel
Gram is formed once and its diagonals are added, instead of multiplying unfolded patches that repeat every
pixel |u| times.
Only pixels of equal residue modulo the stride ever meet, so a stride splits the Gram into prod(r) small ones. The sum
over offsets is separable and runs one axis at a time.
"""

from __future__ import annotations

from itertools import product as combinations
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.precision import product

if TYPE_CHECKING:
    from kernels.factors import Geometry


def patch_gram(left: Tensor, right: Tensor, geometry: Geometry) -> Float[Tensor, "nt ms"]:
    """Inner products of all patches of two sets of padded images.

    Parameters
    ----------
    left, right : Tensor, shapes (n, C, *extent), (m, C, *extent)
        Padded images; one channel group.
    geometry : Geometry
        Kernel, stride, dilation and number of windows per axis.

    Returns
    -------
    Tensor, shape (n * T, m * T)
        Positions in row-major order within each image.
    """
    total: Tensor | None = None
    for residue in combinations(*(range(r) for r in geometry.stride)):
        shifts = [
            [(d * u - rho) // r for u in range(k) if (d * u) % r == rho]
            for k, r, d, rho in zip(geometry.kernel, geometry.stride, geometry.dilation, residue, strict=True)
        ]
        if not all(shifts):
            continue
        window = (
            slice(None),
            slice(None),
            *(slice(rho, None, r) for rho, r in zip(residue, geometry.stride, strict=True)),
        )
        part = _pixel_gram(left[window], right[window])
        axes = len(geometry.space)
        for axis, (offsets, extent) in enumerate(zip(shifts, geometry.space, strict=True)):
            part = _add_diagonals(part, 1 + axis, 2 + axes + axis, offsets, extent)
        total = part if total is None else total.add_(part)
    assert total is not None
    positions = torch.Size(geometry.space).numel()
    return total.reshape(left.shape[0] * positions, right.shape[0] * positions)


def _pixel_gram(left: Tensor, right: Tensor) -> Tensor:
    """(n, *extent, m, *extent) inner products of pixels over channels."""
    ours, theirs = left.flatten(2).transpose(1, 2), right.flatten(2).transpose(1, 2)
    gram = product(ours.reshape(-1, left.shape[1]), theirs.reshape(-1, right.shape[1]))
    return gram.view(left.shape[0], *left.shape[2:], right.shape[0], *right.shape[2:])


def _add_diagonals(gram: Tensor, first: int, second: int, offsets: list[int], extent: int) -> Tensor:
    """Sum over offsets of the windows that start there on both axes."""
    windows = [gram.narrow(first, u, extent).narrow(second, u, extent) for u in offsets]
    if len(windows) == 1:
        return windows[0]
    total = windows[0] + windows[1]
    for window in windows[2:]:
        total += window
    return total
