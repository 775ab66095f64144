"""Claims of the shift study: draws of P share one M, and no claim is decided by that alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis.shift.probes import ProbeScore
from analysis.verdicts import FAILS, HOLDS, OPEN
from pipeline.stages.shift.claims import cues, displaced, false_rejections, probe_gap

STUDIES = 300


def outcome_rows(p: np.ndarray, auc: tuple[np.ndarray, np.ndarray], width: float = 0.12) -> list[Any]:
    """Rows of MMD with these p-values, and of the classifier test of cues and embedding with these AUCs."""
    place = {"pair": "P-M", "class": "", "smallest_p": 1 / 301}
    rows = [{**place, "test": "MMD²", "representation": "embedding", "p": float(value), "auc": np.nan} for value in p]
    for representation, values in zip(("cues", "embedding"), auc, strict=True):
        for value in values:
            ends = {"auc": value, "auc_low": value - width / 2, "auc_high": value + width / 2}
            rows.append({**place, "test": "C2ST (split)", "representation": representation, "p": 0.5, **ends})
    return rows


def draws_of_p(rng: np.random.Generator, shift: float, draws: int = 5, n: int = 359) -> np.ndarray:
    """p-values of z tests between fresh draws of P and the one M of a study, whose mean is moved by `shift` sd."""
    sample = rng.normal(shift, 1, n).mean()
    z = (rng.normal(0, 1, (draws, n)).mean(1) - sample) / np.sqrt(2 / n)
    return 2 * stats.norm.sf(np.abs(z))


def displacements(shift: float, auc: float, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    error = 0.12 / (2 * stats.norm.ppf(0.975))
    found = []
    for _ in range(STUDIES):
        # half of the AUC's error comes from M, which the draws share
        common = rng.normal(0, error / np.sqrt(2))
        values = auc + common + rng.normal(0, error / np.sqrt(2), 5)
        found.append(displaced(outcome_rows(draws_of_p(rng, shift), (values, values)), "MMD²", "note").outcome)
    return found


def test_equal_sources_are_rarely_called_displaced():
    """Each draw's p counts P and M as samples; a test over the five draws alone would reject in a third of studies."""
    assert displacements(0.0, 0.5, 0).count(HOLDS) <= 24, "5 % of 300 is 15; 24 is the 99 % bound"


def test_a_shift_of_a_third_of_a_standard_deviation_is_found():
    """Power of at least 90 % at 359 rows a side."""
    assert displacements(1 / 3, 0.65, 1).count(HOLDS) >= 0.9 * STUDIES


def test_sources_that_a_classifier_just_distinguishes_are_rarely_called_the_same():
    assert displacements(0.0, 0.6, 2).count(FAILS) <= 24
    assert displacements(0.0, 0.5, 3).count(FAILS) >= 0.5 * STUDIES


def test_few_draws_or_permutations_decide_nothing():
    rows = outcome_rows(np.full(4, 1 / 301), (np.full(4, 0.9), np.full(4, 0.9)))
    assert displaced(rows, "MMD²", "note").outcome == OPEN
    rows = outcome_rows(np.full(5, 1 / 20), (np.full(5, 0.9), np.full(5, 0.9)))
    decided = displaced([{**row, "smallest_p": 1 / 20} for row in rows], "MMD²", "note")
    assert decided.outcome == OPEN and "permutations" in decided.evidence


def null_draws(rng: np.random.Generator, rate: float, draws: int, tests: int = 5) -> list[Any]:
    p = np.where(rng.random((tests, draws)) < rate, 0.01, 0.5)
    return [
        {"test": f"test {i}", "size": 100, "draw": j, "p": float(p[i, j]), "low": 0, "high": 0}
        for i in range(tests)
        for j in range(draws)
    ]


@pytest.mark.parametrize("draws", [5, 20, 100, 300])
def test_a_test_that_rejects_twice_too_often_is_rarely_called_calibrated(draws: int):
    rng = np.random.default_rng(draws)
    held = [false_rejections(null_draws(rng, 0.1, draws, tests=1)).outcome == HOLDS for _ in range(400)]
    assert sum(held) <= 32, "5 % of 400 is 20; 32 is the 99.5 % bound"
    assert draws >= 100 or not any(held)


def test_calibrated_tests_are_found_with_300_null_draws():
    """Five exact tests, 300 null draws each: power of at least 60 %; 100 draws have less than 5 %."""
    rng = np.random.default_rng(0)
    held = [false_rejections(null_draws(rng, 0.05, 300)).outcome == HOLDS for _ in range(200)]
    assert sum(held) >= 120
    wild = [false_rejections(null_draws(rng, 0.3, 300)).outcome == FAILS for _ in range(50)]
    assert sum(wild) >= 48


def auc_gaps(truth: float, seed: int) -> list[str]:
    """Studies whose draws share M: half of the variance of a difference in AUC is common to all five."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(STUDIES):
        gaps = truth + rng.normal(0, 0.02) + rng.normal(0, 0.02, 5)
        found.append(cues(outcome_rows(np.full(5, 0.5), (0.8 + gaps, np.full(5, 0.8)))).outcome)
    return found


def test_cues_that_are_just_worse_are_rarely_called_as_good():
    assert auc_gaps(-0.02, 0).count(HOLDS) <= 24
    assert auc_gaps(-0.02, 0).count(FAILS) <= 24


def test_cues_that_are_better_by_a_tenth_are_found():
    """Power of at least 80 % for cues ahead by 0.1 in AUC."""
    assert auc_gaps(0.1, 1).count(HOLDS) >= 0.8 * STUDIES


def probe_rows(rng: np.random.Generator, truth: float, redraws: int = 20) -> list[ProbeScore]:
    """Balanced accuracies of a probe on M and one on P; 30 % of a redraw's variance is common to the study."""
    gaps = truth + rng.normal(0, 0.02 * np.sqrt(0.3)) + rng.normal(0, 0.02 * np.sqrt(0.7), redraws)
    rows = []
    for redraw, gap in enumerate(gaps):
        for train, size, score in (("M", 251, 0.8 + gap), ("P", 2400, 0.8)):
            rows.append(ProbeScore(train, "M held out", size, redraw, 108, score, score, 0.9))
    return rows


@pytest.mark.parametrize(("sign", "place"), [(1, 0.01), (-1, -0.01)])
def test_a_probe_that_is_ahead_by_no_more_than_the_margin_rarely_wins(sign: int, place: float):
    rng = np.random.default_rng(5)
    held = [probe_gap(probe_rows(rng, place), ("M", 251), 2400, sign).outcome == HOLDS for _ in range(STUDIES)]
    assert sum(held) <= 24


def test_a_probe_that_is_ahead_by_six_points_wins():
    """Power of at least 90 % with twenty redraws."""
    rng = np.random.default_rng(6)
    held = [probe_gap(probe_rows(rng, 0.06), ("M", 251), 2400, 1).outcome == HOLDS for _ in range(100)]
    assert sum(held) >= 90
    assert probe_gap(probe_rows(rng, -0.06), ("M", 251), 2400, 1).outcome == FAILS
