"""Claims of the probe study: rarely said to hold where they are false, found where they are true.

Every simulated study has five runs that share their test rows. Rows differ in difficulty, runs in skill, and two
surrogates differ in their answers on a share of the rows.
"""

from __future__ import annotations

import numpy as np
import pytest

from analysis.verdicts import FAILS, HOLDS, OPEN, Claim
from pipeline.config.run import RunConfig
from pipeline.stages.probes.claims import claims
from pipeline.stages.probes.layers import SURROGATES
from pipeline.stages.probes.read import Curves

LAYERS, RUNS = 4, 5


def answers(rng: np.random.Generator, rows: int, shift: np.ndarray, discordant: float) -> np.ndarray:
    """Right answers, runs x len(shift) x rows: the same task answered with accuracies that differ by `shift`.

    Each answer is the run's own one, drawn anew on a share of rows with just the accuracy that moves the mean.
    """
    skill = rng.normal(0.0, 0.01, (RUNS, 1, 1))
    ease = np.clip(rng.beta(4, 1, rows) + skill, 0, 1)
    base = rng.random((RUNS, 1, rows)) < ease
    drawn = rng.random((RUNS, shift.size, rows)) < ease + shift[:, None] / discordant
    return np.where(rng.random((RUNS, shift.size, rows)) < discordant, drawn, base)


def study(
    rng: np.random.Generator,
    *,
    rows: int = 1000,
    sufficient: np.ndarray | None = None,
    low: np.ndarray | None = None,
    lead: np.ndarray | None = None,
    rise: np.ndarray | None = None,
    onsets: tuple[int | None, ...] = (1,) * RUNS,
    falls: tuple[bool, ...] = (True,) * RUNS,
    count: int = 5,
    discordant: float = 0.1,
) -> dict[str, Claim]:
    """One study of invented runs; each argument is the true difference in the population, one for each layer."""
    zero = np.zeros(LAYERS)
    lead, sufficient, low = (zero if x is None else x for x in (lead, sufficient, low))
    everything = np.stack([zero, zero, lead])  # surrogates x layers
    few = np.stack([sufficient, zero, zero])
    shifts = np.concatenate([everything.ravel(), few.ravel(), (everything + low).ravel(), [0.0]])
    found = answers(rng, rows, shifts, discordant)
    size = 3 * LAYERS
    parts = [found[:, i * size : (i + 1) * size].reshape(RUNS, 3, LAYERS, rows).swapaxes(1, 2) for i in range(3)]
    share = 0.1 + np.concatenate([[0.0], np.cumsum(zero[1:] if rise is None else rise)])
    differs = rng.random((RUNS, LAYERS, rows)) < share[:, None]
    curves = [
        Curves({}, *(part[i] for part in parts), np.full((LAYERS, 2), count), differs[i], found[i, -1], *[zero] * 2)
        for i in range(RUNS)
    ]
    collapse = [[{"nc1": float(-i if down else i), "degenerate": False} for i in range(LAYERS)] for down in falls]
    names = [f"layer{i}" for i in range(LAYERS)]
    metrics = [{"layers": names, "network_accuracy": 0.93, "onset_index": onset} for onset in onsets]
    return {claim.name: claim for claim in claims("width 64", RunConfig(), curves, collapse, metrics)}


def test_the_simulated_answers_differ_as_stated():
    found = answers(np.random.default_rng(0), 200_000, np.array([0.0, 0.01]), 0.1)
    assert found[:, 1].mean() - found[:, 0].mean() == pytest.approx(0.01, abs=0.003)


def test_no_number_of_components_that_explains_so_little_leaves_l1_open():
    decided = study(np.random.default_rng(0), count=0)["L1"].decided
    assert decided.outcome == OPEN and "no number of components explains at most 20%" in decided.evidence


def test_shares_of_runs_need_five_and_are_exact():
    rng = np.random.default_rng(0)
    found = study(rng)
    assert found["L4"].decided.outcome == found["L5"].decided.outcome == HOLDS, "five of five"
    found = study(rng, onsets=(1, 1, None, 1, LAYERS - 1), falls=(False,) * RUNS)
    assert found["L4"].decided.outcome == OPEN, "three of five"
    assert found["L5"].decided.outcome == FAILS, "none of five"


def test_identical_answers_of_two_surrogates_put_none_ahead():
    assert study(np.random.default_rng(1), discordant=1e-9)["L3, early layers"].decided.outcome != HOLDS


def test_degenerate_layers_are_left_out():
    rng = np.random.default_rng(0)
    assert len(SURROGATES) == 3
    assert study(rng)["L2"].decided.evidence.count("of 8 pairs") == 1


NULLS = {
    "L1": {"low": np.full(LAYERS, -0.05 * 0.8)},
    "L2": {"sufficient": np.array([0.0, 0.0, -0.01, 0.0])},
    "L3": {"lead": np.array([0.02, 0.02, 0.02, -0.005])},
    "L3, early layers": {"lead": np.full(LAYERS, 0.005)},
    "L5, nearest center": {"rise": np.array([0.0, 0.01, 0.0])},
}
"""A population where each claim is just false: on its bound in one layer, or in all where all are looked at."""
TRUE = {
    "L1": {"low": np.zeros(LAYERS)},
    "L2": {},
    "L3": {"lead": np.full(LAYERS, 0.01)},
    "L3, early layers": {"lead": np.full(LAYERS, 0.02)},
    "L5, nearest center": {},
}
"""Populations where they are true by a wide enough margin for 10,000 rows."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NULLS)
def test_a_false_claim_is_rarely_said_to_hold(name: str):
    """At most 5 % of 200 studies at the boundary (16 of 200 is the 99.5 % bound of a true rate of 5 %)."""
    rng = np.random.default_rng(7)
    held = [study(rng, **NULLS[name])[name].decided.outcome == HOLDS for _ in range(200)]
    assert sum(held) <= 16, f"holds in {sum(held)} of 200 studies where it is false"


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUE)
def test_a_true_claim_is_found_at_the_published_rows(name: str):
    """Power of at least 80 % with five runs and 10,000 test rows; differences as in ``TRUE``."""
    rng = np.random.default_rng(8)
    held = [study(rng, rows=10_000, **TRUE[name])[name].decided.outcome for _ in range(25)]
    assert held.count(HOLDS) >= 20 and held.count(FAILS) <= 1, held
