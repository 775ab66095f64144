"""Report section of the attacks: accuracy of network and machine by radius and source, and what became of τ."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.attribution.figures import attack_curves
from analysis.verdicts import MIN_RUNS, UNDECIDED, at_least
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.blocks import Picture, Section, Table, Verdict, summary_cells
from pipeline.reporting.groups import grouped

MEASURES = {
    "network_accuracy": ("network accuracy %", 100.0),
    "machine_accuracy": ("machine accuracy %", 100.0),
    "agreement": ("agreement %", 100.0),
    "tau": ("Kendall τ", 1.0),
}

ACCURACY_MARGIN, TAU_MARGIN = 1.0, 0.01
"""Smallest differences that count: one point of accuracy, 0.01 of τ. Equal numbers support no claim."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate, draw and decide, group by group."""
    blocks: list[Any] = []
    findings: list[str] = []
    for name, group in grouped(members).items():
        runs = [_by_attack(member) for member in group]
        blocks.append(_table(name, group, runs))
        curves = {
            source: {
                label: [_mean(runs, source, radius, measure) for radius in _radii(runs)]
                for measure, label in (("network_accuracy", "network"), ("machine_accuracy", "machine"))
            }
            for source in dict.fromkeys(source for source, _ in runs[0])
        }
        blocks.append(
            Picture(
                attack_curves(_radii(runs), curves),
                f"{name}: accuracy on attacked test points, mean over {len(group)} run(s), by source of the attack.",
                "Accuracy of network and machine against the radius of attacks",
            )
        )
        found = _verdicts(name, runs)
        blocks += found
        findings += [f"{verdict.claim}: {verdict.verdict}." for verdict in found]
    return Section("Adversarial test points", blocks, findings)


Run = dict[tuple[str, float], dict[str, Any]]


def _by_attack(member: Gathered) -> Run:
    rows = member.artifact.table("adversarial.parquet").to_pylist()
    return {(row["source"], float(row["radius"])): row for row in rows}


def _radii(runs: list[Run]) -> list[float]:
    return sorted({radius for _, radius in runs[0]})


def _mean(runs: list[Run], source: str, radius: float, measure: str) -> float:
    values = [run[source, radius][measure] for run in runs]
    return sum(values) / len(values)


def _table(name: str, group: list[Gathered], runs: list[Run]) -> Table:
    rows = []
    for source, radius in runs[0]:
        if radius == 0 and source != "network":  # the clean split is one
            continue
        for measure, (heading, scale) in MEASURES.items():
            values = [scale * run[source, radius][measure] for run in runs if run[source, radius][measure] is not None]
            rows.append([source if radius else "none", f"{radius:g}", heading, *summary_cells(values)])
    return Table(
        ["attack through", "radius", "measure", "runs", "mean", "sd", "95 % interval"],
        rows,
        f"{name}: attacked test points (PGD, L∞ radius in pixels of [0, 1]). The other network is the same training "
        "under another seed. n counts seeds, intervals are Student's t over seeds.",
        keys=[member.artifact.key for member in group],
        command=group[0].command,
    )


def _verdicts(name: str, runs: list[Run]) -> list[Verdict]:
    """Decide the study's three findings on the mean over attacked radii, seeds paired.

    The mean, because at a radius that leaves no point right all accuracies are equal.
    """
    attacked = [radius for radius in _radii(runs) if radius > 0]

    def mean(source: str, measure: str, radii: list[float]) -> np.ndarray:
        values = [[run[source, radius][measure] for radius in radii] for run in runs]
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
