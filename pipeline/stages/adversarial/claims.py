"""Claims about attacks: the three findings of the limitation study of arXiv:2305.14585."""

from __future__ import annotations

import numpy as np

from analysis.verdicts import Claim, Standing, above
from pipeline.stages.adversarial.read import AttackMeasure, Attacks, radii

ACCURACY_BOUND, ACCURACY_MARGIN = 1.0, 0.5
"""Points of accuracy, about one test point of a hundred: a difference counts beyond 1.5 and is none below 0.5."""
TAU_BOUND, TAU_MARGIN = 0.01, 0.005
"""A loss of τ counts beyond 0.015 and is none below 0.005, the published standard errors of τ."""
FIELDS = ("data", "model", "training", "weights", "kernel", "surrogate", "adversarial", "seeds")


def study_claims(name: str, runs: list[Attacks]) -> list[Claim]:
    """Decide the study's three findings on the mean over attacked radii, seeds paired.

    The mean, because at a radius where no point is classified correctly all accuracies are equal. Equal numbers support
    no claim.
    """
    attacked = [radius for radius in radii(runs) if radius > 0]

    def mean(source: str, measure: AttackMeasure, at: list[float]) -> np.ndarray:
        values = [[run[source, radius][measure] for radius in at] for run in runs]
        return np.array(values, np.float64).mean(1)  # None, where τ is undefined, becomes NaN

    network = 100 * mean("network", "network_accuracy", attacked)
    machine = 100 * mean("machine", "machine_accuracy", attacked)
    moved = 100 * mean("machine", "network_accuracy", attacked)
    lost = mean("network", "tau", [0.0]) - mean("network", "tau", attacked)
    findings = [
        (
            "robustness",
            "the machine is less robust to its own white-box attack than the network to its own",
            network - machine,
            (ACCURACY_BOUND, ACCURACY_MARGIN),
            "accuracy of the network minus that of the machine, points",
        ),
        (
            "transfer",
            "attacks through the machine transfer weakly: they cost the network less than its own white-box attack",
            moved - network,
            (ACCURACY_BOUND, ACCURACY_MARGIN),
            "accuracy of the network under the machine's attack minus that under its own, points",
        ),
        (
            "fidelity",
            "fidelity holds near the data only: τ falls under the network's white-box attack",
            lost,
            (TAU_BOUND, TAU_MARGIN),
            "τ on clean minus τ on attacked points",
        ),
    ]
    return [
        Claim(
            f"{label} of {name}",
            f"{name}: {statement}",
            above(values.tolist(), bound, margin=margin, what=f"{what}, mean over radii, seeds paired"),
            FIELDS,
            "",
            Standing("authors' code", band="ours"),
        )
        for label, statement, values, (bound, margin), what in findings
    ]
