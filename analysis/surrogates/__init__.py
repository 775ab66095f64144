"""Kernel machines in the place of a network, and how closely they follow it."""

from __future__ import annotations

from analysis.surrogates.faithfulness import binary_log_scores, log_odds, measure_faithfulness
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.glm_cv import KernelGLMCV
from analysis.surrogates.named_tau import (
    tau,
    tau_published_bert,
    tau_published_glm,
    tau_published_poison,
    tau_published_svm,
)
from analysis.surrogates.neighbors import KernelNeighbors
from analysis.surrogates.rank_correlations import kendall_tau, rounded_ranks
from analysis.surrogates.ridge import KernelRidgeSurrogate
from analysis.surrogates.svm import KernelSVM
from analysis.surrogates.tangent_machine import TangentMachine

__all__ = [
    "KernelGLM",
    "KernelGLMCV",
    "KernelNeighbors",
    "KernelRidgeSurrogate",
    "KernelSVM",
    "TangentMachine",
    "binary_log_scores",
    "kendall_tau",
    "log_odds",
    "measure_faithfulness",
    "rounded_ranks",
    "tau",
    "tau_published_bert",
    "tau_published_glm",
    "tau_published_poison",
    "tau_published_svm",
]
