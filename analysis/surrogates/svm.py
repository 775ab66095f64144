"""Support vector machines on precomputed kernels, with seeded probability calibration."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize_scalar
from scipy.special import log_expit
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.svm import SVC

from analysis.surrogates.linear import LinearKernelClassifier


def calibrate_slope(decision: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """Fit P(positive | d) = σ(a d) by maximum likelihood with Platt's smoothed targets.

    Parameters
    ----------
    decision : ndarray, shape (n,)
        Held-out decision values.
    positive : ndarray of bool, shape (n,)
        Class membership.

    Returns
    -------
    float
        a > 0; decisions that rank the classes backwards give a tiny slope.
    """
    up, down = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (up + 1) / (up + 2), 1 / (down + 2))
    scale = max(float(np.abs(decision).max()), np.finfo(np.float64).tiny)
    d = decision / scale

    def loss(log_slope: float) -> float:
        z = np.exp(log_slope) * d
        return float(-(target * log_expit(z) + (1 - target) * log_expit(-z)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-10.0, 10.0), method="bounded").x) / scale)


class KernelSVM(LinearKernelClassifier):
    """Support vector machine s(x) = W κ(x, X) + b, one machine per class (one machine when C = 2).

    scikit-learn's multi-class `SVC` votes between pairs, so that its score is not linear in κ. One machine
    per class keeps the attribution identity: W_ci = α_i y_i for class c against the rest.

    Parameters
    ----------
    C : float
        Slack penalty; the published value is 1.
    calibration_folds : int
        Shuffled stratified folds behind the probabilities (published: 5, inside libsvm and unseeded).
        Lowered to a class's size where that is smaller; a class of one point is calibrated in sample.
    psd_tolerance : float or None
        See `KernelGLM`.
    random_state : int
        Seed of the folds.

    Attributes
    ----------
    classes_, weights_, offsets_
        See `LinearKernelClassifier`.
    slope_ : float
        Calibration: p_c = σ(slope s_c), divided by their sum.
    n_support_ : ndarray, shape (machines,)
        Number of support vectors of each machine.

    Notes
    -----
    Platt's sigmoid without its offset and with one slope for all classes: the most probable class is then
    always the machines' own decision. Ranks and R² of a binary machine are those of the published Platt fit,
    which differs by an affine map of the log-odds.

    References
    ----------
    Platt (1999), "Probabilistic outputs for support vector machines"; Engel et al., arXiv:2305.14585, baseline kSVM.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.surrogates import KernelSVM
    >>> x = np.random.default_rng(0).normal(size=(40, 3))
    >>> kernel, labels = x @ x.T, (x[:, 0] > 0).astype(int)
    >>> model = KernelSVM().fit(kernel[:30, :30], labels[:30])
    >>> model.n_support_, model.score(kernel[30:, :30], labels[30:])
    (array([8]), 1.0)
    """

    C: float
    calibration_folds: int
    psd_tolerance: float | None
    random_state: int

    @no_type_check  # scikit-learn: constructors store anything, `fit` judges
    def __init__(
        self,
        C=1.0,
        *,
        calibration_folds=5,
        psd_tolerance=1e-5,
        random_state=0,
    ) -> None:
        self.C = C
        self.calibration_folds = calibration_folds
        self.psd_tolerance = psd_tolerance
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> KernelSVM:
        """Fit on a training kernel (n, n) and labels (n,)."""
        kernel, labels = self._check_fit(X, y, self.psd_tolerance)
        if not (self.C > 0 and np.isfinite(self.C)):
            raise ValueError(f"C must be finite and above 0, got {self.C}.")
        if self.calibration_folds < 2:
            raise ValueError(f"calibration_folds={self.calibration_folds}: cross-validation needs at least 2 folds.")
        n_classes = len(self.classes_)
        weights, offsets, held_out, members, support = [], [], [], [], []
        for c in [1] if n_classes == 2 else range(n_classes):
            member = labels == c
            machine = SVC(kernel="precomputed", C=self.C)
            held_out.append(self._held_out_decision(machine, kernel, member))
            members.append(member)
            machine.fit(kernel, member)
            row = np.zeros(len(labels))
            row[machine.support_] = machine.dual_coef_[0]
            weights.append(row)
            offsets.append(machine.intercept_[0])
            support.append(len(machine.support_))
        self._set_weights(np.array(weights), np.array(offsets))
        self.slope_ = calibrate_slope(np.concatenate(held_out), np.concatenate(members))
        self.n_support_ = np.array(support)
        return self

    def _held_out_decision(
        self, machine: SVC, kernel: Float[np.ndarray, "n n"], member: Bool[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        smaller = int(min(member.sum(), (~member).sum()))
        if smaller < 2:
            return machine.fit(kernel, member).decision_function(kernel)
        folds = StratifiedKFold(min(self.calibration_folds, smaller), shuffle=True, random_state=self.random_state)
        return cross_val_predict(machine, kernel, member, cv=folds, method="decision_function")

    def log_scores(self, X: Any) -> Float[np.ndarray, "m C"]:
        """Return log σ(slope s) of each class; their normalized exponentials are the probabilities."""
        return log_expit(self.scores(X) * self.slope_)
