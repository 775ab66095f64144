"""Every compared quantity, the identities between them, and the messages that refuse wrong inputs."""

import logging

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax

from analysis.trimming.references import consensus_levels
from analysis.variability.gaps import (
    binary_gap,
    compared_quantity,
    fit_temperatures,
    one_vs_rest_gap,
    signed_gap,
    split_by_class,
    top_two_gap,
    usable_runs,
)

RNG = np.random.default_rng(0)
LOGITS = 2 * RNG.normal(size=(80, 2)) + RNG.normal(size=(6, 80, 2))
LABELS = RNG.integers(0, 2, size=80)


def test_binary_quantities():
    gap = compared_quantity(LOGITS)
    np.testing.assert_allclose(gap, LOGITS[..., 1] - LOGITS[..., 0])
    logp = log_softmax(LOGITS, axis=-1)
    np.testing.assert_allclose(compared_quantity(LOGITS, quantity="prob"), np.exp(logp[..., 1]))
    own = np.take_along_axis(logp, np.broadcast_to(LABELS[None, :, None], (6, 80, 1)), axis=-1)[..., 0]
    np.testing.assert_allclose(compared_quantity(LOGITS, LABELS, quantity="loss"), -own)
    np.testing.assert_allclose(
        compared_quantity(LOGITS, LABELS, quantity="signed_gap"), compared_quantity(LOGITS, LABELS, quantity="margin")
    )
    np.testing.assert_allclose(one_vs_rest_gap(LOGITS, 1), gap)
    np.testing.assert_allclose(one_vs_rest_gap(LOGITS, 0), -gap)
    np.testing.assert_allclose(top_two_gap(LOGITS), np.abs(gap))


def test_multiclass_quantities():
    logits = RNG.normal(size=(3, 10, 4))
    labels = RNG.integers(0, 4, size=10)
    margin = compared_quantity(logits, labels, quantity="margin")
    for run in range(3):
        for i, y in enumerate(labels):
            row = logits[run, i]
            assert margin[run, i] == pytest.approx(row[y] - np.delete(row, y).max())
    np.testing.assert_array_equal(margin > 0, logits.argmax(axis=-1) == labels)
    p = np.exp(log_softmax(logits, axis=-1))[..., 2]
    np.testing.assert_allclose(
        compared_quantity(logits, quantity="one_vs_rest", target=2), np.log(p / (1 - p)), rtol=1e-9
    )


@pytest.mark.parametrize(("first", "second"), [("gap", "prob"), ("signed_gap", "loss")])
def test_monotone_maps_keep_levels_and_signing_does_not(first, second):
    quantities = {name: compared_quantity(LOGITS, LABELS, quantity=name) for name in ("gap", first, second)}
    levels = {
        name: consensus_levels(values, deltas=[0.05], kinds=["mixture"]).level("mixture", 0.05)
        for name, values in quantities.items()
    }
    np.testing.assert_allclose(levels[first], levels[second], atol=1e-12)
    if first != "gap":
        assert np.abs(levels[first] - levels["gap"]).max() > 0.01


def test_temperatures_minimize_the_loss_and_change_no_decision():
    gap = RNG.normal(size=(4, 300)) * np.array([0.5, 1, 3, 10])[:, None]
    labels = (RNG.random(300) < expit(gap[1])).astype(int)
    gap = np.concatenate([gap, gap[1:2] * 7])
    found = fit_temperatures(gap, labels)
    for run in (1, 4):
        best = minimize_scalar(
            lambda t, run=run: np.logaddexp(0, -signed_gap(gap[run], labels) / np.exp(t)).mean(), bounds=(-4, 4)
        )
        assert found[run] == pytest.approx(np.exp(best.x), rel=1e-3)
    assert found[4] == pytest.approx(7 * found[1], rel=1e-6)


def test_bad_logits(caplog):
    with pytest.raises(ValueError, match="have 3: choose margin, top_two or one_vs_rest"):
        compared_quantity(np.zeros((4, 3)))
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(binary_gap(np.array([[1.0], [2.0]])), [1.0, 2.0])
    assert "one column" in caplog.text
    with pytest.raises(ValueError, match="these are probabilities"):
        compared_quantity(np.full((4, 2), 0.5))
    with pytest.raises(ValueError, match="these are probabilities"):
        compared_quantity(np.full((4, 4), 0.25), quantity="top_two")
    with pytest.raises(ValueError, match=r"quantity='typo' is none of gap, signed_gap, prob, loss, margin"):
        compared_quantity(LOGITS, LABELS, quantity="typo")
    with pytest.raises(ValueError, match="needs the labels"):
        compared_quantity(LOGITS, quantity="loss")
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1, got 0\.\.2"):
        compared_quantity(LOGITS, np.arange(80) % 3, quantity="loss")
    with pytest.raises(ValueError, match=r"\(79,\) labels for 80 examples"):
        compared_quantity(LOGITS, LABELS[1:], quantity="signed_gap")
    with pytest.raises(ValueError, match="needs at least 2 columns"):
        compared_quantity(np.zeros((4, 1)), quantity="top_two")
    with pytest.raises(ValueError, match="class 2 is outside"):
        one_vs_rest_gap(LOGITS, 2)


def test_missing_classes_and_bad_runs(caplog):
    gaps = RNG.normal(size=(3, 5))
    with caplog.at_level(logging.INFO):
        parts = split_by_class(gaps, np.array([0, 0, 2, 2, 2]), 3)
    assert {label: part.shape for label, part in parts.items()} == {0: (3, 2), 2: (3, 3)}
    assert "class 1 has no examples" in caplog.text
    gaps[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"runs \[1\] hold 1 NaN or infinite values, the first at \(1, 3\)"):
        usable_runs(gaps)
    assert usable_runs(gaps, on_bad_run="drop").tolist() == [0, 2]
    assert "left out runs" in caplog.text
