"""Means over runs that share their test rows: coverage, and what a few rows or runs cannot decide."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.verdicts import FAILS, HOLDS, OPEN, crossed_above, crossed_below, crossed_mean, crossed_within


def table(rng: np.random.Generator, runs: int, rows: int, spread: tuple[float, float, float]) -> np.ndarray:
    run, row, rest = spread
    return rng.normal(0, run, (runs, 1)) + rng.normal(0, row, rows) + rng.normal(0, rest, (runs, rows))


@pytest.mark.parametrize("spread", [(0.2, 0.0, 1.0), (0.0, 2.0, 1.0), (0.1, 1.0, 1.0)])
def test_the_interval_covers_the_mean_whatever_varies(spread: tuple[float, float, float]):
    """At least 95 % of 400 studies of fresh runs and rows, less the 99.9 % binomial margin."""
    rng = np.random.default_rng(0)
    found = [crossed_mean(table(rng, 5, 100, spread)).interval() for _ in range(400)]
    assert sum(low <= 0 <= high for low, high in found) >= 365


def test_the_error_is_that_of_plain_means_where_only_one_side_varies():
    rng = np.random.default_rng(1)
    rows = np.tile(rng.standard_normal(500), (6, 1))
    assert crossed_mean(rows).error == pytest.approx(rows[0].std(ddof=1) / 500**0.5)
    runs = np.tile(rng.standard_normal((6, 1)), (1, 500))
    assert crossed_mean(runs).error == pytest.approx(runs[:, 0].std(ddof=1) / 6**0.5)


def test_rows_that_all_agree_are_no_proof_beyond_one_row():
    equal = np.zeros((5, 1000))
    assert crossed_mean(equal).error == pytest.approx(1e-3)
    assert crossed_within(equal, -0.01, 0.01, what="x").outcome == HOLDS
    assert crossed_within(np.zeros((5, 100)), -0.01, 0.01, what="x").outcome == OPEN, "100 rows cannot show 1 %"
    assert crossed_above(equal, 0.0, margin=0.001, what="x").outcome == OPEN


def test_few_runs_are_open_and_sides_are_told_apart():
    rng = np.random.default_rng(2)
    good = table(rng, 5, 2000, (0.01, 0.1, 0.1)) + 0.5
    assert crossed_above(good[:4], 0.0, what="x").outcome == OPEN
    assert crossed_above(good, 0.0, what="x").outcome == crossed_below(good, 1.0, what="x").outcome == HOLDS
    assert crossed_above(good, 1.0, what="x").outcome == crossed_within(good, 0.7, 0.9, what="x").outcome == FAILS
    with pytest.raises(ValueError, match="2 of 6 values are not finite"):
        crossed_mean(np.array([[1.0, np.nan, 2.0], [np.inf, 1.0, 2.0]]))
    with pytest.raises(ValueError, match="two of each"):
        crossed_mean(good[:, :1])
