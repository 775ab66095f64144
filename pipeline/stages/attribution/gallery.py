"""Which test points a gallery shows: errors of the network first, and of as many classes as there are."""

from __future__ import annotations

from collections import Counter

import numpy as np
from jaxtyping import Bool, Int


def in_turns(labels: Int[np.ndarray, " n"], shown: Int[np.ndarray, " m"] | None = None) -> Int[np.ndarray, " n"]:
    """Order points so that classes take turns, each in its own order; classes that are shown already wait.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    shown : ndarray of int, shape (m,), optional
        Classes of what stands before them.

    Returns
    -------
    ndarray of int, shape (n,)
        Places, first to last.

    Examples
    --------
    >>> in_turns(np.array([0, 0, 1, 0, 2])).tolist(), in_turns(np.array([0, 0, 1]), np.array([0])).tolist()
    ([0, 2, 4, 1, 3], [2, 0, 1])
    """
    turns = Counter([] if shown is None else shown.tolist())
    order = []
    for place, label in enumerate(labels.tolist()):
        order.append((turns[label], label, place))
        turns[label] += 1
    return np.array([place for *_, place in sorted(order)], dtype=np.int64)


def gallery_points(labels: Int[np.ndarray, " n"], right: Bool[np.ndarray, " n"], count: int) -> Int[np.ndarray, " k"]:
    """Choose test points for a gallery: up to half of them errors, and the classes in turns.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        True classes.
    right : ndarray of bool, shape (n,)
        Whether the network decides rightly.
    count : int
        How many, at most.

    Returns
    -------
    ndarray of int, shape (k,)
        Places of the errors, then of the others.
    """
    wrong, good = np.flatnonzero(~right), np.flatnonzero(right)
    errors = wrong[in_turns(labels[wrong])][: count // 2]
    others = good[in_turns(labels[good], labels[errors])][: count - len(errors)]
    return np.concatenate([errors, others])
