"""Arrays in, numbers and figures out: statistics of trained networks, one folder per theme.

Names are imported on first use (PEP 562), so that ``import analysis`` loads neither torch nor matplotlib. Each theme
exports more than is listed here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    # how typical one run is among others
    "trimming_level": "analysis.trimming.level",
    "consensus_levels": "analysis.trimming.references",
    "dkw_threshold": "analysis.trimming.thresholds",
    "bootstrap_levels": "analysis.trimming.bootstrap",
    # how much runs differ, how many of them to train, and which one to keep
    "compared_quantity": "analysis.variability.gaps",
    "recommend_seed_count": "analysis.variability.seed_count",
    "rank_seeds": "analysis.variability.seed_ranking",
    "run_metrics": "analysis.classifier_metrics",
    # a kernel machine in the place of a network
    "KernelGLM": "analysis.surrogates.glm",
    "KernelGLMCV": "analysis.surrogates.glm_cv",
    "KernelSVM": "analysis.surrogates.svm",
    "measure_faithfulness": "analysis.surrogates.faithfulness",
    # which training points support a decision
    "attribute": "analysis.attribution.decomposition",
    "tracin_scores": "analysis.attribution.tracin",
    "trak_scores": "analysis.attribution.trak",
    "linear_datamodeling_score": "analysis.attribution.retraining",
}
"""Public names, and the module that holds each."""

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a public name from the module that holds it."""
    if name not in _PLACES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
