"""Judge attributions by what retraining without some training points does: LDS and leave-k-out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from analysis.attribution.decomposition import top_scores
from analysis.attribution.masks import stability
from analysis.resampling import Interval, bootstrap_mean_interval


def random_subsets(n: int, count: int, rng: np.random.Generator, fraction: float = 0.5) -> Bool[np.ndarray, "s n"]:
    """Draw `count` subsets of exactly round(fraction n) training points, as masks.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import random_subsets
    >>> subsets = random_subsets(10, 3, np.random.default_rng(0))
    >>> subsets.shape, subsets.sum(axis=1)
    ((3, 10), array([5, 5, 5]))
    """
    size = round(fraction * n)
    if not 0 < size < n:
        raise ValueError(f"fraction {fraction} keeps {size} of {n} points: choose one strictly between.")
    masks = np.zeros((count, n), bool)
    for mask in masks:
        mask[rng.choice(n, size, replace=False)] = True
    return masks


@dataclass(frozen=True)
class DatamodelingScore:
    """Linear datamodeling score: per test point, and the mean with its interval over test points."""

    per_point: Float[np.ndarray, " m"]
    mean: Interval


def linear_datamodeling_score(
    scores: Float[np.ndarray, "m n"],
    subsets: Bool[np.ndarray, "s _"],
    margins: Float[np.ndarray, "_ _"],
    *,
    rng: np.random.Generator,
    draws: int = 1000,
) -> DatamodelingScore:
    """Correlate predicted with retrained margins over subsets of the training data (arXiv:2303.14186, section 2).

    Parameters
    ----------
    scores : ndarray, shape (m, n)
        Attributions; the prediction for a subset is the sum of its points' scores.
    subsets : ndarray of bool, shape (s, n)
        Training subsets.
    margins : ndarray, shape (s, m)
        Margin of each test point's label, mean over the seeds retrained on the subset.
    rng : numpy Generator
        For the interval over test points.
    draws : int
        Bootstrap draws.

    Returns
    -------
    DatamodelingScore
        Spearman's ρ over subsets. Test points whose prediction or margin never changes count as 0.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import linear_datamodeling_score, random_subsets
    >>> rng = np.random.default_rng(0)
    >>> effects = rng.normal(size=(4, 30))  # what each training point really adds to the margins of 4 test points
    >>> subsets = random_subsets(30, 40, rng)
    >>> margins = subsets @ effects.T  # stands for networks retrained on the subsets
    >>> guesses = {"right": effects, "random": rng.normal(size=(4, 30))}
    >>> {n: round(linear_datamodeling_score(s, subsets, margins, rng=rng).mean.estimate, 1) for n, s in guesses.items()}
    {'right': 1.0, 'random': 0.0}
    """
    if len(subsets) != len(margins) or scores.shape != (margins.shape[1], subsets.shape[1]):
        raise ValueError(
            f"scores {scores.shape} (test, train), subsets {subsets.shape} (subset, train) and margins "
            f"{margins.shape} (subset, test) do not belong together."
        )
    if len(subsets) < 3:
        raise ValueError(f"A rank correlation over {len(subsets)} subsets says nothing; retrain on more.")
    predicted = scores @ subsets.T
    per_point = np.nan_to_num(stability(predicted, margins.T.astype(np.float64)))
    return DatamodelingScore(per_point, bootstrap_mean_interval(per_point, draws=draws, rng=rng, kind="percentile"))


def noise_ceiling(
    margins: Float[np.ndarray, "s r m"], *, rng: np.random.Generator, draws: int = 1000
) -> DatamodelingScore:
    """Correlate the mean margins of two halves of the seeds: what seed noise leaves for any method to reach.

    Parameters
    ----------
    margins : ndarray, shape (s, r, m)
        Subsets, seeds (at least 2), test points.
    """
    seeds = margins.shape[1]
    if seeds < 2:
        raise ValueError("A noise ceiling needs at least 2 seeds per subset.")
    order = rng.permutation(seeds)
    first, second = margins[:, order[: seeds // 2]].mean(1), margins[:, order[seeds // 2 :]].mean(1)
    per_point = np.nan_to_num(stability(first.T, second.T))
    return DatamodelingScore(per_point, bootstrap_mean_interval(per_point, draws=draws, rng=rng, kind="percentile"))


def leave_out_sets(
    scores: Float[np.ndarray, "m n"],
    k: int,
    train_labels: Int[np.ndarray, " n"],
    classes: Int[np.ndarray, " m"],
    rng: np.random.Generator,
    *,
    embedding: Float[np.ndarray, "m n"] | None = None,
) -> dict[str, Int[np.ndarray, "m k"]]:
    """Choose the training points to drop for each test point: the method's top k and its controls.

    Parameters
    ----------
    scores : ndarray, shape (m, n)
        Attributions.
    k : int
        Points to drop.
    train_labels, classes : ndarray of int, shapes (n,), (m,)
        Training labels and the attributed class of each test point.
    rng : numpy Generator
        For the random controls.
    embedding : ndarray, shape (m, n), or None
        Embedding similarity for its own top k.

    Returns
    -------
    dict
        "top", "bottom", "random", "random_same_class" and, where given, "embedding".
    """
    n = len(train_labels)
    sets = {
        "top": top_scores(scores, k).indices,
        "bottom": top_scores(scores, k, direction="oppose").indices,
        "random": np.stack([rng.choice(n, k, replace=False) for _ in classes]),
    }
    members = {c: np.flatnonzero(train_labels == c) for c in np.unique(classes)}
    few = {int(c): len(m) for c, m in members.items() if len(m) < k}
    if few:
        raise ValueError(f"Dropping k={k} points of one class is impossible: classes have {few} training points.")
    sets["random_same_class"] = np.stack([rng.choice(members[c], k, replace=False) for c in classes])
    if embedding is not None:
        sets["embedding"] = top_scores(embedding, k).indices
    return sets


@dataclass(frozen=True)
class LeaveOutEffect:
    """What dropping a set did: mean margin change over test points, and how many decisions flipped."""

    change: Interval
    per_point: Float[np.ndarray, " m"]
    flips: float
    n: int


def leave_out_effects(
    before: Float[np.ndarray, "r m"],
    after: Mapping[str, Float[np.ndarray, "_ _"]],
    *,
    rng: np.random.Generator,
    draws: int = 1000,
) -> dict[str, LeaveOutEffect]:
    """Compare margins of the attributed class with and without each dropped set, seeds paired.

    Parameters
    ----------
    before : ndarray, shape (r, m)
        Margins of r seeds trained on everything.
    after : mapping of str to ndarray, shape (r, m)
        Margins of the same seeds, in the same order, without the set.

    Returns
    -------
    dict of str to LeaveOutEffect
        `flips` is the share of (seed, point) pairs whose margin was positive and is not.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import leave_out_effects
    >>> rng = np.random.default_rng(0)
    >>> before = np.array([[1.0, 2.0, 0.5], [1.2, 1.8, 0.4]])  # margins of 3 test points, 2 seeds
    >>> after = {"top": before - 1.0, "random": before + 0.01}
    >>> {name: effect.flips for name, effect in leave_out_effects(before, after, rng=rng).items()}
    {'top': 0.5, 'random': 0.0}
    """
    effects = {}
    for name, margins in after.items():
        if margins.shape != before.shape:
            raise ValueError(f"{name}: margins {margins.shape} are not paired with {before.shape} (seed, test).")
        change = (margins - before).mean(0)
        held = before > 0
        flips = float((held & (margins <= 0)).sum() / held.sum()) if held.any() else float("nan")
        effects[name] = LeaveOutEffect(
            bootstrap_mean_interval(change, draws=draws, rng=rng, kind="percentile"), change, flips, before.shape[1]
        )
    return effects
