"""The class rule on the published toy table and at its borders."""

import math

import pytest

from analysis.spectra.classes import ClassThresholds, classify_spectrum

TABLE = [
    (0, 0.004, 0.02, "invariant"),
    (1, 0.012, 0.89, "bulk+spike"),
    (0, 0.012, 0.53, "mixed"),
    (0, 0.026, 0.67, "mixed"),
    (2, 0.028, 0.81, "bulk+spike"),
    (14, 0.062, 0.88, "heavy/deformed"),
    (249, 0.51, 0.71, "heavy/deformed"),
    (8, 0.02, 0.9, "mixed"),
    (0, 0.05, 0.1, "mixed"),
]


@pytest.mark.parametrize(("outliers", "distance", "aligned", "label"), TABLE)
def test_rule(outliers: int, distance: float, aligned: float, label: str) -> None:
    found = classify_spectrum(outliers, distance, aligned)
    assert found.label == label
    assert f"n_out = {outliers}" in found.evidence and f"{distance:.4f}" in found.evidence


def test_outliers_without_alignment_are_no_features() -> None:
    noise, features = classify_spectrum(100, 0.1, 0.1), classify_spectrum(100, 0.1, 0.9)
    assert (noise.aligned, features.aligned) == (False, True)
    assert noise.evidence.endswith("noise") and features.evidence.endswith("features")


def test_missing_evidence_is_said() -> None:
    assert classify_spectrum(0, 0.001).label == "invariant"
    assert classify_spectrum(0, 0.001).aligned is None
    assert classify_spectrum(-1, 0.001, 0.1).label == "undecided"
    assert "no first spectrum" in classify_spectrum(0, math.nan, 0.1).evidence
    assert classify_spectrum(2, 0.001, 0.1, ClassThresholds(few=1)).label == "mixed"


def test_short_spectra_are_not_asked_for_less_than_one_step() -> None:
    assert classify_spectrum(0, 1 / 40).label == "mixed"
    assert classify_spectrum(0, 1 / 40, size=40).label == "invariant"
    assert classify_spectrum(6, 2 / 40, size=40).label == "mixed"
    assert classify_spectrum(6, 3 / 40, size=40).label == "heavy/deformed"
    assert classify_spectrum(0, 0.021, size=1000).label == "mixed"
