"""One layer in, one tidy table out: agreement with scikit-learn, isolation of test rows, and bad input."""

import logging
import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.svm import LinearSVC

from analysis.probes.labeled_features import LabeledFeatures
from analysis.probes.layer import ALL_COMPONENTS, ProbeSettings, probe_layer
from analysis.probes.moments import FeatureBlocks
from analysis.probes.onset import NO_ONSET, onset_layer
from tests.references.layer_probes import simplex_etf

SETTINGS = ProbeSettings(rank=16, neighbors=(5, 1), costs=(0.1,), scaling="none", tolerance=1e-5)


def _split(features, labels, layer="layer1", network=None):
    blocks = FeatureBlocks.from_array(torch.as_tensor(features, dtype=torch.float32), block=200, layer=layer)
    return LabeledFeatures(blocks, labels, labels if network is None else network)


@pytest.fixture(scope="module")
def gaussian():
    rng = np.random.default_rng(0)
    centers = 1.1 * rng.standard_normal((5, 16))
    labels, test_labels = np.arange(600) % 5, np.arange(500) % 5
    train = centers[labels] + rng.standard_normal((600, 16)) * np.linspace(2, 0.5, 16)
    test = centers[test_labels] + rng.standard_normal((500, 16)) * np.linspace(2, 0.5, 16)
    return train, labels, test, test_labels


@pytest.fixture(scope="module")
def probed(gaussian):
    train, labels, test, test_labels = gaussian
    return probe_layer(_split(train, labels), _split(test, test_labels), settings=SETTINGS, ks=[2, 6, 16])


@pytest.mark.parametrize("k", [2, 6, 16])
@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("knn", KNeighborsClassifier(5)),
        ("ncc", NearestCentroid()),
        ("svm", LinearSVC(C=0.1, dual=False, intercept_scaling=100.0)),
    ],
)
def test_accuracy_agrees_with_scikit_learn_within_a_fifth_of_a_point(gaussian, probed, name, oracle, k):
    train, labels, test, test_labels = gaussian
    pca = PCA(k).fit(train)
    expected = oracle.fit(pca.transform(train), labels).score(pca.transform(test), test_labels)
    row = next(
        r
        for r in probed.rows
        if r["classifier"] == name
        and r["k"] == k
        and r["setting"] in (5, 0.1)
        or (name == "ncc" and r["classifier"] == "ncc" and r["k"] == k)
    )
    assert row["accuracy"] == pytest.approx(expected, abs=0.002 + 1e-9)


def test_table_covers_every_probe_and_all_components(probed):
    seen = {(r["classifier"], r["k"]) for r in probed.rows}
    for name in ("knn", "ncc", "svm"):
        assert {(name, k) for k in (2, 6, 16, ALL_COMPONENTS)} <= seen
    assert ("ridge", 16) in seen
    assert all(r["converged"] for r in probed.rows)
    full = next(r for r in probed.rows if r["classifier"] == "ncc" and r["k"] == 16)
    assert full["evr"] == pytest.approx(1.0, abs=1e-5)
    same = {r["k"]: r["accuracy"] for r in probed.rows if r["classifier"] == "ncc"}
    assert same[16] == same[ALL_COMPONENTS]


def test_fidelity_is_agreement_with_the_network(gaussian):
    train, labels, test, test_labels = gaussian
    network = (test_labels + 1) % 5
    out = probe_layer(_split(train, labels), _split(test, test_labels, network=network), settings=SETTINGS, ks=[16])
    row = next(r for r in out.rows if r["classifier"] == "svm" and r["k"] == 16)
    assert row["accuracy"] > 0.8 and row["fidelity"] < 0.2
    assert row["train_accuracy"] > 0.8 and math.isnan(
        next(r for r in out.rows if r["classifier"] == "knn")["train_accuracy"]
    )


def test_poisoned_test_rows_leave_the_fit_unchanged(gaussian, probed):
    train, labels, test, test_labels = gaussian
    poisoned = test.copy()
    poisoned[:10] = 1e4
    settings = ProbeSettings(rank=16, neighbors=(5,), costs=(0.01, 0.1), scaling="none")
    clean, other = (
        probe_layer(_split(train, labels), _split(rows, test_labels), settings=settings, ks=[6])
        for rows in (test, poisoned)
    )
    assert torch.equal(clean.pca.mean, other.pca.mean)
    assert torch.equal(clean.pca.components, other.pca.components)
    cost = [next(r for r in out.rows if r["classifier"] == "svm")["setting"] for out in (clean, other)]
    assert cost[0] == cost[1]
    for name in ("knn", "ncc", "svm"):
        np.testing.assert_array_equal(clean.predictions[name][10:], other.predictions[name][10:])


