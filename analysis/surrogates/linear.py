"""What every surrogate that is linear in kernel rows shares: scores, probabilities, scikit-learn's contract."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import log_expit, log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from analysis.checks import check_training_kernel
from analysis.surrogates.blocked_kernel import KernelBlocks
from kernels.arguments import check_settings


class LinearKernelClassifier(ClassifierMixin, BaseEstimator):
    """Base of classifiers s(x) = W κ(x, X) + b on precomputed kernels.

    Subclasses set, in `fit`, `weights_` (C, N) and `offsets_` (C,), one row for **every** class; a
    binary one-vs-rest model stores -w, w. Attribution reads these two arrays and nothing else.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    weights_ : ndarray, shape (C, N)
    offsets_ : ndarray, shape (C,)
    """

    classes_: np.ndarray
    weights_: np.ndarray
    offsets_: np.ndarray

    def __sklearn_tags__(self) -> Any:
        """Declare precomputed kernels, so that scikit-learn drops rows and columns together."""
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = True
        return tags

    @abstractmethod
    def fit(self, X: Any, y: Any) -> LinearKernelClassifier:
        """Fit on a training kernel (n, n) and labels (n,)."""

    def _check_fit(
        self, X: Any, y: Any, psd_tolerance: float | None
    ) -> tuple[Float[np.ndarray, "n n"], Int[np.ndarray, " n"]]:
        """Validate the training kernel and encode labels as 0..C-1 into `classes_`."""
        check_settings(self)
        kernel, labels = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        if kernel.shape[0] != kernel.shape[1]:
            raise ValueError(f"A precomputed training kernel is square (train x train); X has shape {kernel.shape}.")
        encoder = LabelEncoder().fit(labels)
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError(
                f"A surrogate needs at least 2 classes; the training labels hold one class ({self.classes_[0]!r})."
            )
        check_training_kernel(kernel, psd_tolerance)
        return kernel, encoder.transform(labels)

    def scores(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return s(x) for every class from kernel rows (m, n), test points against training points."""
        check_is_fitted(self, "weights_")
        kernel = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        blocks = KernelBlocks(kernel)
        product = blocks.times(torch.from_numpy(np.ascontiguousarray(self.weights_.T)))
        return product.numpy() + self.offsets_

    def log_scores(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return unnormalized log-probabilities; the faithfulness metrics work on these, free of saturation."""
        return log_expit(self.scores(X))

    def decision_function(self, X: Any) -> Float[np.ndarray, "..."]:
        """Return s(x): shape (m, C), or (m,) with class 1 positive when C = 2."""
        scores = self.scores(X)
        return scores if len(self.classes_) > 2 else self._binary_decision(scores)

    def _binary_decision(self, scores: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, " m"]:
        return scores[:, 1]

    def predict_log_proba(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return normalized log-probabilities."""
        return log_softmax(self.log_scores(X), axis=1)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return probabilities; one-vs-rest sigmoids are divided by their sum."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of the largest score."""
        best = self.scores(X).argmax(1)
        return self.classes_[best]

    def _set_weights(self, weights: Float[np.ndarray, "c n"], offsets: Float[np.ndarray, " c"]) -> None:
        """Store one row per class; a single row belongs to class 1 of a binary problem."""
        if weights.shape[0] == 1:
            weights, offsets = np.vstack([-weights, weights]), np.concatenate([-offsets, offsets])
        self.weights_, self.offsets_ = weights, offsets
