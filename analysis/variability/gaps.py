"""From logits to the one number per example whose distribution is compared between runs.

Two classes: the gap m = f_1 - f_0 with sigmoid(m) = P(class 1) and decision m > 0. More classes: margins and
one-vs-rest gaps. Strictly increasing maps change no trimming level, so probability and gap agree, and so do loss and
signed gap; label signing is no map of the gap and changes levels.
"""

from __future__ import annotations

import logging
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.special import expit, logsumexp

from kernels.arguments import checked_arguments

log = logging.getLogger(__name__)

Quantity = Literal["gap", "signed_gap", "prob", "loss", "margin", "top_two", "one_vs_rest"]
NEEDS_LABELS = ("signed_gap", "loss", "margin")


def binary_gap(logits: Num[np.ndarray, "... n k"]) -> Float[np.ndarray, "... n"]:
    """Class-1 minus class-0 logit in float64; a single output column is taken as the gap itself.

    Raises
    ------
    ValueError
        For more than two classes (with the variants to use), or for probabilities in place of logits.
    """
    classes = logits.shape[-1]
    if classes == 1:
        log.info("logits have one column: taken as the gap of class 1 against class 0")
        return logits[..., 0].astype(np.float64)
    if classes > 2:
        raise ValueError(
            f"quantity 'gap' needs 2 classes, the logits have {classes}: choose margin, top_two or one_vs_rest"
        )
    _refuse_probabilities(logits)
    return logits[..., 1].astype(np.float64) - logits[..., 0].astype(np.float64)


def _refuse_probabilities(logits: Num[np.ndarray, "... n k"]) -> None:
    if logits.min() >= 0 and np.allclose(logits.sum(axis=-1, dtype=np.float64), 1.0, atol=1e-4):
        raise ValueError("every row is non-negative and sums to 1: these are probabilities, logits are needed")


def _check_labels(labels: Int[np.ndarray, " _"] | None, examples: int, classes: int) -> Int[np.ndarray, " _"]:
    if labels is None:
        raise ValueError("this quantity needs the labels of the examples")
    if labels.shape != (examples,):
        raise ValueError(f"{labels.shape} labels for {examples} examples")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must be in 0..{classes - 1}, got {labels.min()}..{labels.max()}")
    return labels


