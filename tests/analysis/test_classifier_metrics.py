"""Companion metrics equal scikit-learn, torchmetrics or loops, and keep their identities."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax
from sklearn.metrics import cohen_kappa_score, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from analysis.classifier_metrics import (
    accuracy,
    brier_score,
    calibration_error,
    churn_against,
    churn_matrix,
    decisions,
    error_agreement,
    gap_quantiles,
    label_probabilities,
    largest_atom,
    logits_of_gaps,
    mean_churn,
    negative_log_likelihood,
    reference_decisions,
    run_metrics,
    top_label_confidence,
)

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, size=400)
GAPS = (2 * LABELS - 1) + 1.5 * RNG.normal(size=400) + RNG.normal(size=(5, 400))
WEIGHTS = RNG.integers(0, 4, size=400)
TAKEN = np.repeat(np.arange(400), WEIGHTS)


def test_decisions_count_zero_as_class_zero():
    assert decisions(np.array([[-1.0, 0.0, 2.0]])).tolist() == [[0, 0, 1]]
    np.testing.assert_array_equal(decisions(GAPS), decisions(logits_of_gaps(GAPS)))


def test_losses_equal_scikit_learn():
    for outputs in (GAPS, logits_of_gaps(GAPS)):
        for run in range(5):
            p = expit(GAPS[run])
            assert negative_log_likelihood(outputs, LABELS)[run] == pytest.approx(log_loss(LABELS, p))
            assert brier_score(outputs, LABELS)[run] == pytest.approx(2 * np.mean((p - LABELS) ** 2))


def test_calibration_error_equals_torchmetrics():
    # Clearly off the bin edges: torchmetrics works in float32.
    decided = decisions(GAPS)
    found = calibration_error(top_label_confidence(GAPS), decided == LABELS, bins=15)
    for run in range(5):
        p = torch.from_numpy(label_probabilities(GAPS)[run])
        expected = multiclass_calibration_error(p, torch.from_numpy(LABELS), num_classes=2, n_bins=15)
        assert found[run] == pytest.approx(float(expected), abs=1e-6)
    adaptive = calibration_error(top_label_confidence(GAPS), decided == LABELS, bins=8, scheme="adaptive")
    belief, right = top_label_confidence(GAPS)[0], decided[0] == LABELS
    groups = np.array_split(np.argsort(belief), 8)
    assert adaptive[0] == pytest.approx(sum(abs((right - belief)[g].mean()) * len(g) for g in groups) / 400)


def test_perfect_calibration_has_no_error():
    confidence = np.repeat([[0.6, 0.8]], 500, axis=1).reshape(1, -1)
    correct = np.concatenate([np.arange(500) < 300, np.arange(500) < 400])[None]
    ordered = np.concatenate([np.full(500, 0.6), np.full(500, 0.8)])[None]
    assert confidence.shape == ordered.shape
    assert calibration_error(ordered, correct, bins=10, low=0.5)[0] == pytest.approx(0, abs=1e-12)


def test_churn_identities_and_definition():
    decided = decisions(GAPS)
    matrix = churn_matrix(decided)
    right = accuracy(decided, LABELS)
    for i in range(5):
        for j in range(5):
            assert matrix[i, j] == pytest.approx((decided[i] != decided[j]).mean())
            assert abs(right[i] - right[j]) - 1e-12 <= matrix[i, j] <= 2 - right[i] - right[j] + 1e-12
    np.testing.assert_allclose(mean_churn(matrix)[0], matrix[0, 1:].mean())
    votes = reference_decisions(GAPS, rule="majority")
    np.testing.assert_array_equal(votes, decided.sum(axis=0) >= 3)
    np.testing.assert_array_equal(reference_decisions(GAPS, rule="logit_mean"), GAPS.mean(axis=0) > 0)
    tie = reference_decisions(np.array([[1.0], [-1.0]]), rule="majority")
    assert tie.tolist() == [0]


def test_error_agreement_is_cohens_kappa():
    decided = decisions(GAPS)
    kappa = error_agreement(decided, LABELS)
    assert kappa[1, 3] == pytest.approx(cohen_kappa_score(decided[1] != LABELS, decided[3] != LABELS))
    np.testing.assert_allclose(np.diag(kappa), 1)
    assert np.isnan(error_agreement(LABELS[None], LABELS)).all()


def test_multiplicities_equal_explicit_resampling():
    decided, labels = decisions(GAPS), LABELS[TAKEN]
    again = GAPS[:, TAKEN]
    np.testing.assert_allclose(accuracy(decided, LABELS, WEIGHTS), accuracy(decisions(again), labels))
    np.testing.assert_allclose(negative_log_likelihood(GAPS, LABELS, WEIGHTS), negative_log_likelihood(again, labels))
    np.testing.assert_allclose(brier_score(GAPS, LABELS, WEIGHTS), brier_score(again, labels))
    np.testing.assert_allclose(churn_matrix(decided, WEIGHTS), churn_matrix(decisions(again)), atol=1e-12)
    confidence, correct = top_label_confidence(GAPS), decided == LABELS
    np.testing.assert_allclose(
        calibration_error(confidence, correct, weights=WEIGHTS),
        calibration_error(confidence[:, TAKEN], correct[:, TAKEN]),
    )
    reference = reference_decisions(GAPS, rule="majority")
    np.testing.assert_allclose(
        churn_against(decided, reference, WEIGHTS), churn_against(decided[:, TAKEN], reference[TAKEN])
    )


def test_multiclass_runs():
    logits = RNG.normal(size=(3, 50, 4))
    labels = RNG.integers(0, 4, size=50)
    columns = run_metrics(logits, labels)
    logp = log_softmax(logits, axis=-1)
    np.testing.assert_allclose(columns["nll"], [-logp[r][np.arange(50), labels].mean() for r in range(3)])
    np.testing.assert_allclose(columns["accuracy"], (logits.argmax(-1) == labels).mean(axis=1))
    hot = np.eye(4)[labels]
    np.testing.assert_allclose(columns["brier"], ((np.exp(logp) - hot) ** 2).sum(-1).mean(1))
    assert set(columns) > {"ece", "ece_adaptive", "churn_mean", "churn_majority", "churn_logit_mean"}


def test_gap_summaries():
    assert gap_quantiles(GAPS).shape == (5, 7)
    np.testing.assert_allclose(gap_quantiles(GAPS)[:, 3], np.median(GAPS, axis=1))
    assert largest_atom(np.array([[0.0, 0.0, 1.0, 2.0]])).tolist() == [0.5]


def test_bad_input():
    with pytest.raises(ValueError, match="399 labels for 400 examples"):
        run_metrics(GAPS, LABELS[:-1])
    with pytest.raises(ValueError, match="bins = 0"):
        calibration_error(top_label_confidence(GAPS), decisions(GAPS) == LABELS, bins=0)
