"""Refuse kernels, labels and ids that would silently give wrong numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.linalg import eigvalsh

_PROBE = 1024
_HINT = "Half precision or TF32 in the kernel's computation is the usual cause: recompute it in float32 or float64."


def check_symmetric(kernel: Float[np.ndarray, "n n"], *, block: int = 2048) -> None:
    """Raise ValueError, naming the worst entry, unless |K - Kᵀ| stays within rounding of the largest entry."""
    tolerance = 1e-4 if kernel.dtype == np.float32 else 1e-8
    n = kernel.shape[0]
    for start in range(0, n, block):
        upper = kernel[start : start + block, start:]
        lower = kernel[start:, start : start + block].T
        difference = np.abs(upper - lower)
        worst = int(difference.argmax())
        i, j = np.unravel_index(worst, difference.shape)
        if difference[i, j] > tolerance * max(float(np.abs(upper).max()), np.finfo(kernel.dtype).tiny):
            raise ValueError(
                f"The training kernel is not symmetric: K[{start + i}, {start + j}] = {upper[i, j]:.8g} but "
                f"K[{start + j}, {start + i}] = {lower[i, j]:.8g}. Pass the train x train block. {_HINT}"
            )


def check_positive(kernel: Float[np.ndarray, "n n"], tolerance: float, *, seed: int = 0) -> None:
    """Raise ValueError if K has an eigenvalue below -tolerance times the largest.

    Up to 1,024 points the check is exact; above, it looks at a random principal sub-matrix of that size,
    whose smallest eigenvalue bounds the whole kernel's from above: a refusal is always right, a pass is not
    a proof.
    """
    n = kernel.shape[0]
    chosen = np.arange(n) if n <= _PROBE else np.sort(np.random.default_rng(seed).choice(n, _PROBE, False))
    part = kernel if n <= _PROBE else np.stack([kernel[i][chosen] for i in chosen])
    spectrum = eigvalsh(np.asarray(part, np.float64))
    if spectrum[0] < -tolerance * max(spectrum[-1], np.finfo(np.float64).tiny):
        raise ValueError(
            f"The training kernel is not positive semi-definite: λ_min = {spectrum[0]:.4g} against "
            f"λ_max = {spectrum[-1]:.4g} on {len(chosen)} of {n} points (tolerance {tolerance:g}). {_HINT}"
        )


def check_training_kernel(kernel: Float[np.ndarray, "n n"], psd_tolerance: float | None) -> None:
    """Refuse an asymmetric or indefinite training kernel (`psd_tolerance=None` skips the second check)."""
    check_symmetric(kernel)
    if psd_tolerance is not None:
        check_positive(kernel, psd_tolerance)


def check_finite(**arrays: Shaped[np.ndarray, "..."]) -> None:
    """Raise ValueError, with the array's name, the count and the first place, where a value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.checks import check_finite
    >>> check_finite(scores=np.array([[0.5, np.nan]]))
    Traceback (most recent call last):
        ...
    ValueError: scores has 1 of 2 values that are NaN or infinite, the first at [0, 1].
    """
    for name, values in arrays.items():
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(values.sum(dtype=np.float64)):  # one pass without a mask of the same shape
                continue
        bad = ~np.isfinite(values)
        if bad.any():
            first = ", ".join(str(int(place)) for place in np.argwhere(bad)[0])
            raise ValueError(
                f"{name} has {int(bad.sum())} of {values.size} values that are NaN or infinite, the first at [{first}]."
            )


def class_labels(labels: Any, n_classes: int | None = None) -> Int[np.ndarray, " n"]:
    """Normalize labels to integers 0..C-1.

    Parameters
    ----------
    labels : array_like, shape (n,) or one-hot (n, C)
        Integers, integral floats or booleans; one-hot rows give their column.
    n_classes : int or None
        C where known.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    ValueError
        For fractional, negative or out-of-range labels and rows that are not one-hot, with counts.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.checks import class_labels
    >>> class_labels(np.array([[0, 1], [1, 0], [0, 1]]))
    array([1, 0, 1])
    """
    values = np.asarray(labels)
    if values.dtype == bool:
        values = values.astype(np.int64)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"Labels must be numbers 0..C-1 or one-hot rows, got dtype {values.dtype}.")
    if values.ndim == 2 and values.shape[1] > 1:
        good = ((values == 0) | (values == 1)).all(1) & (values.sum(1) == 1)
        if not good.all():
            raise ValueError(
                f"{int((~good).sum())} of {len(values)} label rows are not one-hot (first: row "
                f"{int(np.flatnonzero(~good)[0])}). Pass class indices or probabilities under their own name."
            )
        if n_classes is not None and values.shape[1] != n_classes:
            raise ValueError(f"One-hot labels have {values.shape[1]} columns for {n_classes} classes.")
        return values.argmax(1).astype(np.int64)
    values = values.reshape(-1) if values.ndim == 2 else values
    if values.ndim != 1:
        raise ValueError(f"Labels must have shape (n,) or one-hot (n, C), got {values.shape}.")
    if not np.isfinite(values.astype(np.float64)).all() or (values != np.floor(values)).any():
        raise ValueError("Labels must be whole numbers; fractional or non-finite values were found.")
    outside = (values < 0) | (values >= (np.inf if n_classes is None else n_classes))
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of {len(values)} labels are outside 0..{'C' if n_classes is None else n_classes}"
            f"-1 (first: {values[outside][0]:g} at {int(np.flatnonzero(outside)[0])})."
        )
    return values.astype(np.int64)


def check_every_class(labels: Int[np.ndarray, " n"], n_classes: int, where: str) -> None:
    """Raise ValueError, showing the counts, when a class is absent from `where`."""
    counts = np.bincount(labels, minlength=n_classes)
    if (counts == 0).any():
        raise ValueError(
            f"Classes {np.flatnonzero(counts == 0).tolist()} are missing from {where} (counts {counts.tolist()}). "
            "Use points of every class or restrict the study to the classes that are present."
        )


def shared_points(
    train_ids: Sequence[str] | Shaped[np.ndarray, " n"], test_ids: Sequence[str] | Shaped[np.ndarray, " m"]
) -> tuple[Int[np.ndarray, " k"], int]:
    """Return the positions of the test points that are also in the training set, and the training duplicates.

    Ids are content hashes or dataset indices. Callers report the counts and may drop the positions.
    """
    train, test = np.asarray(train_ids), np.asarray(test_ids)
    return np.flatnonzero(np.isin(test, train)), int(train.size - np.unique(train).size)
