"""How different several runs are: one call from their outputs to numbers, a figure and a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from analysis.classifier_metrics import churn_matrix, decisions, error_agreement, run_metrics
from analysis.comparison.ensemble import ensemble_rows
from analysis.comparison.levels import compare_levels, gaps_of, runs_needed
from analysis.comparison.measures import MEASURES, Row, alone, of_pairs, of_runs, of_subsets
from analysis.comparison.outputs import read_outputs, warn_of_equal_runs
from analysis.comparison.run_result import RunComparison
from analysis.variability.gaps import Quantity, check_quantity
from analysis.variability.multiplicity import ambiguity, discrepancy, multiplicity_of_best
from analysis.verdicts import MIN_RUNS
from kernels.arguments import checked_arguments


@checked_arguments
def compare_runs(
    outputs: Any,
    labels: Any,
    *,
    is_probability: bool | None = None,
    names: Sequence[Any] | None = None,
    quantity: Quantity | None = None,
    delta: float | None = None,
    tolerance: float = 0.01,
    precision: float = 0.005,
    bins: int = 15,
    seed: int = 0,
    on_bad_run: Literal["error", "drop"] = "error",
) -> RunComparison:
    """Measure how far trained networks differ that were to be equal: seeds of one training, or reruns of it.

    Parameters
    ----------
    outputs : mapping, list or array
        Outputs of every run on the same examples: a mapping of names to arrays, a list of arrays, or one array (runs,
        n, C). NumPy arrays, torch tensors of any device, lists. (n, C) holds logits; (n,) or (n, 1) one output per
        example, the log-odds of class 1, decided by its sign.
    labels : array_like, shape (n,) or one-hot (n, C)
        True classes, 0..C-1.
    is_probability : bool or None
        Whether the outputs are probabilities (single outputs: of class 1). True is checked. None takes logits, and
        refuses outputs that could be probabilities.
    names : sequence or None
        Of the runs, where the outputs are a list or an array.
    quantity : str or None
        What trimming levels compare, see `compared_quantity`: the gap of two classes, the margin of more.
    delta : float or None
        Tolerance of trimming levels; None takes that of the Dvoretzky-Kiefer-Wolfowitz inequality at 1 %.
    tolerance : float
        Accuracy within which a run competes with the best one, for ambiguity and discrepancy.
    precision : float
        Half-width of the 95 % interval of mean accuracy for which seeds are counted.
    bins : int
        Bins of the calibration error.
    seed : int
        Of the random splits by which the stopping rule counts runs: the same call gives the same numbers.
    on_bad_run : {"error", "drop"}
        What to do with runs whose outputs are not finite.

    Returns
    -------
    RunComparison
        ``table``, ``runs`` and ``pairs`` are pandas tables, ``plot()`` one figure, ``report(path)`` an HTML page.
        Intervals are over runs, the independent units: from two runs there is none.

    Raises
    ------
    ValueError
        In one sentence that says what to write instead; docs/compare.md lists them.

    Warns
    -----
    UserWarning
        For runs with exactly equal outputs.

    References
    ----------
    Trimming levels: arXiv 2310.00541, 2406.08307. Ambiguity and discrepancy: arXiv 1909.06677. Calibration error: arXiv
    1706.04599. Ensembles of networks: arXiv 1612.01474.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import compare_runs
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 3, 400)
    >>> shared = 2.0 * np.eye(3)[labels] + rng.normal(size=(400, 3))  # what all seeds learn
    >>> outputs = {f"seed {i}": shared + 0.5 * rng.normal(size=(400, 3)) for i in range(5)}
    >>> result = compare_runs(outputs, labels)
    >>> round(result.value("accuracy"), 2), round(result.value("churn", "between two runs"), 2)
    (0.85, 0.14)
    """
    if quantity is not None:
        check_quantity(quantity)
    if not 0 < precision < 1:
        raise ValueError(f"precision={precision} must be a half-width of accuracy between 0 and 1, such as 0.005.")
    for name, value in (("delta", delta), ("tolerance", tolerance)):
        if not isinstance(value, (int, float, np.number, type(None))):
            raise ValueError(f"{name}={value!r} must be a number between 0 and 1, such as 0.05.")
    if isinstance(names, str) or not isinstance(names, (Iterable, type(None))):
        raise ValueError(f"names is a {type(names).__name__}: give a list with a name for each run.")
    given = read_outputs(outputs, labels, is_probability=is_probability, names=names, on_bad_run=on_bad_run)
    equal = warn_of_equal_runs(given.names, given.logits)
    decided = decisions(given.logits)
    churn = churn_matrix(decided)
    metrics = run_metrics(given.logits, given.labels, bins=bins, churn=churn)
    agreement = error_agreement(decided, given.labels)
    rows = [of_runs(name, metrics[name]) for name in ("accuracy", "nll", "brier", "ece")]
    rows.append(of_pairs("churn", "between two runs", churn))
    rows.append(of_runs("churn", metrics["churn_logit_mean"], "to the ensemble of logits"))
    rows.append(of_pairs("error_agreement", "between two runs", agreement))
    rows += _multiplicity(decided, churn, metrics["accuracy"], tolerance)
    gaps, chosen = gaps_of(given, quantity)
    found = compare_levels(gaps, chosen, delta)
    rows += [*found.rows, *ensemble_rows(given, metrics, bins)]
    rows += runs_needed(gaps, found.delta, metrics["accuracy"], precision, np.random.default_rng(seed))
    return RunComparison(
        outputs=given,
        rows=tuple(sorted(rows, key=lambda row: list(MEASURES).index(row["measure"]))),
        metrics=metrics,
        levels=found.levels,
        churn=churn,
        agreement=agreement,
        delta=found.delta,
        growth=_growth(decided),
        notes=(*given.notes, *equal, *_few(len(given.names)), *found.notes),
    )


def _few(runs: int) -> list[str]:
    if runs == 2:
        return [
            f"Two runs: how far seeds differ cannot be told from one difference, so that no interval is given; "
            f"{MIN_RUNS} runs are the least for a conclusion."
        ]
    return [f"{runs} runs: intervals are wide; {MIN_RUNS} are the least for a conclusion."] if runs < MIN_RUNS else []


def _multiplicity(decided: np.ndarray, churn: np.ndarray, accuracy: np.ndarray, tolerance: float) -> list[Row]:
    runs = len(decided)
    half = (runs + 1) // 2
    rows: list[Row] = []

    def not_agreed(kept: np.ndarray, size: int | None = None) -> float:
        return ambiguity(decided[kept], size)

    def largest_churn(kept: np.ndarray, size: int | None = None) -> float:
        return discrepancy(churn[np.ix_(kept, kept)], size)

    shares = {"ambiguity": not_agreed, "discrepancy": largest_churn}
    best = multiplicity_of_best(decided, accuracy, tolerance)
    for place, (name, share) in enumerate(shares.items()):
        rows.append(alone(name, f"of all {runs} runs", share(np.arange(runs)), runs, "grows with the runs"))
        if half > 2:
            rows.append(of_subsets(name, f"of {half} runs", partial(share, size=half), runs))
        note = f"{best[2]} of {runs} runs compete"
        rows.append(alone(name, f"within {tolerance:g} of the best run", best[place], runs, note))
    return rows


def _growth(decided: np.ndarray) -> Float[np.ndarray, " k"]:
    """Ambiguity of 2, 3, ... m runs."""
    return np.array([ambiguity(decided, size) for size in range(2, len(decided) + 1)])
