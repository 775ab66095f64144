"""Surrogates on raw features answer like the full probes on all components."""

import numpy as np
import torch

from analysis.probes.labeled_features import LabeledFeatures
from analysis.probes.layer import ProbeSettings, probe_layer
from analysis.probes.moments import FeatureBlocks
from analysis.probes.raw import probe_raw_features

SETTINGS = ProbeSettings(rank=6, neighbors=(5,), costs=(0.1,), scaling="none", tolerance=1e-5)


def _split(features, labels):
    return LabeledFeatures(FeatureBlocks.from_array(torch.as_tensor(features, dtype=torch.float32)), labels, labels)


def test_raw_features_alone_give_the_same_answers():
    rng = np.random.default_rng(0)
    centers = 1.5 * rng.standard_normal((3, 6))
    labels = np.arange(150) % 3
    train, test = (_split(centers[labels] + rng.standard_normal((150, 6)), labels) for _ in range(2))
    probed = probe_layer(train, test, settings=SETTINGS, ks=[6])
    found = probe_raw_features(train, test, settings=SETTINGS)
    for name in ("knn", "ncc"):
        np.testing.assert_array_equal(found[name], probed.predictions[name])
    assert np.mean(found["svm"] == probed.predictions["svm"]) > 0.99


def test_a_constant_layer_has_no_answer():
    constant = _split(np.full((20, 4), 1.5), np.arange(20) % 2)
    assert probe_raw_features(constant, constant, settings=SETTINGS) is None
