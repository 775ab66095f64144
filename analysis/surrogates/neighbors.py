"""Nearest neighbors in kernel similarity: the surrogate that a k-NN explanation stands for."""

from __future__ import annotations

from typing import Any, Literal, no_type_check

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from analysis.checks import check_training_kernel
from kernels.arguments import check_settings


class KernelNeighbors(ClassifierMixin, BaseEstimator):
    """k-nearest-neighbor vote in the kernel's own metric on precomputed kernels.

    Parameters
    ----------
    k : int
        Number of neighbors; lowered to n where n is smaller.
    metric : {"distance", "similarity"}
        Rank neighbors by κ(x, x) - 2κ(x, x_i) + κ(x_i, x_i), whose first term is shared by all, or by
        κ(x, x_i). They agree on cosine kernels.
    psd_tolerance : float or None
        See `KernelGLM`.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    labels_ : ndarray of int, shape (n,)
    diagonal_ : ndarray, shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import KernelNeighbors
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> kernel, labels = x @ x.T, (x[:, 0] > 0).astype(int)
    >>> model = KernelNeighbors(k=3).fit(kernel[:30, :30], labels[:30])
    >>> model.neighbors(kernel[30:32, :30])  # nearest training points of two test points
    array([[26,  6, 21],
           [12, 17, 28]])
    >>> model.predict_proba(kernel[30:32, :30]).round(2)
    array([[0.33, 0.67],
           [1.  , 0.  ]])
    """

    k: int
    metric: Literal["distance", "similarity"]
    psd_tolerance: float | None

    @no_type_check  # scikit-learn: constructors store anything, `fit` judges
    def __init__(
        self,
        k=5,
        *,
        metric="distance",
        psd_tolerance=1e-5,
    ) -> None:
        self.k = k
        self.metric = metric
        self.psd_tolerance = psd_tolerance

    def __sklearn_tags__(self) -> Any:
        """Declare precomputed kernels."""
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = True
        return tags

    def fit(self, X: Any, y: Any) -> KernelNeighbors:
        """Store labels and the diagonal of a training kernel (n, n)."""
        check_settings(self)
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}.")
        if self.metric not in ("distance", "similarity"):
            raise ValueError(f"metric must be 'distance' or 'similarity', got {self.metric!r}.")
        kernel, labels = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        if kernel.shape[0] != kernel.shape[1]:
            raise ValueError(f"A precomputed training kernel is square (train x train); X has shape {kernel.shape}.")
        check_training_kernel(kernel, self.psd_tolerance)
        encoder = LabelEncoder().fit(labels)
        self.classes_, self.labels_ = encoder.classes_, encoder.transform(labels)
        self.diagonal_ = np.array(np.diagonal(kernel), np.float64)
        return self

    def neighbors(self, X: Any) -> Int[np.ndarray, "m k"]:
        """Return training indices, nearest first, for kernel rows (m, n)."""
        check_is_fitted(self, "labels_")
        kernel = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        closeness = kernel if self.metric == "similarity" else 2 * kernel - self.diagonal_
        return np.argsort(-closeness, axis=1, kind="stable")[:, : self.k]

    def predict_proba(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return each class's share of the vote."""
        nearest = self.neighbors(X)
        votes = self.labels_[nearest]
        return (votes[:, :, None] == np.arange(len(self.classes_))).mean(1)

    def log_scores(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return log vote shares with one pseudo-vote spread over the classes, finite where a class has none."""
        votes = self.predict_proba(X)
        k = min(self.k, len(self.labels_))
        return np.log((k * votes + 1 / votes.shape[1]) / (k + 1))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of most votes (the smallest class among equals)."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def attributions(self, X: Any, classes: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m n"]:
        """Return the share of each training point in a class's vote, positive when it votes for it."""
        nearest = self.neighbors(X)
        scores = np.zeros((len(nearest), len(self.labels_)))
        rows = np.arange(len(nearest))[:, None]
        scores[rows, nearest] = (self.labels_[nearest] == classes[:, None]) / nearest.shape[1]
        return scores
