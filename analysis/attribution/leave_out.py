"""Leave-k-out: which training points to drop for a test point, and what training without them changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from analysis.attribution.decomposition import top_scores
from analysis.checks import check_finite
from analysis.resampling import Interval, mean_interval
from kernels.arguments import checked_arguments
from kernels.arrays import as_array


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


@checked_arguments
def leave_out_effects(
    before: Float[np.ndarray, "r m"],
    after: Mapping[str, Float[np.ndarray, "_ _"]],
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
        `change` has Student's interval over test points, which are few (none of fewer than 3); `flips` is the share of
        (seed, point) pairs whose margin was positive and is not.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import leave_out_effects
    >>> before = np.array([[1.0, 2.0, 0.5], [1.2, 1.8, 0.4]])  # margins of 3 test points, 2 seeds
    >>> after = {"top": before - 1.0, "random": before + 0.01}
    >>> {name: effect.flips for name, effect in leave_out_effects(before, after).items()}
    {'top': 0.5, 'random': 0.0}
    """
    if not after:
        raise ValueError("after is empty: give the margins without each set, such as {'top': margins}.")
    effects = {}
    for name, values in after.items():
        margins = as_array(values, f"after[{name!r}]")
        if margins.shape != before.shape:
            raise ValueError(f"{name}: margins {margins.shape} are not paired with {before.shape} (seed, test).")
        check_finite(before=before, **{f"after[{name!r}]": margins})
        change = (margins - before).mean(0)
        held = before > 0
        flips = float((held & (margins <= 0)).sum() / held.sum()) if held.any() else float("nan")
        effects[name] = LeaveOutEffect(mean_interval(change), change, flips, before.shape[1])
    return effects
