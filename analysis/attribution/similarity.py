"""Attribution by similarity of features, and the controls that every method must beat."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from analysis.checks import check_finite
from kernels.arguments import checked_arguments


@checked_arguments
def embedding_scores(
    test: Float[np.ndarray, "m p"],
    train: Float[np.ndarray, "n p"],
    kind: Literal["cosine", "dot", "distance"] = "cosine",
) -> Float[np.ndarray, "m n"]:
    """Score by cosine, dot product or negative Euclidean distance of embeddings.

    A zero vector has cosine 0 to everything. Scores do not know classes: positive means similar.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.attribution import embedding_scores
    >>> train = np.array([[2.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    >>> embedding_scores(np.array([[1.0, 0.0]]), train)
    array([[1. , 0.6, 0. ]])
    """
    check_finite(test=test, train=train)
    if kind == "distance":
        squared = (test**2).sum(1)[:, None] - 2 * test @ train.T + (train**2).sum(1)
        return -np.sqrt(np.maximum(squared, 0))
    if kind == "dot":
        return test @ train.T
    if kind != "cosine":
        raise ValueError(f"kind must be 'cosine', 'dot' or 'distance', got {kind!r}.")
    return _unit(test) @ _unit(train).T


def _unit(rows: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norm, out=np.zeros_like(rows), where=norm > 0)


def random_scores(m: int, n: int, rng: np.random.Generator) -> Float[np.ndarray, "m n"]:
    """Independent standard normal scores."""
    return rng.standard_normal((m, n))


def same_label_scores(classes: Int[np.ndarray, " m"], train_labels: Int[np.ndarray, " n"]) -> Float[np.ndarray, "m n"]:
    """Score 1 for training points of the attributed class, 0 for the others."""
    return (classes[:, None] == train_labels[None, :]).astype(np.float64)
