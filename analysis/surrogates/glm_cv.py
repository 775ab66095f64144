"""The penalty of a kernel generalized linear model, chosen by cross-validation on the kernel itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import log_expit, log_softmax
from sklearn.model_selection import StratifiedKFold

from analysis.surrogates.blocked_kernel import KernelBlocks
from analysis.surrogates.glm import KernelGLM


class KernelGLMCV(KernelGLM):
    """Kernel GLM whose penalty is chosen by cross-validation on the kernel itself.

    A fold drops the held-out points' rows **and** columns, by index: no sub-matrix is copied to disk. Along
    the path of penalties, from the largest down, each fit starts at the one before.

    Parameters
    ----------
    alphas : sequence of float
        Candidates.
    cv : int
        Stratified folds, shuffled with `random_state`; lowered to the smallest class's size.
    formulation, penalty, class_weight, tol, max_iter, device, memory, psd_tolerance, random_state
        See `KernelGLM`.

    Attributes
    ----------
    alpha_ : float
        Candidate of least mean held-out negative log-likelihood.
    cv_loss_ : ndarray, shape (folds, candidates)
        Held-out negative log-likelihood per point, in the order of `cv_alphas_`.
    cv_alphas_ : ndarray, shape (candidates,)
        Candidates, largest first.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import KernelGLMCV
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> kernel, labels = x @ x.T, (x[:, 0] > 0).astype(int)
    >>> model = KernelGLMCV(alphas=[1e-4, 1e-2, 1.0], cv=3).fit(kernel[:30, :30], labels[:30])
    >>> model.alpha_, model.score(kernel[30:, :30], labels[30:])
    (0.01, 1.0)
    """

    alphas: Sequence[float]
    cv: int

    @no_type_check  # scikit-learn: constructors store anything, `fit` judges
    def __init__(
        self,
        alphas=(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
        *,
        cv=5,
        formulation="ovr",
        penalty="coefficients",
        class_weight="balanced",
        tol=1e-6,
        max_iter=100,
        device="cpu",
        memory=2**30,
        psd_tolerance=1e-5,
        random_state=0,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.formulation = formulation
        self.penalty = penalty
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.device = device
        self.memory = memory
        self.psd_tolerance = psd_tolerance
        self.random_state = random_state

    solver: Literal["newton-cg", "sgd"] = "newton-cg"
    alpha: float = 1.0

    def fit(self, X: Any, y: Any, *, probabilities: Any = None) -> KernelGLM:
        """Choose alpha, then fit on all points; parameters as in `KernelGLM.fit`."""
        self._check_options(probabilities is not None)
        path = np.sort(np.asarray(self.alphas, np.float64))[::-1]
        if path.size == 0 or not (path > 0).all():
            raise ValueError(f"alphas must be positive numbers, got {list(self.alphas)}.")
        if self.cv < 2:
            raise ValueError(f"cv={self.cv}: cross-validation needs at least 2 folds.")
        kernel, labels = self._check_fit(X, y, self.psd_tolerance)
        targets = self._targets(labels, probabilities)
        n_folds = max(2, min(self.cv, int(np.bincount(labels).min())))
        folds = StratifiedKFold(n_folds, shuffle=True, random_state=self.random_state or 0)
        self.cv_alphas_ = path
        self.cv_loss_ = np.stack([self._fold_loss(kernel, labels, targets, *f) for f in folds.split(labels, labels)])
        self.alpha_ = float(path[self.cv_loss_.mean(0).argmin()])
        return self._fit_newton(kernel, labels, targets, self.alpha_)

    def _fold_loss(
        self, kernel: np.ndarray, labels: np.ndarray, targets: np.ndarray, kept: np.ndarray, held: np.ndarray
    ) -> Float[np.ndarray, " candidates"]:
        rows = KernelBlocks(kernel, rows=held, columns=kept, device=self.device, memory=self.memory)
        losses, solution = [], None
        for alpha in self.cv_alphas_:
            solution = self._solve(kernel, labels, targets[kept], float(alpha), kept, solution)
            scores = (rows.times(solution.weights) + solution.intercept).cpu()
            if scores.shape[1] == 1:
                scores = torch.cat([-scores, scores], 1)
            values = scores.numpy()
            log_p = log_softmax(log_expit(values) if self.formulation == "ovr" else values, axis=1)
            losses.append(-(targets[held] * log_p).sum(1).mean())
        return np.array(losses)
