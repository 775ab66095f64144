"""At which layer a network's decision on an example is made: prediction depth (Baldock et al., arXiv 2106.09647)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Num

from analysis.checks import check_finite, class_labels
from analysis.probes.curves import knn_curve
from kernels.arguments import checked_arguments
from kernels.arrays import as_array

PUBLISHED_NEIGHBORS = 30
"""Neighbors of the paper's probes."""


@checked_arguments
def layer_votes(
    train: Sequence[Num[np.ndarray, "_ _"]],
    labels: Int[np.ndarray, " n"],
    test: Sequence[Num[np.ndarray, "_ _"]],
    *,
    neighbors: int = PUBLISHED_NEIGHBORS,
) -> Int[np.ndarray, "L m"]:
    """Let the nearest training rows vote on the class of every test row, at each layer.

    Parameters
    ----------
    train, test : sequence of ndarray, shapes (n, d) and (m, d)
        Features of each layer, in order of depth.
    labels : ndarray of int, shape (n,)
        True classes of the training rows.
    neighbors : int
        Votes; 30 in the paper.

    Raises
    ------
    ValueError
        If the layers do not have the same rows, a value is not finite, or there are fewer training rows than neighbors.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.probes import layer_votes
    >>> near = np.array([[0.0], [1.0], [9.0], [10.0]])
    >>> layer_votes([near], np.array([0, 0, 1, 1]), [np.array([[2.0], [8.0]])], neighbors=1).tolist()
    [[0, 1]]
    """
    if not train or len(train) != len(test):
        raise ValueError(f"train has {len(train)} layers and test {len(test)}: both need the same ones, at least one.")
    known = torch.from_numpy(class_labels(labels))
    votes: list[np.ndarray] = []
    for layer, parts in enumerate(zip(train, test, strict=True)):
        one, other = (
            as_array(part, f"{name}[{layer}]").astype(np.float64)
            for name, part in zip(("train", "test"), parts, strict=True)
        )
        wanted = len(votes[0]) if votes else len(other)
        if one.ndim != 2 or one.shape[0] != len(known) or other.shape != (wanted, one.shape[1]):
            raise ValueError(
                f"layer {layer} has train {one.shape} and test {other.shape}: with {len(known)} labels, train must be "
                f"({len(known)}, d) and test ({wanted}, d), the same rows at every layer."
            )
        check_finite(**{f"train[{layer}]": one, f"test[{layer}]": other})
        rows, asked = torch.from_numpy(one), torch.from_numpy(other)
        votes.append(knn_curve(rows, known, asked, ks=[rows.shape[1]], neighbors=[neighbors])[0, 0])
    return np.stack(votes).astype(np.int64)


@checked_arguments
def prediction_depth(votes: Int[np.ndarray, "L m"], decided: Int[np.ndarray, " m"]) -> Int[np.ndarray, " m"]:
    """First layer from which on the votes of all layers are the network's own decision.

    Parameters
    ----------
    votes : ndarray of int, shape (L, m)
        Classes by `layer_votes`, in order of depth.
    decided : ndarray of int, shape (m,)
        The network's decisions.

    Returns
    -------
    ndarray of int, shape (m,)
        Index of the layer; L where the votes of the last layer are another class.

    References
    ----------
    Baldock, Maennel and Neyshabur, "Deep Learning Through the Lens of Example Difficulty", arXiv 2106.09647.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.probes import prediction_depth
    >>> prediction_depth(np.array([[1, 0, 2], [0, 0, 1], [1, 0, 1]]), np.array([1, 0, 0])).tolist()
    [2, 0, 3]
    """
    if len(votes) < 2:
        raise ValueError("votes has one layer: a depth needs at least two.")
    same = votes == decided
    lasting = np.logical_and.accumulate(same[::-1], axis=0)[::-1]
    return np.where(lasting.any(axis=0), lasting.argmax(axis=0), len(votes))


@checked_arguments
def rank_correlations(depths: Float[np.ndarray, "r m"] | Int[np.ndarray, "r m"]) -> Float[np.ndarray, "r r"]:
    """Spearman's ρ of the depths of every two runs over examples, ties by mean ranks; NaN where one run has one depth.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.probes.example_depth import rank_correlations
    >>> rank_correlations(np.array([[0, 1, 2], [0, 2, 1]])).round(2)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """
    from scipy.stats import rankdata

    check_finite(depths=depths)
    ranks = rankdata(depths, axis=1)
    centered = ranks - ranks.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centered, axis=1)
    scale = np.where(norms > 0, norms, np.nan)
    return centered @ centered.T / scale[:, None] / scale
