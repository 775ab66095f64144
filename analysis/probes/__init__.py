"""Surrogate classifiers on the features of a network's layers: accuracy by component, neural collapse and its onset."""

from analysis.probes.curves import knn_curve
from analysis.probes.example_depth import layer_votes, prediction_depth
from analysis.probes.labeled_features import LabeledFeatures
from analysis.probes.layer import ProbeSettings, probe_layer
from analysis.probes.linear_svm import fit_linear_svm
from analysis.probes.moments import FeatureBlocks
from analysis.probes.neural_collapse import center_mismatch, measure_neural_collapse, self_duality_gap
from analysis.probes.onset import bootstrap_onset, components_needed
from analysis.probes.raw import probe_raw_features
from analysis.probes.streaming_pca import fit_pca

__all__ = [
    "FeatureBlocks",
    "LabeledFeatures",
    "ProbeSettings",
    "bootstrap_onset",
    "center_mismatch",
    "components_needed",
    "fit_linear_svm",
    "fit_pca",
    "knn_curve",
    "layer_votes",
    "measure_neural_collapse",
    "prediction_depth",
    "probe_layer",
    "probe_raw_features",
    "self_duality_gap",
]
