"""Predictive multiplicity: on how many examples runs of equal standing give different decisions.

Ambiguity is the share of examples on which competing models do not all agree with a baseline, discrepancy the largest
share on which one of them differs from it (Marx, Calmon and Ustun, Predictive multiplicity in classification, ICML
2020, arXiv 1909.06677). Both grow with the number of models, so that they are also given for subsets of a stated size:
the mean over all subsets, which is free of the number of runs that happen to be there.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import gammaln

from analysis.checks import check_finite
from analysis.classifier_metrics import churn_matrix
from kernels.arguments import checked_arguments

Decisions = Int[np.ndarray, "m n"]


@checked_arguments
def ambiguity(decided: Decisions, size: int | None = None) -> float:
    """Share of examples on which the runs do not all agree, whichever of them is the baseline.

    Parameters
    ----------
    decided : ndarray of int, shape (m, n)
        Decision of every run on the same examples.
    size : int or None
        Mean over all subsets of so many runs, exactly: an example that n_c of m runs put into class c is agreed upon by
        Σ_c C(n_c, size)/C(m, size) of them. None: all runs.

    Raises
    ------
    ValueError
        If the size is below 2 or above the number of runs.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import ambiguity
    >>> decided = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 1]])
    >>> ambiguity(decided), round(ambiguity(decided, 2), 3)  # of two runs it is their churn
    (0.5, 0.333)
    """
    taken = _size(size, len(decided))
    agreed = np.zeros(decided.shape[1])
    for label in np.unique(decided):
        agreed += _shares(len(decided), taken)[(decided == label).sum(axis=0)]
    return float(1 - agreed.mean())


@checked_arguments
def discrepancy(churn: Float[np.ndarray, "m m"], size: int | None = None) -> float:
    """Largest churn of a run against another one, averaged over the runs as baselines.

    Parameters
    ----------
    churn : ndarray, shape (m, m)
        `analysis.classifier_metrics.churn_matrix` of the decisions.
    size : int or None
        Mean over all subsets of so many runs, exactly: among size - 1 of a baseline's m - 1 sorted churns, the j-th is
        the largest with probability C(j - 1, size - 2)/C(m - 1, size - 1). None: all runs.

    Raises
    ------
    ValueError
        If the size is below 2 or above the number of runs.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.classifier_metrics import churn_matrix
    >>> from analysis.variability import discrepancy
    >>> churn = churn_matrix(np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 1]]))
    >>> round(discrepancy(churn), 3), round(discrepancy(churn, 2), 3)
    (0.417, 0.333)
    """
    check_finite(churn=churn)
    runs = len(churn)
    taken = _size(size, runs)
    others = np.sort(churn[~np.eye(runs, dtype=bool)].reshape(runs, runs - 1), axis=1)
    largest = np.diff(_shares(runs - 1, taken - 1))  # C(j, k) - C(j - 1, k) = C(j - 1, k - 1)
    return float((others @ largest).mean())


def _size(size: int | None, runs: int) -> int:
    if runs < 2:
        raise ValueError(f"there is {runs} run: ambiguity and discrepancy are about how two or more of them differ")
    taken = runs if size is None else size
    if not 2 <= taken <= runs:
        raise ValueError(f"size = {taken} must be between 2 and {runs}, the number of runs")
    return taken


def _shares(runs: int, size: int) -> Float[np.ndarray, " _"]:
    """Share C(j, size)/C(runs, size) of subsets within j of the runs, for j = 0..runs."""
    chosen = np.arange(runs + 1)
    inside = np.maximum(chosen, size)
    shares = np.exp(gammaln(inside + 1) - gammaln(inside - size + 1) - gammaln(runs + 1) + gammaln(runs - size + 1))
    shares[-1] = 1.0  # also after rounding: runs that all agree have an ambiguity of exactly 0
    return np.where(chosen < size, 0.0, shares)


@checked_arguments
def competitors(accuracy: Float[np.ndarray, " m"], tolerance: float) -> Bool[np.ndarray, " m"]:
    """Find the runs whose accuracy lies within a tolerance of the best one's: the baseline and its competitors.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import competitors
    >>> competitors(np.array([0.91, 0.93, 0.925]), 0.01)
    array([False,  True,  True])
    """
    if not 0 <= tolerance <= 1:
        raise ValueError(f"tolerance = {tolerance} must be a difference of accuracies between 0 and 1, such as 0.01")
    check_finite(accuracy=accuracy)
    return accuracy >= accuracy.max() - tolerance - 1e-12


@checked_arguments
def multiplicity_of_best(
    decided: Decisions, accuracy: Float[np.ndarray, " m"], tolerance: float
) -> tuple[float, float, int]:
    """Ambiguity and discrepancy of the most accurate run against its competitors.

    Parameters
    ----------
    decided : ndarray of int, shape (m, n)
        Decision of every run.
    accuracy : ndarray, shape (m,)
        Their accuracies; the first of the best ones is the baseline.
    tolerance : float
        Difference of accuracy within which a run competes.

    Returns
    -------
    ambiguity, discrepancy : float
    runs : int
        Competing runs, the baseline among them; where it is alone, both shares are 0.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import multiplicity_of_best
    >>> decided = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 1]])
    >>> multiplicity_of_best(decided, np.array([0.75, 0.75, 0.25]), 0.1)
    (0.25, 0.25, 2)
    """
    chosen = competitors(accuracy, tolerance)
    baseline = int(np.flatnonzero(chosen)[accuracy[chosen].argmax()])
    kept = decided[chosen]
    churn = churn_matrix(decided)[baseline][chosen]
    return ambiguity(kept) if len(kept) > 1 else 0.0, float(churn.max()), len(kept)