def signed_gap(gap: Float[np.ndarray, "... n"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "... n"]:
    """Gap in favor of the true class, (2y - 1) m: positive where the decision is right."""
    return gap * (2 * _check_labels(labels, gap.shape[-1], 2) - 1)


def gap_loss(gap: Float[np.ndarray, "... n"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "... n"]:
    """Cross-entropy softplus(-(2y - 1) m) in nats."""
    return np.logaddexp(0, -signed_gap(gap, labels))


def margin(logits: Num[np.ndarray, "... n k"], labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "... n"]:
    """True-class logit minus the largest other one, f_y - max_{j != y} f_j."""
    known = _check_labels(labels, logits.shape[-2], logits.shape[-1])
    values = logits.astype(np.float64)
    index = np.broadcast_to(known[:, None], (*values.shape[:-1], 1))
    own = np.take_along_axis(values, index, axis=-1)
    np.put_along_axis(values, index, -np.inf, axis=-1)
    return own[..., 0] - values.max(axis=-1)


def top_two_gap(logits: Num[np.ndarray, "... n k"]) -> Float[np.ndarray, "... n"]:
    """Largest minus second largest logit: confidence of the decision, free of labels."""
    top = np.partition(logits.astype(np.float64), -2, axis=-1)
    return top[..., -1] - top[..., -2]


def one_vs_rest_gap(logits: Num[np.ndarray, "... n k"], target: int) -> Float[np.ndarray, "... n"]:
    """Log-odds of one class, f_k - logsumexp_{j != k} f_j; with two classes plus or minus the gap.

    Test K classes at eps/K each and report the largest level.
    """
    classes = logits.shape[-1]
    if not 0 <= target < classes:
        raise ValueError(f"class {target} is outside 0..{classes - 1}")
    values = logits.astype(np.float64)
    return values[..., target] - logsumexp(np.delete(values, target, axis=-1), axis=-1)


def check_quantity(quantity: str) -> None:
    """Refuse what is no quantity."""
    if quantity not in get_args(Quantity):
        raise ValueError(f"quantity={quantity!r} is none of {', '.join(get_args(Quantity))}.")


@checked_arguments
def compared_quantity(
    logits: Num[np.ndarray, "... n k"],
    labels: Int[np.ndarray, " _"] | None = None,
    *,
    quantity: str = "gap",
    target: int = 1,
) -> Float[np.ndarray, "... n"]:
    """Turn logits into the quantity whose distribution is compared.

    Parameters
    ----------
    logits : array, shape (..., n, k)
        Logits of any number of runs; k = 1 is taken as the gap.
    labels : array of int, shape (n,), optional
        Needed by ``signed_gap``, ``loss`` and ``margin``.
    quantity : str
        ``gap``, ``signed_gap``, ``prob``, ``loss`` for two classes; ``margin``, ``top_two``, ``one_vs_rest`` for any.
        ``prob`` saturates in float64 beyond gaps of 36, where ties make its levels differ from those of the gap.
    target : int
        Class of ``one_vs_rest``.

    Raises
    ------
    ValueError
        For a quantity that is none of these, and for labels or logits that do not fit it.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import compared_quantity
    >>> logits = np.array([[[0.0, 2.0], [1.0, -1.0]]])  # one run, two examples, two classes
    >>> compared_quantity(logits)
    array([[ 2., -2.]])
    >>> compared_quantity(logits, quantity="prob").round(3)
    array([[0.881, 0.119]])
    """
    check_quantity(quantity)
    if quantity in NEEDS_LABELS and labels is None:
        raise ValueError(f"quantity {quantity!r} needs the labels of the examples")
    if quantity in ("margin", "top_two", "one_vs_rest"):
        if logits.shape[-1] < 2:
            raise ValueError(f"quantity {quantity!r} needs at least 2 columns of logits")
        _refuse_probabilities(logits)
        if quantity == "margin":
            return margin(logits, _check_labels(labels, logits.shape[-2], logits.shape[-1]))
        return top_two_gap(logits) if quantity == "top_two" else one_vs_rest_gap(logits, target)
    gap = binary_gap(logits)
    if quantity == "gap":
        return gap
    if quantity == "prob":
        return expit(gap)
    known = _check_labels(labels, gap.shape[-1], 2)
    return signed_gap(gap, known) if quantity == "signed_gap" else gap_loss(gap, known)


def split_by_class(
    gaps: Float[np.ndarray, "m n"], labels: Int[np.ndarray, " n"], classes: int
) -> dict[int, Float[np.ndarray, "m _"]]:
    """Gaps of each true class (test each at eps/C); a class without examples is left out with a notice.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import split_by_class
    >>> gaps = np.array([[0.1, 2.0, -0.3], [0.4, 1.0, -0.2]])
    >>> split_by_class(gaps, np.array([0, 1, 0]), 2)[0]
    array([[ 0.1, -0.3],
           [ 0.4, -0.2]])
    """
    known = _check_labels(labels, gaps.shape[1], classes)
    parts = {}
    for label in range(classes):
        if (known == label).any():
            parts[label] = gaps[:, known == label]
        else:
            log.info("class %d has no examples: left out", label)
    return parts


def usable_runs(
    gaps: Float[np.ndarray, "m n"], *, on_bad_run: Literal["error", "drop"] = "error"
) -> Int[np.ndarray, " r"]:
    """List the runs whose outputs are all finite.

    Raises
    ------
    ValueError
        With ``on_bad_run='error'``, if any run holds NaN or infinite values: which, how many, the first index.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import usable_runs
    >>> gaps = np.array([[0.1, 2.0], [np.nan, 1.0], [0.3, -1.0]])
    >>> usable_runs(gaps, on_bad_run="drop")
    array([0, 2])
    """
    bad = ~np.isfinite(gaps)
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows) and on_bad_run == "error":
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"runs {rows.tolist()[:10]} hold {int(bad.sum())} NaN or infinite values, the first at {first}; "
            "on_bad_run='drop' leaves these runs out"
        )
    if len(rows):
        log.warning("left out runs with NaN or infinite values: %s", rows.tolist())
    return np.setdiff1d(np.arange(len(gaps)), rows)


def fit_temperatures(
    gaps: Float[np.ndarray, "m n"], labels: Int[np.ndarray, " n"], *, steps: int = 60
) -> Float[np.ndarray, " m"]:
    """Temperature of each run that minimizes its cross-entropy on these (validation) examples.

    The loss is convex in the inverse temperature; its root is bisected on log T in [-5, 5] (a factor of 150 each
    way). Dividing by the temperature changes no decision but removes differences of scale that move levels.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import fit_temperatures
    >>> gaps = np.array([3.0, 2.0, -1.0, 1.0, -2.0, 0.5])
    >>> labels = np.array([1, 1, 0, 0, 0, 1])
    >>> fit_temperatures(np.stack([gaps, 10 * gaps]), labels).round(3)  # ten times as sure, ten times as hot
    array([0.804, 8.043])
    """
    signed = signed_gap(gaps, labels)
    low, high = np.full(len(gaps), -5.0), np.full(len(gaps), 5.0)
    for _ in range(steps):
        middle = (low + high) / 2
        beta = np.exp(-middle)[:, None]
        falling = (signed * expit(-beta * signed)).mean(axis=1) > 0  # loss still falls as beta grows
        high = np.where(falling, middle, high)
        low = np.where(falling, low, middle)
    return np.exp((low + high) / 2)
