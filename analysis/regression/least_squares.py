"""Kernel regression from one factorization: pseudo-inverse with a stated cut-off, rank or ridge chosen by LOO/GCV.

A Gram matrix squares the condition number of its features, so where features exist they are factorized directly: with
Φ = U S Vᵀ every rank r and every penalty λ is a filter on U, and fitted values, leave-one-out residuals and GCV of the
whole path cost one SVD. Everything is float64. Kernel machines of trained networks follow arXiv 2310.18612.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import linalg

from analysis.checks import check_training_kernel
from analysis.regression.path import RegressionPath, SmootherScores, smoother_scores
from kernels.arguments import checked_arguments

EPS = float(np.finfo(np.float64).eps)
Route = Literal["features", "gram"]


@dataclass(frozen=True)
class KernelMachine:
    """A fitted kernel regression f(x) = k(x, X) α = φ(x) w.

    Attributes
    ----------
    route : {"features", "gram"}
        What `predict` expects: features of new points, or their kernel rows against the training points.
    weight : ndarray, shape (p, C) for features, (n, C) for a Gram
    offset : ndarray, shape (C,)
        Mean of the targets where they were centered, else 0.
    fitted : ndarray, shape (n, C)
        Predictions at the training points.
    rank : int
        Directions used.
    cutoff : float
        Relative cut-off, on singular values (features) or eigenvalues (Gram).
    penalty : float
        λ of (K + λI)⁻¹.
    """

    route: Route
    weight: Float[np.ndarray, "q C"]
    offset: Float[np.ndarray, " C"]
    fitted: Float[np.ndarray, "n C"]
    rank: int
    cutoff: float
    penalty: float

    def predict(self, points: Float[np.ndarray, "m q"]) -> Float[np.ndarray, "m C"]:
        """Evaluate at new points.

        Parameters
        ----------
        points : ndarray, shape (m, p) or (m, n)
            Features φ(x*) or kernel rows K(x*, X), as the machine was fitted.
        """
        if points.shape[1] != self.weight.shape[0]:
            wants = "features" if self.route == "features" else "kernel rows against the training points"
            raise ValueError(f"predict takes {wants} of width {self.weight.shape[0]}, got {points.shape[1]}.")
        return points @ self.weight + self.offset


@dataclass(frozen=True)
class Factorization:
    """Orthonormal directions of the training points and their singular values.

    Attributes
    ----------
    left : ndarray, shape (n, r)
        U.
    singular : ndarray, shape (r,)
        s of the features, descending; for a Gram the square roots of its eigenvalues.
    right : ndarray, shape (p, r), or None
        V of the features; None for a Gram.
    repeats : int ndarray, shape (n,)
        Group of each training point; points with equal rows share one.
    """

    left: Float[np.ndarray, "n r"]
    singular: Float[np.ndarray, " r"]
    right: Float[np.ndarray, "p r"] | None
    repeats: np.ndarray

    @property
    def route(self) -> Route:
        """Whether features or a Gram were factorized."""
        return "gram" if self.right is None else "features"

    @property
    def default_cutoff(self) -> float:
        """N·eps on a Gram's eigenvalues, max(N, p)·eps on features' singular values."""
        if self.right is None:
            return self.left.shape[0] * EPS
        return max(self.left.shape[0], self.right.shape[0]) * EPS

    def rank(self, cutoff: float | None = None) -> int:
        """Directions whose singular value (features) or eigenvalue (Gram) exceeds cutoff times the largest."""
        cutoff = self.default_cutoff if cutoff is None else cutoff
        values = self.singular if self.right is not None else self.singular**2
        return int(np.count_nonzero(values > cutoff * values[0])) if values.size and values[0] > 0 else 0

    def solve(
        self,
        targets: Float[np.ndarray, "n C"],
        *,
        penalty: float = 0.0,
        rank: int | None = None,
        cutoff: float | None = None,
        center: bool = False,
    ) -> KernelMachine:
        """Fit K⁺y (λ = 0) or (K + λI)⁻¹y on the directions kept.

        Parameters
        ----------
        targets : ndarray, shape (n, C)
        penalty : float
            λ, in units of the kernel.
        rank : int, optional
            Keep this many leading directions; by default as many as the cut-off leaves.
        cutoff : float, optional
            Relative cut-off; see `default_cutoff`.
        center : bool
            Fit the targets minus their mean.

        Returns
        -------
        KernelMachine

        Raises
        ------
        ValueError
            For a negative penalty, mismatched rows, constant or non-finite targets, or a rank that does not exist.

        Warns
        -----
        UserWarning
            At λ = 0, where equal points carry different targets: with the residual that no fit can beat.
        """
        if penalty < 0:
            raise ValueError(f"the penalty λ must not be negative, got {penalty}.")
        _check_targets(targets, self.left.shape[0])
        available = self.rank(cutoff)
        kept = available if rank is None else rank
        if not 1 <= kept <= available:
            raise ValueError(f"rank {kept} requested, numerical rank is {available}; lower the cut-off to allow it.")
        if penalty == 0.0:
            self._warn_conflicts(targets)
        offset = targets.mean(axis=0) if center else np.zeros(targets.shape[1])
        u, s = self.left[:, :kept], self.singular[:kept]
        along = u.T @ (targets - offset)
        gain = s**2 / (s**2 + penalty)
        if self.right is None:
            weight = u @ (along / (s**2 + penalty)[:, None])
        else:
            weight = self.right[:, :kept] @ (along * (s / (s**2 + penalty))[:, None])
        fitted = u @ (gain[:, None] * along) + offset
        used = self.default_cutoff if cutoff is None else cutoff
        return KernelMachine(self.route, weight, offset, fitted, kept, used, penalty)

    def rank_path(self, targets: Float[np.ndarray, "n C"], ranks: Sequence[int] | None = None) -> RegressionPath:
        """Errors of H = U_r U_rᵀ for each rank (default: every rank up to the numerical one)."""
        _check_targets(targets, self.left.shape[0])
        ranks = list(range(1, self.rank() + 1)) if ranks is None else sorted(set(ranks))
        if not ranks or ranks[0] < 1 or ranks[-1] > self.singular.size:
            raise ValueError(f"ranks must be within 1..{self.singular.size}, got {ranks[:1]}..{ranks[-1:]}.")
        rows: list[SmootherScores] = []
        residual, leverage, low = targets.copy(), np.zeros(self.left.shape[0]), 0
        for high in ranks:
            part = self.left[:, low:high]
            residual = residual - part @ (part.T @ targets)
            leverage += np.square(part).sum(axis=1)
            rows.append(smoother_scores(residual, leverage))
            low = high
        return RegressionPath.from_scores(ranks, rows)

    def penalty_path(self, targets: Float[np.ndarray, "n C"], penalties: Sequence[float]) -> RegressionPath:
        """Errors of H = U diag(s²/(s²+λ)) Uᵀ for each λ > 0, largest (simplest) first."""
        _check_targets(targets, self.left.shape[0])
        grid = sorted(penalties, reverse=True)
        if not grid or grid[-1] <= 0:
            raise ValueError("penalty_path takes positive penalties; λ = 0 is a rank, see rank_path.")
        along, squares = self.left.T @ targets, np.square(self.left)
        rows: list[SmootherScores] = []
        for penalty in grid:
            gain = self.singular**2 / (self.singular**2 + penalty)
            rows.append(smoother_scores(targets - self.left @ (gain[:, None] * along), squares @ gain))
        return RegressionPath.from_scores(grid, rows)

    def _warn_conflicts(self, targets: np.ndarray) -> None:
        groups = self.repeats
        counts = np.bincount(groups)
        if counts.max() == 1:
            return
        means = np.stack([np.bincount(groups, column) for column in targets.T], axis=1) / counts[:, None]
        floor = float(np.sqrt(np.mean((targets - means[groups]) ** 2)))
        if floor > 0:
            warnings.warn(
                f"{int((counts[groups] > 1).sum())} training points share their position with another one but not "
                f"its target: no fit has a root mean square residual below {floor:.3g}.",
                stacklevel=3,
            )


@checked_arguments
def factorize_features(features: Float[np.ndarray, "n p"], *, layer: str = "features") -> Factorization:
    """Singular value decomposition of the features, by QR first where they are tall.

    Parameters
    ----------
    features : ndarray, shape (n, p)
        One row per training point; append a column of ones for a bias.
    layer : str
        Name used in error messages.

    Returns
    -------
    Factorization

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import factorize_features
    >>> x = np.linspace(-1, 1, 20)
    >>> machine = factorize_features(np.vander(x, 8)).solve(np.sin(3 * x)[:, None])  # a polynomial of degree 7
    >>> print(f"{machine.predict(np.vander([0.5], 8))[0, 0]:.3f} for {np.sin(1.5):.3f}")
    0.998 for 0.997
    """
    features = _finite(features, layer)
    n, p = features.shape
    if n > 2 * p:
        q, r = linalg.qr(features, mode="economic")
        u, s, vt = linalg.svd(r)
        return Factorization(q @ u, s, vt.T, _repeats(features))
    u, s, vt = linalg.svd(features, full_matrices=False)
    return Factorization(u, s, vt.T, _repeats(features))


def factorize_blocks(
    read: Callable[[], Iterable[Float[np.ndarray, "b p"]]], *, layer: str = "features"
) -> Factorization:
    """Factorize tall features that are read in blocks: R by tall-skinny QR, then U = Φ V / s in a second pass.

    Parameters
    ----------
    read : callable
        Returns a fresh iterator over row blocks, in the same order each time.
    layer : str
        Name used in error messages.

    Returns
    -------
    Factorization
        Directions below p·eps of the largest are dropped, because U cannot be formed there.

    References
    ----------
    Demmel, Grigori, Hoemmen and Langou, arXiv 0808.2664 (tall-skinny QR).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import factorize_blocks
    >>> rows = np.random.default_rng(0).standard_normal((300, 3))
    >>> found = factorize_blocks(lambda: iter(np.array_split(rows, 5)))  # one block and R are in memory
    >>> found.solve(rows @ [[1.0], [-2.0], [3.0]]).weight.round(6).ravel().tolist()
    [1.0, -2.0, 3.0]
    """
    triangle: np.ndarray | None = None
    start = 0
    for block in read():
        block = _finite(block, layer, start)
        start += block.shape[0]
        triangle = linalg.qr(block if triangle is None else np.vstack([triangle, block]), mode="r")[0]
        triangle = triangle[: triangle.shape[1]]
    if triangle is None:
        raise ValueError(f"{layer}: there are no rows.")
    _, s, vt = linalg.svd(triangle, full_matrices=False)
    kept = s > max(start, vt.shape[1]) * EPS * s[0]
    s, right = s[kept], vt[kept].T
    left = np.concatenate([np.asarray(block, np.float64) @ right / s for block in read()])
    return Factorization(left, s, right, np.arange(start))


@checked_arguments
def factorize_gram(gram: Float[np.ndarray, "n n"], *, psd_tolerance: float = 1e-8) -> Factorization:
    """Eigendecomposition of a training Gram matrix.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Symmetric positive semi-definite.
    psd_tolerance : float
        Largest negative eigenvalue that passes as rounding, relative to the largest eigenvalue.

    Returns
    -------
    Factorization
        Negative rounding eigenvalues are set to zero.

    Raises
    ------
    ValueError
        For a Gram that is not finite, not symmetric or not positive semi-definite (the smallest eigenvalue is
        shown).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.regression import factorize_gram
    >>> x = np.linspace(0, 1, 30)
    >>> y = np.sin(6 * x)[:, None] + 0.1 * np.random.default_rng(0).standard_normal((30, 1))
    >>> found = factorize_gram(np.exp(-8 * np.subtract.outer(x, x) ** 2))
    >>> penalty = found.penalty_path(y, [1e-4, 1e-2, 1.0, 100.0]).best()  # by leave-one-out error
    >>> penalty, float(np.abs(found.solve(y, penalty=penalty).fitted[:, 0] - np.sin(6 * x)).max().round(2))
    (0.01, 0.11)
    """
    gram = _finite(gram, "Gram")
    check_training_kernel(gram, psd_tolerance)
    values, vectors = linalg.eigh(gram)
    return Factorization(vectors[:, ::-1], np.sqrt(np.clip(values[::-1], 0.0, None)), None, _repeats(gram))


def _check_targets(targets: np.ndarray, n: int) -> None:
    if targets.shape[0] != n:
        raise ValueError(f"{n} training points but {targets.shape[0]} targets.")
    broken = np.flatnonzero(~np.isfinite(targets).all(axis=1))
    if broken.size:
        raise ValueError(f"targets are not finite in {broken.size} rows, first {broken[0]}.")
    flat = np.flatnonzero(np.ptp(targets, axis=0) == 0)
    if flat.size:
        raise ValueError(f"target {flat[0]} is constant ({targets[0, flat[0]]:g} in all {n} rows): nothing to fit.")


def _finite(values: np.ndarray, layer: str, start: int = 0) -> np.ndarray:
    values = np.asarray(values, np.float64)
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if broken.size:
        raise ValueError(f"{layer}: {broken.size} rows hold NaN or infinity, first row {start + broken[0]}.")
    return values


def _repeats(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1]).reshape(-1)
