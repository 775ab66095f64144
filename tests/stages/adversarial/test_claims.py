"""Findings on attacks: equal losses support none, chance rarely does, and a machine that is less robust shows it."""

import numpy as np
import pytest

from analysis.verdicts import FAILS, HOLDS, OPEN
from pipeline.stages.adversarial.claims import study_claims

STUDIES, SEEDS, POINTS = 300, 5, 100


def runs(rng, network, machine, moved, lost):
    """Five runs at two radii on 100 test points each; τ falls by ``lost`` under attack."""
    found = []
    for _ in range(SEEDS):
        shift = 0.02 * rng.normal()
        clean = 0.7 + 0.05 * rng.normal()
        run = {("network", 0.0): {"tau": clean}}
        for radius in (0.1, 0.2):
            hits = [rng.binomial(POINTS, np.clip(p + shift, 0, 1)) / POINTS for p in (network, machine, moved)]
            run["network", radius] = {"network_accuracy": hits[0], "tau": clean - lost + 0.02 * rng.normal()}
            run["machine", radius] = {"machine_accuracy": hits[1], "network_accuracy": hits[2]}
        found.append(run)
    return found


@pytest.mark.parametrize(
    ("machine", "moved", "tau", "outcomes"),
    [
        ((0.5, 0.0), (0.5, 0.0), (0.9, 0.9), [OPEN] * 3),
        ((0.2, 0.0), (0.8, 0.0), (0.5, 0.5), [HOLDS] * 3),
        ((0.6, 0.0), (0.4, 0.0), (0.95, 0.95), [FAILS] * 3),
        ((0.2, 0.0), (0.5, 0.0), (0.5, None), [HOLDS, OPEN, OPEN]),
    ],
)
def test_equal_losses_support_no_finding_even_where_nothing_is_right(machine, moved, tau, outcomes):
    found = []
    for seed in range(5):
        wobble = 0.01 * (seed - 2)
        run = {("network", 0.0): {"tau": 0.9 + (0 if tau == (0.9, 0.9) else wobble)}}
        for i, radius in enumerate((0.1, 0.6)):
            run["network", radius] = {"network_accuracy": (0.5, 0.0)[i], "tau": tau[i]}
            run["machine", radius] = {
                "network_accuracy": moved[i] + (wobble if moved[i] not in (0.0, 0.5) else 0),
                "machine_accuracy": machine[i] + (wobble if machine[i] not in (0.0, 0.5) else 0),
            }
        found.append(run)
    assert [one.decided.outcome for one in study_claims("all", found)] == outcomes


def test_machines_as_robust_as_their_networks_support_no_finding():
    rng = np.random.default_rng(0)
    studies = [[c.decided.outcome for c in study_claims("all", runs(rng, 0.6, 0.6, 0.6, 0.0))] for _ in range(STUDIES)]
    for outcomes in zip(*studies, strict=True):
        assert np.mean([outcome == HOLDS for outcome in outcomes]) <= 0.05


def test_machines_that_lose_twelve_points_more_are_found():
    rng = np.random.default_rng(1)
    studies = [
        [c.decided.outcome for c in study_claims("all", runs(rng, 0.6, 0.48, 0.72, 0.2))] for _ in range(STUDIES)
    ]
    for outcomes in zip(*studies, strict=True):
        assert np.mean([outcome == HOLDS for outcome in outcomes]) >= 0.8
