"""Numbers that describe a Gram matrix: spectrum, effective rank, alignment with labels, motion between checkpoints.

Sums run in float64 over blocks of rows, so a float32 kernel of 50 000 points needs no second copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.arguments import checked_arguments
from kernels.contraction.array_like import takes_results

_ROWS = 2048


@takes_results
@checked_arguments
def kernel_spectrum(kernel: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """Eigenvalues in float64, largest first.

    Parameters
    ----------
    kernel
        Symmetric Gram matrix; the lower triangle is read.

    Raises
    ------
    ValueError
        If an entry is not finite or the matrix is not symmetric to 1e-5 of its largest entry.

    Examples
    --------
    >>> import torch
    >>> from kernels import kernel_spectrum
    >>> kernel_spectrum(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    tensor([3., 1.], dtype=torch.float64)
    """
    require_symmetric(kernel)
    return torch.linalg.eigvalsh(kernel.double()).flip(0)


def require_symmetric(kernel: Float[Tensor, "n n"]) -> None:
    """Refuse a kernel that has no spectrum, block by block, so that no second copy of it is made.

    Raises
    ------
    ValueError
        If an entry is not finite or the matrix is not symmetric to 1e-5 of its largest entry.
    """
    scale, deviation = 0.0, 0.0
    for i in range(0, len(kernel), _ROWS):
        rows = kernel[i : i + _ROWS]
        scale = max(scale, float(rows.abs().max()))
        if not bool(rows.isfinite().all()):
            raise ValueError(
                "the kernel has entries that are not finite; find them with torch.isfinite before taking a spectrum"
            )
        for j in range(0, i + 1, _ROWS):
            mirrored = kernel[j : j + _ROWS, i : i + _ROWS].T
            deviation = max(deviation, float((rows[:, j : j + _ROWS] - mirrored).abs().max()))
    if deviation > 1e-5 * scale:
        raise ValueError("the kernel is not symmetric: a spectrum needs the square train x train kernel")


@takes_results
@checked_arguments
def effective_rank(eigenvalues: Float[Tensor, " n"], measure: str = "entropy") -> float:
    """How many directions carry the spectrum.

    Parameters
    ----------
    eigenvalues
        Of a positive semi-definite kernel, in any order; rounding below zero counts as zero.
    measure : {"entropy", "participation", "stable"}
        `entropy`: exp of the entropy of λ/Σλ (Roy and Vetterli, EUSIPCO 2007). `participation`: (Σλ)²/Σλ².
        `stable`: Σλ/max λ.

    Raises
    ------
    ValueError
        If no eigenvalue is positive.

    Examples
    --------
    >>> import torch
    >>> from kernels import effective_rank
    >>> round(effective_rank(torch.tensor([3.0, 1.0])), 3), effective_rank(torch.tensor([3.0, 1.0]), "participation")
    (1.755, 1.6)
    """
    if measure not in ("entropy", "participation", "stable"):
        raise ValueError(f"unknown measure {measure!r}: use one of entropy, participation, stable")
    weights = eigenvalues.double().clamp(min=0)
    if not float(weights.sum()) > 0:
        raise ValueError("effective rank needs a positive eigenvalue; is this the spectrum of a zero kernel?")
    weights = weights / weights.sum()
    if measure == "entropy":
        return float(torch.special.entr(weights).sum().exp())
    if measure == "participation":
        return float(1 / (weights**2).sum())
    return float(1 / weights.max())


@dataclass(frozen=True)
class _Products:
    """Inner products of two Gram matrices, plain or between centered matrices HKH."""

    cross: float
    left: float
    right: float

    @property
    def cosine(self) -> float:
        if not self.left > 0 or not self.right > 0:
            raise ValueError("alignment is undefined for a kernel that is zero (after centering, constant)")
        return self.cross / sqrt(self.left * self.right)


def _products(left: Tensor, right: Tensor, centered: bool) -> _Products:
    if left.shape != right.shape or left.shape[0] != left.shape[1]:
        raise ValueError(
            f"two square kernels over the same points are needed, got {tuple(left.shape)} and {tuple(right.shape)}"
        )
    n = left.shape[0]
    means = [torch.cat([k[i : i + _ROWS].double().mean(1) for i in range(0, n, _ROWS)]) for k in (left, right)]
    sums = [0.0, 0.0, 0.0]
    for i in range(0, n, _ROWS):
        blocks = []
        for k, mean in zip((left, right), means, strict=True):
            block = k[i : i + _ROWS].double()
            blocks.append(block - mean[i : i + _ROWS, None] - mean + mean.mean() if centered else block)
        for at, (a, b) in enumerate(((0, 1), (0, 0), (1, 1))):
            sums[at] += float((blocks[a] * blocks[b]).sum())
    return _Products(*sums)


@takes_results
@checked_arguments
def kernel_alignment(left: Float[Tensor, "n n"], right: Float[Tensor, "n n"], *, centered: bool = True) -> float:
    """Cosine between two Gram matrices, ⟨K, L⟩_F / (‖K‖_F ‖L‖_F).

    Parameters
    ----------
    left, right
        Symmetric kernels over the same points in the same order.
    centered
        Center both features first, HKH with H = I - 11ᵀ/n (Cortes, Mohri and Rostamizadeh, JMLR 2012). This is linear
        CKA (arXiv 1905.00414); without it, the alignment of Cristianini et al. (NeurIPS 2001).

    Examples
    --------
    >>> import torch
    >>> from kernels import kernel_alignment
    >>> kernel = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    >>> round(kernel_alignment(kernel, torch.eye(2), centered=False), 4)
    0.8944
    """
    return _products(left, right, centered).cosine


@takes_results
@checked_arguments
def target_alignment(
    kernel: Float[Tensor, "n n"], labels: Int[Tensor, " n"] | Float[Tensor, "n c"], *, centered: bool = True
) -> float:
    """Alignment of a kernel with the labels' kernel YYᵀ.

    Parameters
    ----------
    kernel
        Symmetric kernel.
    labels
        Class indices, taken one-hot, or target vectors such as ±1 in one column.
    centered
        As in `kernel_alignment`.

    Examples
    --------
    >>> import torch
    >>> from kernels import target_alignment
    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> same_class = (labels[:, None] == labels).double()
    >>> round(target_alignment(same_class, labels), 4), round(target_alignment(torch.eye(4), labels), 4)
    (1.0, 0.5774)
    """
    targets = labels
    if labels.ndim == 1:
        targets = torch.nn.functional.one_hot(labels.long())
    targets = targets.to(kernel.device, torch.float64)
    if centered:
        targets = targets - targets.mean(0)
    own = _products(kernel, kernel, centered).left
    cross = sum(
        float((kernel[i : i + _ROWS].double() @ targets * targets[i : i + _ROWS]).sum())
        for i in range(0, kernel.shape[0], _ROWS)
    )
    return _Products(cross, own, float(((targets.T @ targets) ** 2).sum())).cosine


@takes_results
@checked_arguments
def unbiased_cka(left: Float[Tensor, "n n"], right: Float[Tensor, "n n"]) -> float:
    """CKA from the unbiased estimate of HSIC: near 0 for unrelated kernels at any n, unlike the plain one.

    Song et al. (JMLR 2012), equation 5, as used for CKA in arXiv 2010.15327.

    Parameters
    ----------
    left, right
        Symmetric kernels over the same points, at least 4.

    Examples
    --------
    >>> import torch
    >>> from kernels import unbiased_cka
    >>> points = torch.tensor([[0.0], [1.0], [2.0], [3.0], [5.0]])
    >>> kernel = points @ points.T
    >>> round(unbiased_cka(kernel, 3 * kernel), 4)
    1.0
    """
    n = left.shape[0]
    if n < 4:
        raise ValueError(f"unbiased CKA needs at least 4 points, got {n}")
    if left.shape != right.shape or left.shape != (n, n):
        raise ValueError(f"two square kernels of one size are needed, got {tuple(left.shape)} and {tuple(right.shape)}")
    off = [k.double() - torch.diag(k.diagonal().double()) for k in (left, right)]
    rows = [k.sum(1) for k in off]

    def hsic(a: int, b: int) -> Tensor:
        squares = rows[a].sum() * rows[b].sum() / ((n - 1) * (n - 2))
        return (off[a] * off[b]).sum() + squares - 2 / (n - 2) * (rows[a] @ rows[b])

    return float(hsic(0, 1) / (hsic(0, 0) * hsic(1, 1)).sqrt())


@takes_results
@checked_arguments
def kernel_velocity(before: Float[Tensor, "n n"], after: Float[Tensor, "n n"], interval: float = 1.0) -> float:
    """Speed at which a kernel turns: (1 - ⟨K, K'⟩/(‖K‖‖K'‖)) / interval (arXiv 2010.15110, section 4).

    Parameters
    ----------
    before, after
        Kernels of two checkpoints over the same points.
    interval
        Time between them, in steps, epochs or any other unit of the velocity.

    Examples
    --------
    >>> import torch
    >>> from kernels import kernel_velocity
    >>> kernel = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    >>> round(kernel_velocity(kernel, torch.eye(2), interval=2.0), 4)
    0.0528
    """
    if not interval > 0:
        raise ValueError(f"the interval between two checkpoints must be positive, got {interval}")
    return (1.0 - _products(before, after, centered=False).cosine) / interval


@takes_results
@checked_arguments
def relative_change(before: Float[Tensor, "n n"], after: Float[Tensor, "n n"]) -> float:
    """Distance moved, ‖K' - K‖_F / ‖K‖_F.

    Parameters
    ----------
    before, after
        Kernels of two checkpoints over the same points.

    Examples
    --------
    >>> import torch
    >>> from kernels import relative_change
    >>> relative_change(torch.eye(3), 1.5 * torch.eye(3))
    0.5
    """
    moved = before.new_zeros((), dtype=torch.float64)
    start = before.new_zeros((), dtype=torch.float64)
    for i in range(0, before.shape[0], _ROWS):
        block = before[i : i + _ROWS].double()
        moved += ((after[i : i + _ROWS].double() - block) ** 2).sum()
        start += (block**2).sum()
    if not float(start) > 0:
        raise ValueError("the first kernel is zero, so a relative change from it is undefined")
    return float((moved / start).sqrt())
