"""Verdicts on attacks: the three findings of the limitation study of arXiv:2305.14585."""

from __future__ import annotations

import numpy as np

from analysis.verdicts import MIN_RUNS
from analysis.verdicts.superseded import UNDECIDED, at_least
from pipeline.reporting.blocks import Verdict
from pipeline.stages.adversarial.read import AttackMeasure, Attacks, radii

ACCURACY_MARGIN, TAU_MARGIN = 1.0, 0.01
"""Smallest differences that count: one point of accuracy, 0.01 of τ. Equal numbers support no claim."""


def study_verdicts(name: str, runs: list[Attacks]) -> list[Verdict]:
    """Decide the study's three findings on the mean over attacked radii, seeds paired.

    The mean, because at a radius where no point is classified correctly all accuracies are equal.
    """
    attacked = [radius for radius in radii(runs) if radius > 0]

    def mean(source: str, measure: AttackMeasure, at: list[float]) -> np.ndarray:
        values = [[run[source, radius][measure] for radius in at] for run in runs]
        return np.array(values, np.float64).mean(1)  # None, where τ is undefined, becomes NaN

    network = 100 * mean("network", "network_accuracy", attacked)
    machine = 100 * mean("machine", "machine_accuracy", attacked)
    moved = 100 * mean("machine", "network_accuracy", attacked)
    lost = mean("network", "tau", [0.0]) - mean("network", "tau", attacked)
    claims = [
        (
            "the machine is less robust to its own white-box attack than the network to its own",
            network - machine,
            ACCURACY_MARGIN,
            "accuracy of the network minus that of the machine",
        ),
        (
            "attacks through the machine transfer weakly: they cost the network less than its own white-box attack",
            moved - network,
            ACCURACY_MARGIN,
            "accuracy of the network under the machine's attack minus that under its own",
        ),
        (
            "fidelity holds near the data only: τ falls under the network's white-box attack",
            lost,
            TAU_MARGIN,
            "τ on clean minus τ on attacked points",
        ),
    ]
    verdicts = []
    for claim, differences, margin, what in claims:
        text = f"{name}: {claim}"
        if len(differences) < MIN_RUNS:
            verdicts.append(Verdict(text, UNDECIDED, f"n = {len(differences)} runs, {MIN_RUNS} are needed."))
            continue
        decided = at_least(differences.tolist(), margin, f"{what}, mean over radii, seeds paired")
        verdicts.append(Verdict(text, decided.verdict, decided.evidence, "", "authors' code"))
    return verdicts
