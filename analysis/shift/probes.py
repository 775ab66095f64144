"""Four-way probe matrix P→P, P→M, M→P, M→M over training sizes and redraws, with paired intervals.

An L2 logistic probe on train-standardized embeddings, its penalty chosen by cross-validation inside the training
part. Rivals are scored on the same held-out rows of M, so that differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from analysis.shift.classifier_test import PENALTIES, auc_interval
from analysis.shift.probe_fits import Source, guessed, probe_scores


@dataclass(frozen=True)
class ProbeScore:
    """One probe on one test set.

    Attributes
    ----------
    train, test : str
        "P", "M", or a rival's name; test is "P" (held out), "M" (all rows) or "M held out".
    size : int
        Training rows; 0 for rivals that were trained elsewhere.
    redraw : int
    rows : int
        Test rows.
    accuracy, balanced_accuracy, auc : float
        AUC is NaN for rivals that give classes only, and for more than two classes.
    """

    train: str
    test: str
    size: int
    redraw: int
    rows: int
    accuracy: float
    balanced_accuracy: float
    auc: float


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of one probe minus another on the same rows, over redraws.

    Attributes
    ----------
    mean, low, high : float
        Corrected resampled t interval: redraws share rows, so the naive standard error is too small.
    redraws : int
    wins : bool
        Whether the interval excludes zero; inside it no win is claimed.
    error : float
        Standard error behind the interval.
    """

    mean: float
    low: float
    high: float
    redraws: int
    wins: bool
    error: float

    def tail(self, bound: float) -> float:
        """One-sided p-value of "the difference is at most `bound`"; NaN where all redraws agree."""
        if self.error == 0.0:
            return float("nan")
        return float(stats.t.cdf((bound - self.mean) / self.error, self.redraws - 1))


def corrected_difference(
    gaps: Float[np.ndarray, " redraws"], *, overlap: float, level: float = 0.95
) -> PairedDifference:
    """Interval of a mean difference over redraws that share rows (corrected resampled t).

    Parameters
    ----------
    gaps : ndarray, shape (redraws,)
        One difference for each redraw.
    overlap : float
        Test rows over training rows of one split: how much the redraws have in common.
    level : float

    References
    ----------
    Nadeau and Bengio, Machine Learning 52 (2003) 239-281.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift.probes import corrected_difference
    >>> gaps = np.array([0.05, 0.02, 0.04, 0.03, 0.06])
    >>> found = corrected_difference(gaps, overlap=1.0)
    >>> round(found.mean, 3), round(found.low, 3), found.wins  # five halves of one sample say less than five samples
    (0.04, -0.008, False)
    """
    if gaps.size < 2:
        raise ValueError(f"an interval over redraws needs two of them, got {gaps.size}.")
    error = float(np.sqrt(gaps.var(ddof=1) * (1.0 / gaps.size + overlap)))
    half = float(stats.t.ppf(0.5 + level / 2.0, gaps.size - 1)) * error
    mean = float(gaps.mean())
    return PairedDifference(mean, mean - half, mean + half, gaps.size, bool(abs(mean) > half), error)


