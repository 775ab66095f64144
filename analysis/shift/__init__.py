"""Two-sample tests of distribution shift, their level and power, probes trained across the shift, and text cues.

Procedures with an unknown level (a basis fitted on one side, p-values of pooled cross-validated predictions) are not
offered; their measured false-alarm rates are in docs/studies/shift.md.
"""

from analysis.shift.classifier_test import cross_validated_classifier_test, split_classifier_test
from analysis.shift.cues import cue_rates
from analysis.shift.frechet import frechet_distance, frechet_test
from analysis.shift.kernel_tests import class_conditional, energy_test, mmd_test
from analysis.shift.pca_ks import pooled_pca_ks
from analysis.shift.power import null_calibration, power_curve
from analysis.shift.probes import probe_matrix
from analysis.shift.samples import clean_pair, matched_draws

__all__ = [
    "class_conditional",
    "clean_pair",
    "cross_validated_classifier_test",
    "cue_rates",
    "energy_test",
    "frechet_distance",
    "frechet_test",
    "matched_draws",
    "mmd_test",
    "null_calibration",
    "pooled_pca_ks",
    "power_curve",
    "probe_matrix",
    "split_classifier_test",
]
