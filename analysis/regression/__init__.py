"""Kernel regression and kernel logistic regression in the place of a network's head."""

from analysis.regression.least_squares import factorize_blocks, factorize_features, factorize_gram
from analysis.regression.logistic import (
    fit_feature_logistic,
    fit_kernel_logistic,
    fit_published_logistic,
    logistic_path,
)
from analysis.regression.loss_ratio import kernel_loss_ratio
from analysis.regression.nystrom import choose_centers, fit_nystrom_logistic
from analysis.regression.regularity import effective_dimension, eigenvalue_decay

__all__ = [
    "choose_centers",
    "effective_dimension",
    "eigenvalue_decay",
    "factorize_blocks",
    "factorize_features",
    "factorize_gram",
    "fit_feature_logistic",
    "fit_kernel_logistic",
    "fit_nystrom_logistic",
    "fit_published_logistic",
    "kernel_loss_ratio",
    "logistic_path",
]
