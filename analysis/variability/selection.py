"""Does the level help to choose a seed? Gains of the chosen run over other ways to choose one, and claim B3.

An accuracy guard picks better runs all by itself, and so does any rule that looks at validation accuracy. The gain of
the level is therefore what it adds to the runs that pass the same guard, to the choice by validation accuracy, and to
the choice of the run nearest the ensemble.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from analysis.checks import check_finite
from analysis.trimming.distributions import Real
from analysis.trimming.thresholds import dkw_threshold
from analysis.variability.claims import ClaimFinding
from analysis.variability.seed_ranking import passes_guard
from analysis.verdicts import FAILS, OPEN, Decided, above, all_hold, any_holds

COMPARED = ("guarded", "best accuracy", "nearest ensemble")
"""What the choice by level is compared with: the mean of the runs that pass the same guard (a random choice among
them), the run of best validation accuracy, and the run nearest the ensemble."""
GAIN_MARGINS = {"nll": 0.002, "ece": 0.002}
"""Smallest gains of interest: 0.002 nats of cross-entropy, 0.002 of calibration error."""
ACCURACY_LOSS, ACCURACY_MARGIN = 0.005, 0.001
"""Loss of accuracy that the choice must not reach, half a percentage point, and its margin."""
NEED = 20
"""Groups of runs that the published claim asks for."""


def accuracy_guard(examples: int, *, eps: Real = 0.01) -> float:
    """Width of the guard: validation accuracies of so many examples differ by less than this for no reason.

    The DKW band of one run's sample, sqrt(ln(2/eps)/2n).

    Examples
    --------
    >>> from analysis.variability import accuracy_guard
    >>> round(accuracy_guard(1000), 3)
    0.051
    """
    return dkw_threshold(examples, eps=eps)


def ensemble_distance(outputs: Float[np.ndarray, "m n *k"]) -> Float[np.ndarray, " m"]:
    """Root mean square distance of each run's outputs to the mean over all runs.

    Parameters
    ----------
    outputs : ndarray, shape (m, n) or (m, n, k)
        Gaps of two classes, or logits; logits are centered over classes first, since a constant decides nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import ensemble_distance
    >>> ensemble_distance(np.array([[0.0, 0.0], [3.0, 3.0], [0.0, 3.0]])).round(2)
    array([1.58, 1.58, 1.  ])
    """
    if len(outputs) < 2:
        raise ValueError("outputs has one run, which is the ensemble itself: give two or more.")
    check_finite(outputs=outputs)
    centered = outputs if outputs.ndim == 2 else outputs - outputs.mean(axis=-1, keepdims=True)
    apart = centered - centered.mean(axis=0)
    return np.sqrt((apart.reshape(len(apart), -1) ** 2).mean(axis=1))


def selection_gains(
    levels: Float[np.ndarray, " m"],
    accuracy: Float[np.ndarray, " m"],
    distance: Float[np.ndarray, " m"],
    judged: Mapping[str, Float[np.ndarray, " m"]],
    groups: Int[np.ndarray, "g k"],
    *,
    guard: Real,
) -> dict[str, dict[str, Float[np.ndarray, " g"]]]:
    """Gain of the run with the lowest level in each group over every other way to choose, on the judged metrics.

    Equal levels (accuracies, distances) are decided at random: each choice counts with its expectation over ties,
    the mean over the tied runs.

    Parameters
    ----------
    levels, accuracy, distance : ndarray, shape (m,)
        What the choices are made by, from validation examples: trimming level, accuracy, distance to the ensemble.
    judged : mapping of str to ndarray, shape (m,)
        Metrics on test examples: ``accuracy``, where more is better, and losses, where less is.
    groups : ndarray of int, shape (g, k)
        Runs of each group; no run belongs to two.
    guard : float
        Width of the accuracy guard around the median of each group, see `accuracy_guard`.

    Returns
    -------
    dict of dict of ndarray, shape (g,)
        By comparison (`COMPARED`) and metric; positive where the choice by level is better.

    Raises
    ------
    ValueError
        If a run belongs to two groups, which are the independent units, the arrays are not of the same runs, or a
        value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import selection_gains
    >>> levels, accuracy = np.array([0.0, 0.2, 0.0, 0.1]), np.array([0.90, 0.91, 0.92, 0.89])
    >>> nll = np.array([0.30, 0.34, 0.32, 0.36])
    >>> gains = selection_gains(levels, accuracy, levels, {"nll": nll}, np.arange(4)[None], guard=0.05)
    >>> {name: gain["nll"].round(3).tolist() for name, gain in gains.items()}  # runs 0 and 2 are tied
    {'guarded': [0.02], 'best accuracy': [0.01], 'nearest ensemble': [0.0]}
    """
    if len(np.unique(groups)) != groups.size:
        raise ValueError("a run belongs to two groups: groups must be disjoint to be independent")
    given = {"levels": levels, "accuracy": accuracy, "distance": distance, **judged}
    sizes = {name: len(values) for name, values in given.items()}
    if len({*sizes.values()}) > 1 or not 0 <= groups.min() <= groups.max() < len(levels):
        raise ValueError(
            "levels, accuracy, distance and judged metrics must be of the same runs, and groups of runs 0 to "
            f"{len(levels) - 1}: there are {', '.join(f'{size} of {name}' for name, size in sizes.items())}, and "
            f"groups go from {groups.min()} to {groups.max()}."
        )
    check_finite(**given)

    def lowest(values: np.ndarray, among: np.ndarray) -> np.ndarray:
        return among[values[among] == values[among].min()]

    found = {name: {metric: np.empty(len(groups)) for metric in judged} for name in COMPARED}
    for place, members in enumerate(groups):
        allowed = members[passes_guard(accuracy[members], guard)]
        chosen = lowest(levels, allowed)
        rivals = (allowed, lowest(-accuracy, members), lowest(distance, allowed))
        for name, rival in zip(COMPARED, rivals, strict=True):
            for metric, values in judged.items():
                better, worse = (chosen, rival) if metric == "accuracy" else (rival, chosen)
                found[name][metric][place] = values[better].mean() - values[worse].mean()
    return found


def rival_gains(
    levels: Float[np.ndarray, " m"],
    accuracy: Float[np.ndarray, " m"],
    distance: Float[np.ndarray, " m"],
    judged: Mapping[str, Float[np.ndarray, " m"]],
    groups: Int[np.ndarray, "g k"],
    *,
    guard: Real,
) -> dict[str, dict[str, Float[np.ndarray, " g"]]]:
    """Gain of the run nearest the ensemble, the level's rival, over the other ways to choose; the level is one of them.

    Parameters and result are those of `selection_gains`, with the comparisons ``guarded``, ``best accuracy`` and
    ``lowest level``.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import rival_gains
    >>> levels, distance = np.array([0.0, 0.2, 0.1, 0.1]), np.array([0.9, 0.3, 0.5, 0.8])
    >>> nll = np.array([0.34, 0.30, 0.32, 0.36])
    >>> found = rival_gains(levels, np.full(4, 0.9), distance, {"nll": nll}, np.arange(4)[None], guard=0.05)
    >>> {name: gain["nll"].round(3).tolist() for name, gain in found.items()}
    {'guarded': [0.03], 'best accuracy': [0.03], 'lowest level': [0.04]}
    """
    found = selection_gains(distance, accuracy, levels, judged, groups, guard=guard)
    return {("lowest level" if name == "nearest ensemble" else name): gains for name, gains in found.items()}


def claim_b3(
    gains: Mapping[str, Mapping[str, Float[np.ndarray, " g"]]], *, need: int = NEED, claim: str = "B3"
) -> ClaimFinding:
    """B3: the level helps to choose a seed; or, by the same rule, that its rival does.

    It holds where, for cross-entropy or for calibration error (Holm over the two), the gain of the choice by level is
    above its margin against all comparisons, and its accuracy is not below that of the guarded runs by half a
    percentage point. It cannot fail where the level chooses no run in most groups, as with few validation examples.
    The unit is the group of runs; test examples and the reference of the levels are shared.

    Parameters
    ----------
    gains : mapping
        As `selection_gains` returns, with ``accuracy``; or as `rival_gains`.
    need : int
        Groups that a decision needs.
    claim : str
        Its name.
    """
    unit = "groups of runs (test examples and reference are shared)"
    groups = len(gains[COMPARED[0]]["accuracy"])
    metrics = {}
    for metric in (name for name in GAIN_MARGINS if name in gains[COMPARED[0]]):
        margin = GAIN_MARGINS[metric]
        against = {
            name: above(
                gains[name][metric].tolist(), 0.0, margin=margin, what=f"gain in {metric} over {name}", unit=unit
            )
            for name in gains
        }
        metrics[metric] = all_hold(against, "comparisons")
    accuracy = above(
        gains["guarded"]["accuracy"].tolist(),
        -ACCURACY_LOSS,
        margin=ACCURACY_MARGIN,
        what="gain in accuracy over guarded",
        unit=unit,
    )
    decided = all_hold({"gain": any_holds(metrics, "metrics"), "accuracy": accuracy}, "parts")
    silent = int((np.asarray(gains["guarded"]["accuracy"]) == 0).sum())
    if silent > groups / 2:
        chooser = "the level" if claim == "B3" else "the distance"
        evidence = f"{decided.evidence} In {silent} of {groups} groups {chooser} chooses none: the runs tie."
        outcome = OPEN if decided.outcome == FAILS else decided.outcome
        decided = dataclasses.replace(decided, outcome=outcome, evidence=evidence)
    if groups < need:
        decided = Decided(OPEN, f"{decided.evidence} n = {groups} {unit}; {need} are needed.")
    details = {
        f"{metric}_gain_over_{name.replace(' ', '_')}": float(values.mean())
        for name, by_metric in gains.items()
        for metric, values in by_metric.items()
    }
    return ClaimFinding(claim, decided, details | {"groups": float(groups)})