def probe_matrix(
    reference: Source,
    sample: Source,
    *,
    sizes: Sequence[int],
    redraws: int,
    generator: np.random.Generator,
    rivals: Mapping[str, np.ndarray] | None = None,
    holdout: float = 0.3,
    reference_test: int = 1000,
    penalties: Sequence[float] = PENALTIES,
) -> list[dict[str, object]]:
    """Score probes trained on P and on M, on both, over redraws.

    Each redraw splits M into training and held-out rows (stratified), draws held-out and training rows of P
    (nested over the sizes), and scores every probe on all of M, the held-out rows of M, and held-out P.

    Parameters
    ----------
    reference, sample : pair of (embeddings, labels)
        P and M; of more than two classes, each has a probe of its own against the rest.
    sizes : sequence of int
        Training sizes of the P probe.
    redraws : int
        At least 20 for a stated interval.
    generator : numpy Generator
    rivals : dict of name to ndarray, shape (m,), optional
        Predicted classes of all of M by models trained elsewhere (full fine-tuning, other features).
    holdout : float
        Share of M held out.
    reference_test : int
        Held-out rows of P; at most half of what is there.
    penalties : sequence of float

    Returns
    -------
    list of dict
        `ProbeScore` rows.

    Raises
    ------
    ValueError
        If a side lacks a class, or P is too small for the largest size.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import probe_matrix
    >>> rng = np.random.default_rng(0)
    >>> def source(n, direction):  # embeddings whose class shows along one direction
    ...     labels = rng.integers(0, 2, n)
    ...     return rng.standard_normal((n, 2)) + 2.0 * np.outer(2 * labels - 1, direction), labels
    >>> p, m = source(200, [1.0, 0.0]), source(60, [0.0, 1.0])  # the rule changes between the sources
    >>> rows = probe_matrix(p, m, sizes=[80], redraws=2, generator=rng, penalties=[10.0])
    >>> cells = {(row["train"], row["test"]): round(row["accuracy"], 1) for row in rows}
    >>> cells["P", "P"], cells["P", "M held out"], cells["M", "M held out"]
    (1.0, 0.4, 1.0)
    """
    (p_x, p_y), (m_x, m_y) = reference, sample
    classes = set(p_y.tolist()) | set(m_y.tolist())
    for name, labels in (("P", p_y), ("M", m_y)):
        found, counts = np.unique(labels, return_counts=True)
        if set(found.tolist()) != classes or len(classes) < 2:
            shown = dict(zip(found.tolist(), counts.tolist(), strict=True))
            raise ValueError(f"{name}: probes need two classes or more, the same on both sides; found {shown}.")
    held_p = min(reference_test, len(p_y) // 2)
    if max(sizes) > len(p_y) - held_p:
        raise ValueError(f"P has {len(p_y)} rows: {held_p} held out leave fewer than {max(sizes)} to train on.")
    rows: list[ProbeScore] = []
    for redraw in range(redraws):
        m_held = _stratified(m_y, holdout, generator)
        order = generator.permutation(len(p_y))
        p_held, p_train = order[:held_p], order[held_p:]
        tests = {
            "P": (p_x[p_held], p_y[p_held]),
            "M": (m_x, m_y),
            "M held out": (m_x[m_held], m_y[m_held]),
        }
        for size in sizes:
            chosen = p_train[:size]
            rows += _score("P", size, redraw, (p_x[chosen], p_y[chosen]), tests, penalties, generator)
        own = {name: test for name, test in tests.items() if name != "M"}
        rest = ~m_held
        rows += _score("M", int(rest.sum()), redraw, (m_x[rest], m_y[rest]), own, penalties, generator)
        for name, guess in (rivals or {}).items():
            for test, mask in (("M", np.ones(len(m_y), bool)), ("M held out", m_held)):
                accuracy, balanced = _accuracies(guess[mask], m_y[mask])
                rows.append(ProbeScore(name, test, 0, redraw, int(mask.sum()), accuracy, balanced, float("nan")))
    return [asdict(row) for row in rows]


def paired_difference(
    rows: Sequence[Mapping[str, object]],
    first: tuple[str, int],
    second: tuple[str, int],
    *,
    test: str = "M held out",
    score: str = "accuracy",
    overlap: float = 0.3 / 0.7,
    level: float = 0.95,
) -> PairedDifference:
    """Difference of two probes on the same test rows of each redraw.

    Parameters
    ----------
    rows : sequence of dict
        From `probe_matrix`.
    first, second : pair of (train, size)
    test, score : str
    overlap : float
        Test rows over training rows of one split, the correction's second term.
    level : float

    Returns
    -------
    PairedDifference

    References
    ----------
    Nadeau and Bengio, Machine Learning 52 (2003) 239-281 (corrected resampled t).
    """
    values = []
    for train, size in (first, second):
        found = {
            row["redraw"]: float(str(row[score]))
            for row in rows
            if row["train"] == train and row["size"] == size and row["test"] == test
        }
        values.append(found)
    shared = sorted(values[0].keys() & values[1].keys(), key=str)
    if len(shared) < 2:
        raise ValueError(f"{first} and {second} share {len(shared)} redraws on {test}: two are needed.")
    gaps = np.array([values[0][r] - values[1][r] for r in shared])
    return corrected_difference(gaps, overlap=overlap, level=level)


def _score(
    name: str,
    size: int,
    redraw: int,
    train: Source,
    tests: Mapping[str, Source],
    penalties: Sequence[float],
    generator: np.random.Generator,
) -> list[ProbeScore]:
    if len(np.unique(train[1])) < 2:
        raise ValueError(f"a training draw of {size} rows of {name} holds one class only; use more rows.")
    queries = np.concatenate([test[0] for test in tests.values()])
    scores, classes = probe_scores(train, queries, generator=generator, penalties=penalties)
    guesses = guessed(scores, classes)
    rows, start = [], 0
    for test, (_, truth) in tests.items():
        here = slice(start, start + len(truth))
        start += len(truth)
        accuracy, balanced = _accuracies(guesses[here], truth)
        odds, (first, second) = scores[here, 0], classes[:2]
        auc = auc_interval(odds[truth == second], odds[truth == first])[0] if len(classes) == 2 else float("nan")
        rows.append(ProbeScore(name, test, size, redraw, len(truth), accuracy, balanced, auc))
    return rows


def _accuracies(guess: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    recalls = [float(np.mean(guess[truth == value] == value)) for value in np.unique(truth)]
    return float(np.mean(guess == truth)), sum(recalls) / len(recalls)


def _stratified(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    held = np.zeros(len(labels), dtype=bool)
    for value in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == value))
        held[rows[: max(1, round(share * rows.size))]] = True
    return held
