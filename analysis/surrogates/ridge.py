"""Kernel ridge regression as a classifier that can be attributed."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve

from analysis.surrogates.linear import LinearKernelClassifier
from kernels.arguments import check_settings


class KernelRidgeSurrogate(LinearKernelClassifier):
    """Ridge regression s(x) = W κ(x, X) + b onto class indicators or onto a network's logits.

    Solves min Σ_i ‖t_i - s(x_i)‖² + α Σ_c w_cᵀKw_c with unpenalized b: (K + αI)W = T - 1b, 1ᵀW = 0.

    Parameters
    ----------
    alpha : float
        Penalty on the squared norm of the function; not divided by n.
    psd_tolerance : float or None
        See `KernelGLM`.

    Attributes
    ----------
    classes_, weights_, offsets_
        See `LinearKernelClassifier`.

    Notes
    -----
    With indicators as targets the scores estimate class probabilities by least squares; `predict_proba` is the
    softmax of the scores and is not calibrated. With logits as targets it estimates the network's own softmax.

    References
    ----------
    Saunders, Gammerman and Vovk (1998), "Ridge regression learning algorithm in dual variables".

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import KernelRidgeSurrogate
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> kernel, labels = x @ x.T, (x[:, 0] > 0).astype(int)
    >>> model = KernelRidgeSurrogate(alpha=0.1).fit(kernel[:30, :30], labels[:30])
    >>> model.score(kernel[30:, :30], labels[30:])
    1.0
    """

    alpha: float
    psd_tolerance: float | None

    @no_type_check  # scikit-learn: constructors store anything, `fit` judges
    def __init__(self, alpha=1.0, *, psd_tolerance=1e-5) -> None:
        self.alpha = alpha
        self.psd_tolerance = psd_tolerance

    def fit(self, X: Any, y: Any, *, logits: Any = None) -> KernelRidgeSurrogate:
        """Fit to labels, or to a network's logits.

        Parameters
        ----------
        X : array_like, shape (n, n)
            Training kernel.
        y : array_like, shape (n,)
            Labels; they set the classes.
        logits : array_like, shape (n, C), or None
            Regression targets in the order of the sorted classes instead of class indicators.

        Returns
        -------
        self
        """
        check_settings(self)
        if not self.alpha > 0:
            raise ValueError(f"alpha must be positive (a kernel of duplicates is singular), got {self.alpha}.")
        kernel, labels = self._check_fit(X, y, self.psd_tolerance)
        n, n_classes = len(labels), len(self.classes_)
        targets = np.eye(n_classes)[labels] if logits is None else np.asarray(logits, np.float64)
        if targets.shape != (n, n_classes) or not np.isfinite(targets).all():
            raise ValueError(f"logits must be finite with shape {(n, n_classes)}, got {targets.shape}.")
        system = np.array(kernel, np.float64)
        system[np.diag_indices(n)] += self.alpha
        right = np.column_stack([targets, np.ones(n)])
        # Cholesky only where the kernel's positivity was checked
        solved = solve(system, right, assume_a="sym" if self.psd_tolerance is None else "pos")
        offsets = solved[:, :-1].sum(0) / solved[:, -1].sum()
        self._set_weights((solved[:, :-1] - np.outer(solved[:, -1], offsets)).T, offsets)
        return self

    def log_scores(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return the scores themselves as unnormalized log-probabilities."""
        return self.scores(X)

    def _binary_decision(self, scores: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, " m"]:
        return scores[:, 1] - scores[:, 0]
