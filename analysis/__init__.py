"""Arrays in, numbers and figures out: statistics of trained networks, one folder per theme.

Names are imported on first use (PEP 562), so that ``import analysis`` loads neither torch nor matplotlib. Each theme
exports more than is listed here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    # one call from one's own arrays to a table, a figure and a page
    "compare_runs": "analysis.comparison.runs",
    "compare_layers": "analysis.comparison.layers",
    "surrogate_report": "analysis.comparison.surrogate",
    # how typical one run is among others
    "trimming_level": "analysis.trimming.level",
    "consensus_levels": "analysis.trimming.references",
    "dkw_threshold": "analysis.trimming.thresholds",
    "bootstrap_levels": "analysis.trimming.bootstrap",
    # how much runs differ, how many of them to train, and which one to keep
    "compared_quantity": "analysis.variability.gaps",
    "recommend_seed_count": "analysis.variability.seed_count",
    "rank_seeds": "analysis.variability.seed_ranking",
    "ambiguity": "analysis.variability.multiplicity",
    "discrepancy": "analysis.variability.multiplicity",
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
    # a kernel machine in the place of a network's head
    "factorize_features": "analysis.regression.least_squares",
    "factorize_gram": "analysis.regression.least_squares",
    "fit_kernel_logistic": "analysis.regression.logistic",
    # what the features of each layer already separate
    "probe_layer": "analysis.probes.layer",
    "fit_pca": "analysis.probes.streaming_pca",
    "measure_neural_collapse": "analysis.probes.neural_collapse",
    "bootstrap_onset": "analysis.probes.onset",
    # whether two samples come from one source
    "mmd_test": "analysis.shift.kernel_tests",
    "split_classifier_test": "analysis.shift.classifier_test",
    "pooled_pca_ks": "analysis.shift.pca_ks",
    # what training did to the spectra of weights and kernels
    "weight_spectrum": "analysis.spectra.weights",
    "describe_spectrum": "analysis.spectra.weights",
    "tail_report": "analysis.spectra.heavy_tails",
    "gauss_newton_critical_rate": "analysis.spectra.critical_rate",
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
