r"""Patch Gram of a convolution from a shifted pixel Gram.

Two patches at output positions t and s share the sum :math:`a_t \cdot a_s = \sum_u \langle x_{rt+du-p}, x'_{rs+du-p}
\rangle` over kernel offsets u, with stride r, dilation d and p zeros before the image: the pixel Gram is formed once
and its diagonals are added, instead of multiplying unfolded patches that repeat every pixel |u| times. The zeros around
the image never enter. Only pixels of equal residue modulo the stride are ever multiplied, so a stride splits the Gram
into prod(r) small ones. The sum over offsets is separable and runs one axis at a time.
"""

from __future__ import annotations

from itertools import product as combinations

from jaxtyping import Float
from torch import Tensor

from kernels.gradients.windows import Windows
from kernels.machine.precision import product


def patch_gram(left: Tensor, right: Tensor, windows: Windows) -> Float[Tensor, "tn sm"]:
    """Inner products of all patches of two sets of images.

    Positions come before samples on both sides: every step then runs over neighboring samples in memory, where an
    image's few pixels would make short runs.

    Parameters
    ----------
    left, right : Tensor, shapes (*extent, n, C), (*extent, m, C)
        Images, without the zeros around them; one channel group.
    windows : Windows
        Which pixels each output position reads.

    Returns
    -------
    Tensor, shape (T * n, T * m)
        Positions in row-major order, the samples of each in their order.
    """
    total: Tensor | None = None
    axes = len(windows.space)
    for residue in combinations(*(range(r) for r in windows.stride)):
        # Pixel r t + d u - p is number t + q of its residue: q is the shift of offset u.
        starts = [
            [(d * u - p) // r for u in range(k) if (d * u - p) % r == rho]
            for k, r, d, p, rho in zip(
                windows.kernel, windows.stride, windows.dilation, windows.before, residue, strict=True
            )
        ]
        if not all(starts):
            continue
        same = tuple(slice(rho, None, r) for rho, r in zip(residue, windows.stride, strict=True))
        part = _pixel_gram(left[same], right[same])
        for axis, (shifts, extent) in enumerate(zip(starts, windows.space, strict=True)):
            part = _add_diagonals(part, axis, 1 + axes + axis, shifts, extent)
        total = part if total is None else total.add_(part)
    assert total is not None
    return total.view(windows.positions * left.shape[axes], windows.positions * right.shape[axes])


def _pixel_gram(left: Tensor, right: Tensor) -> Tensor:
    """(*extent, n, *extent, m) inner products of pixels over channels."""
    gram = product(left.flatten(0, -2), right.flatten(0, -2))
    return gram.view(*left.shape[:-1], *right.shape[:-1])


def _add_diagonals(gram: Tensor, first: int, second: int, shifts: list[int], extent: int) -> Tensor:
    """Sum over shifts of the Gram moved by each along both axes; pixels outside the image are zero."""
    pixels = gram.shape[first]
    if shifts == [0] and extent == pixels:
        return gram
    shape = list(gram.shape)
    shape[first] = shape[second] = extent
    whole = 0 in shifts and extent == pixels  # then the sum starts as a copy, not as zeros
    total = gram.clone() if whole else gram.new_zeros(shape)
    for shift in shifts:
        start, stop = max(0, -shift), min(extent, pixels - shift)
        if start < stop and not (whole and shift == 0):
            length = stop - start
            moved = gram.narrow(first, start + shift, length).narrow(second, start + shift, length)
            total.narrow(first, start, length).narrow(second, start, length).add_(moved)
    return total
