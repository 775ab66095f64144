"""Linear probes of embeddings: log odds of each class, the class that they guess, and random features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import pdist

from analysis.shift.classifier_test import PENALTIES, fit_and_score, standardized

Source = tuple[np.ndarray, np.ndarray]
"""Embeddings (n, d) and labels (n,) of one source."""


def probe_log_odds(
    train: Source, queries: np.ndarray, *, generator: np.random.Generator, penalties: Sequence[float] = PENALTIES
) -> Float[np.ndarray, " m"]:
    """Fit the probe on rows standardized by themselves, penalty chosen inside them, and score other rows.

    Parameters
    ----------
    train : pair of (embeddings, labels 0/1)
    queries : ndarray, shape (m, d)
    generator : numpy Generator
        Draws the five folds that choose the penalty.
    penalties : sequence of float

    Returns
    -------
    ndarray, shape (m,)
        Log odds of class 1.
    """
    x, y = train
    scaled, points = standardized(x.astype(np.float64), queries.astype(np.float64))
    folds = generator.permutation(np.arange(len(y)) % 5)
    scores, _ = fit_and_score(scaled, np.where(y == 1, 1.0, -1.0)[:, None], points, penalties, folds)
    return scores[:, 0]


def probe_scores(
    train: Source, queries: np.ndarray, *, generator: np.random.Generator, penalties: Sequence[float] = PENALTIES
) -> tuple[Float[np.ndarray, "m k"], np.ndarray]:
    """Fit a probe of each class against the rest, as `probe_log_odds` fits one, and score other rows.

    Parameters
    ----------
    train : pair of (embeddings, labels)
    queries : ndarray, shape (m, d)
    generator : numpy Generator
        Draws the five folds that choose the penalty of each class.
    penalties : sequence of float

    Returns
    -------
    scores : ndarray, shape (m, k)
        Log odds of each class; for two classes one column, of the larger one.
    classes : ndarray, shape (max(k, 2),)
        In the order of the columns.
    """
    x, y = train
    classes = np.unique(y)
    if classes.tolist() == [0, 1]:
        return probe_log_odds(train, queries, generator=generator, penalties=penalties)[:, None], classes
    columns = classes if len(classes) > 2 else classes[1:]
    scaled, points = standardized(x.astype(np.float64), queries.astype(np.float64))
    folds = generator.permutation(np.arange(len(y)) % 5)
    scores, _ = fit_and_score(scaled, np.where(y[:, None] == columns, 1.0, -1.0), points, penalties, folds)
    return scores, classes


def guessed(scores: Float[np.ndarray, "m k"], classes: np.ndarray) -> np.ndarray:
    """Give the class of the largest log odds; of two classes, the second one where its odds exceed 1."""
    places = (scores[:, 0] > 0).astype(int) if len(classes) == 2 else scores.argmax(axis=1)
    return np.asarray(classes[places])


def random_fourier_features(
    train: Float[np.ndarray, "n d"], queries: Float[np.ndarray, "m d"], *, width: int, generator: np.random.Generator
) -> tuple[Float[np.ndarray, "n w"], Float[np.ndarray, "m w"]]:
    """Map rows to √(2/w) cos(Wx/h + b), whose inner products approach the Gaussian kernel of bandwidth h.

    The bandwidth is the median distance between at most 500 training rows; a zero median falls back to 1.

    Parameters
    ----------
    train, queries : ndarray, shape (n, d) and (m, d)
    width : int
        Number of features w.
    generator : numpy Generator
        Draws W from N(0, 1) and b from U(0, 2π).

    Returns
    -------
    pair of ndarray, shapes (n, w) and (m, w)

    References
    ----------
    Rahimi and Recht, Random features for large-scale kernel machines, NIPS 2007.
    """
    if width < 1:
        raise ValueError(f"random features need a positive width, got {width}.")
    few = train[generator.permutation(len(train))[:500]].astype(np.float64)
    bandwidth = float(np.median(pdist(few))) or 1.0
    directions = np.asarray(generator.standard_normal((train.shape[1], width))) / bandwidth
    phases = np.asarray(generator.uniform(0.0, 2.0 * np.pi, width))
    first, second = (
        np.sqrt(2.0 / width) * np.cos(rows.astype(np.float64) @ directions + phases) for rows in (train, queries)
    )
    return first, second