def test_simplex_features_are_solved_by_every_probe():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 12)
    features = simplex_etf(10, 30, rng)[labels]
    out = probe_layer(_split(features, labels), _split(features, labels), settings=SETTINGS)
    assert out.pca.variances.numel() == 9
    best = [r for r in out.rows if r["k"] in (9, ALL_COMPONENTS)]
    assert all(r["accuracy"] == 1.0 for r in best)
    assert float(out.pca.explained_variance[-1]) == pytest.approx(1.0, abs=1e-6)


def test_two_blobs_per_class_do_not_fire_the_onset():
    rng = np.random.default_rng(0)
    centers = 3.0 * rng.standard_normal((10, 60))

    def draw(n):
        labels = np.arange(n) % 10
        side = rng.choice([-1.0, 1.0], (n, 1))
        return side * centers[labels] + 0.5 * rng.standard_normal((n, 60)), labels

    train, test = draw(1500), draw(800)
    settings = ProbeSettings(rank=59, neighbors=(10,), costs=(0.1,), scaling="none")
    out = probe_layer(_split(*train), _split(*test), settings=settings, ks=[59])
    accuracy = {name: float(np.mean(guess == test[1])) for name, guess in out.predictions.items()}
    assert accuracy["knn"] == 1.0
    assert 0.2 < accuracy["ncc"] < 0.55
    assert accuracy["svm"] < 0.3
    assert onset_layer(np.array([list(accuracy.values())])) == NO_ONSET


@pytest.mark.parametrize("scaling", ["none", "global", "whitening"])
def test_every_scaling_reaches_all_components(gaussian, scaling):
    train, labels, test, test_labels = gaussian
    settings = ProbeSettings(rank=10, neighbors=(5,), costs=(1.0,), scaling=scaling, knn_on_train=True)
    out = probe_layer(_split(train, labels), _split(test, test_labels), settings=settings, ks=[2, 5])
    everything = [r for r in out.rows if r["classifier"] == "svm" and r["k"] == ALL_COMPONENTS]
    assert len(everything) == 1 and everything[0]["accuracy"] > 0.8
    assert all(0 <= r["train_accuracy"] <= 1 for r in out.rows if r["classifier"] == "knn")


@pytest.mark.slow
def test_unconverged_svm_is_flagged(gaussian):
    train, labels, test, test_labels = gaussian
    settings = ProbeSettings(rank=4, neighbors=(5,), costs=(1.0,), tolerance=1e-14)
    out = probe_layer(_split(train, labels), _split(test, test_labels), settings=settings, ks=[4])
    assert not all(r["converged"] for r in out.rows if r["classifier"] == "svm")


def test_degenerate_layer_is_reported_and_skipped(caplog):
    labels = np.arange(20) % 2
    constant = _split(np.full((20, 4), 1.5), labels, "dead")
    with caplog.at_level(logging.WARNING):
        out = probe_layer(constant, constant, settings=SETTINGS)
    assert out.degenerate and out.rows == [] and "dead: degenerate" in caplog.text


def test_components_beyond_the_rank_are_clipped(gaussian, caplog):
    train, labels, test, test_labels = gaussian
    with caplog.at_level(logging.WARNING):
        out = probe_layer(_split(train, labels), _split(test, test_labels), settings=SETTINGS, ks=[4, 99])
    assert {r["k"] for r in out.rows} == {4, 16, ALL_COMPONENTS}
    assert caplog.text.count("99 components requested, rank 16: clipped") == 1


def test_too_many_neighbors_and_broken_features_are_refused(gaussian):
    train, labels, test, test_labels = gaussian
    good = _split(test, test_labels)
    with pytest.raises(ValueError, match="neighbors, there are 600"):
        probe_layer(_split(train, labels), good, settings=ProbeSettings(neighbors=(601,), costs=(0.1,)))
    broken = train.copy()
    broken[17, 3] = np.inf
    with pytest.raises(ValueError, match="layer1: non-finite features, first in row 17"):
        probe_layer(_split(broken, labels), good, settings=SETTINGS)
