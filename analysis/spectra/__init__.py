"""Spectra of weights and kernels: random-matrix laws, outliers and heavy tails, alignment, and the critical rate."""

from analysis.spectra.alignment import feature_target_alignment, kernel_target_alignment
from analysis.spectra.classes import classify_spectrum
from analysis.spectra.critical_rate import gauss_newton_critical_rate
from analysis.spectra.deformed_laws import conjugate_kernel_law, deformed_law_of_inputs
from analysis.spectra.heavy_tails import gaussian_null, tail_report
from analysis.spectra.kernel_evolution import spectral_evolution
from analysis.spectra.marchenko_pastur import MarchenkoPastur, tracy_widom_edge
from analysis.spectra.matrix_views import weight_matrices
from analysis.spectra.outliers import count_outliers, predict_spike
from analysis.spectra.stability import stability_threshold
from analysis.spectra.tail_rivals import likelihood_ratios
from analysis.spectra.weights import describe_spectrum, weight_spectrum
from analysis.spectra.weightwatcher import weightwatcher_alpha, weightwatcher_fit

__all__ = [
    "MarchenkoPastur",
    "classify_spectrum",
    "conjugate_kernel_law",
    "count_outliers",
    "deformed_law_of_inputs",
    "describe_spectrum",
    "feature_target_alignment",
    "gauss_newton_critical_rate",
    "gaussian_null",
    "kernel_target_alignment",
    "likelihood_ratios",
    "predict_spike",
    "spectral_evolution",
    "stability_threshold",
    "tail_report",
    "tracy_widom_edge",
    "weight_matrices",
    "weight_spectrum",
    "weightwatcher_alpha",
    "weightwatcher_fit",
]
