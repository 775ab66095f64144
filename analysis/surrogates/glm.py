"""Kernel generalized linear models: the surrogate of the trNTK/pNTK study (arXiv:2305.14585)."""

from __future__ import annotations

import warnings
from typing import Any, Literal, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import log_expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import SGDClassifier
from sklearn.utils.class_weight import compute_class_weight

from analysis.surrogates.blocked_kernel import KernelBlocks
from analysis.surrogates.glm_losses import Formulation, score_loss
from analysis.surrogates.glm_solver import ConvergenceReport, Penalty, Solution, solve_kernel_glm
from analysis.surrogates.linear import LinearKernelClassifier
from kernels.arguments import check_settings


class KernelGLM(LinearKernelClassifier):
    """Classifier s(x) = W κ(x, X) + b whose features are the kernel rows.

    Parameters
    ----------
    alpha : float
        Penalty; the objective is mean weighted loss + (α/2) Σ_c w_cᵀ Q w_c, b unpenalized.
    formulation : {"ovr", "softmax"}
        One logistic problem per class, whose sigmoids are divided by their sum (the published code), or one
        multinomial problem (the published text).
    penalty : {"coefficients", "rkhs"}
        Q = I, or Q = K, which is the squared norm of the function.
    class_weight : {"balanced"}, dict or None
        As in scikit-learn; "balanced" gives class c the weight N/(C N_c).
    solver : {"newton-cg", "sgd"}
        Ours, to convergence, or the published stochastic one (one-vs-rest, coefficients, labels only).
    tol : float
        Gradient norm relative to that at zero weights (newton-cg); the published 1e-3 applies to sgd.
    max_iter : int
        Newton steps. sgd runs its published 1,000 epochs at most.
    device : str
        Torch device of the kernel products.
    memory : int
        Bytes that one row block of the kernel may take there. The kernel may be a memory map of any size.
    psd_tolerance : float or None
        Refuse kernels with λ_min < -psd_tolerance λ_max; None skips the check.
    random_state : int or None
        Seed of the solver. None with sgd repeats the published unseeded fit.

    Attributes
    ----------
    classes_, weights_, offsets_
        See `LinearKernelClassifier`.
    n_iter_ : int
    report_ : ConvergenceReport or None
        None after sgd, which knows no gradient norm.

    Notes
    -----
    `fit(K, y, probabilities=P)` fits the network's probabilities instead of the labels; y still sets the
    classes and their weights.

    References
    ----------
    Engel et al., "Faithful and Efficient Explanations for Neural Networks via Neural Tangent Kernel
    Surrogate Models", arXiv:2305.14585.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import KernelGLM
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> kernel, labels = x @ x.T, (x[:, 0] > 0).astype(int)
    >>> model = KernelGLM(alpha=1e-3).fit(kernel[:30, :30], labels[:30])
    >>> model.predict(kernel[30:, :30]), labels[30:]
    (array([0, 0, 1, 0, 0, 0, 0, 1, 1, 1]), array([0, 0, 1, 0, 0, 0, 0, 1, 1, 1]))
    """

    alpha: float
    formulation: Formulation
    penalty: Penalty
    class_weight: Literal["balanced"] | dict[Any, float] | None
    solver: Literal["newton-cg", "sgd"]
    tol: float
    max_iter: int
    device: str | torch.device
    memory: int
    psd_tolerance: float | None
    random_state: int | None

    @no_type_check  # scikit-learn: constructors store anything, `fit` judges
    def __init__(
        self,
        alpha=1e-4,
        *,
        formulation="ovr",
        penalty="coefficients",
        class_weight="balanced",
        solver="newton-cg",
        tol=1e-6,
        max_iter=100,
        device="cpu",
        memory=2**30,
        psd_tolerance=1e-5,
        random_state=0,
    ) -> None:
        self.alpha = alpha
        self.formulation = formulation
        self.penalty = penalty
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.device = device
        self.memory = memory
        self.psd_tolerance = psd_tolerance
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, probabilities: Any = None) -> KernelGLM:
        """Fit to labels, or to a network's probabilities.

        Parameters
        ----------
        X : array_like, shape (n, n)
            Training kernel.
        y : array_like, shape (n,)
            Labels.
        probabilities : array_like, shape (n, C), or None
            Targets in the order of the sorted classes; rows sum to 1.

        Returns
        -------
        self
        """
        self._check_options(probabilities is not None)
        kernel, labels = self._check_fit(X, y, self.psd_tolerance)
        if self.solver == "sgd":
            return self._fit_sgd(kernel, labels)
        targets = self._targets(labels, probabilities)
        return self._fit_newton(kernel, labels, targets, self.alpha)

    def _fit_newton(self, kernel: np.ndarray, labels: np.ndarray, targets: np.ndarray, alpha: float) -> KernelGLM:
        solution = self._solve(kernel, labels, targets, alpha, None, None)
        self._set_weights(solution.weights.T.cpu().numpy(), solution.intercept.cpu().numpy())
        self.report_: ConvergenceReport | None = solution.report
        self.n_iter_ = max(1, solution.report.n_iter)
        if not solution.report.converged:
            warnings.warn(
                f"KernelGLM stopped after {solution.report.n_iter} Newton steps at relative gradient norm "
                f"{solution.report.gradient_norm:.2g} (tol {self.tol:g}), loss gap at most "
                f"{solution.report.gap:.2g} of {solution.report.objective:.4g}. Raise max_iter or alpha.",
                ConvergenceWarning,
                stacklevel=3,
            )
        if alpha == 0:
            self._warn_if_separated(kernel, labels)
        return self

    def _solve(
        self,
        kernel: Float[np.ndarray, "N N"],
        labels: Int[np.ndarray, " N"],
        targets: Float[np.ndarray, "n C"],
        alpha: float,
        chosen: Int[np.ndarray, " n"] | None,
        start: Solution | None,
    ) -> Solution:
        """Fit on the points `chosen` (all of them: None), dropping rows and columns of the others.

        Class weights come from all labels, so that every fold minimizes the same objective.
        """
        blocks = KernelBlocks(kernel, rows=chosen, columns=chosen, device=self.device, memory=self.memory)
        weights = self._class_weights(labels, targets.shape[1])
        loss = score_loss(targets, weights, self.formulation, blocks.device)
        warm = None if start is None else (start.weights, start.intercept)
        return solve_kernel_glm(
            blocks,
            loss,
            alpha,
            penalty=self.penalty,
            tol=self.tol,
            max_iter=self.max_iter,
            seed=self.random_state or 0,
            start=warm,
        )

    def _check_options(self, soft: bool) -> None:
        check_settings(self)
        for name, allowed in (
            ("formulation", ("ovr", "softmax")),
            ("penalty", ("coefficients", "rkhs")),
            ("solver", ("newton-cg", "sgd")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}.")
        if not np.isfinite(self.alpha) or self.alpha < 0:
            raise ValueError(f"alpha must be finite and at least 0, got {self.alpha}.")
        for name in ("tol", "max_iter", "memory"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")
        if self.solver == "sgd" and (self.formulation != "ovr" or self.penalty != "coefficients" or soft):
            raise ValueError(
                "solver='sgd' is the published fit: formulation='ovr', penalty='coefficients', labels as "
                "targets. Use solver='newton-cg' for anything else."
            )

    def _class_weights(self, labels: Int[np.ndarray, " n"], n_classes: int) -> Float[np.ndarray, " C"]:
        given = self.class_weight
        if isinstance(given, dict):
            given = {i: given.get(c, 1.0) for i, c in enumerate(self.classes_)}
        return compute_class_weight(given, classes=np.arange(n_classes), y=labels).astype(np.float64)

    def _targets(self, labels: Int[np.ndarray, " n"], probabilities: Any) -> Float[np.ndarray, "n C"]:
        n_classes = len(self.classes_)
        if probabilities is None:
            return np.eye(n_classes)[labels]
        targets = np.asarray(probabilities, np.float64)
        if targets.shape != (len(labels), n_classes):
            raise ValueError(
                f"probabilities must have shape {(len(labels), n_classes)} (points, classes), got {targets.shape}."
            )
        if not (np.isfinite(targets).all() and (targets >= 0).all() and np.allclose(targets.sum(1), 1, atol=1e-4)):
            raise ValueError("probabilities must be non-negative rows that sum to 1; pass softmax outputs.")
        return targets / targets.sum(1, keepdims=True)

    def _fit_sgd(self, kernel: Float[np.ndarray, "n n"], labels: Int[np.ndarray, " n"]) -> KernelGLM:
        weights = self._class_weights(labels, len(self.classes_))
        machine = SGDClassifier(
            loss="log_loss",
            alpha=self.alpha,
            class_weight=dict(enumerate(weights)),
            max_iter=1000,
            tol=1e-3,
            random_state=self.random_state,
        ).fit(kernel, labels)
        self._set_weights(machine.coef_.astype(np.float64), machine.intercept_.astype(np.float64))
        self.report_, self.n_iter_ = None, int(machine.n_iter_)
        return self

    def _warn_if_separated(self, kernel: np.ndarray, labels: np.ndarray) -> None:
        scores = self.scores(kernel)
        if self.formulation == "ovr":
            parted = [((s > 0) == (labels == c)).all() for c, s in enumerate(scores.T)]
        else:
            parted = [bool((scores.argmax(1) == labels).all())]
        if any(parted):
            warnings.warn(
                "alpha = 0 and the training classes are separable: the loss has no minimum and the weights "
                "are where the solver stopped. Choose a penalty, for example alpha=1e-6.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def log_scores(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return unnormalized log-probabilities: log-sigmoids of one-vs-rest scores, softmax scores as they are."""
        scores = self.scores(X)
        return log_expit(scores) if self.formulation == "ovr" else scores

    def _binary_decision(self, scores: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, " m"]:
        return scores[:, 1] if self.formulation == "ovr" else scores[:, 1] - scores[:, 0]
