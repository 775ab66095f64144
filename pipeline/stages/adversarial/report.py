"""Report section of the attacks: accuracy of network and machine by radius and source, and how τ changes."""

from __future__ import annotations

from typing import Literal

from analysis.attribution.figures import attack_curves
from analysis.pages.blocks import Block, Picture, Section, Table
from analysis.pages.cells import OVER_SEEDS, summary_cells
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import about, grouped, keys_of
from pipeline.reporting.headlines import over_seeds
from pipeline.reporting.spoken import SHARE
from pipeline.stages.adversarial.claims import study_claims
from pipeline.stages.adversarial.read import AttackMeasure, AttackRow, Attacks, radii, read_attacks

MEASURES: dict[AttackMeasure, tuple[str, float]] = {
    "network_accuracy": ("network accuracy %", 100.0),
    "machine_accuracy": ("machine accuracy %", 100.0),
    "agreement": ("agreement %", 100.0),
    "tau": ("Kendall τ", 1.0),
}


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate, draw and decide, group by group."""
    blocks: list[Block] = []
    for name, group in grouped(members).items():
        runs = [read_attacks(member.artifact) for member in group]
        blocks.append(_table(name, group, runs))
        curves = {
            source: {
                "network": [_accuracy(runs, source, radius, "network_accuracy") for radius in radii(runs)],
                "machine": [_accuracy(runs, source, radius, "machine_accuracy") for radius in radii(runs)],
            }
            for source in dict.fromkeys(source for source, _ in runs[0])
        }
        blocks.append(
            Picture(
                attack_curves(radii(runs), curves),
                f"{name}: accuracy on attacked test points, mean over runs (n = {len(group)}), by source of attack.",
                "Accuracy of network and machine against the radius of attacks",
            )
        )
        blocks += about(group, study_claims(name, runs), "2305.14585")
    headlines = over_seeds(
        "agreement",
        "Does the kernel machine of a network follow it on attacked test points?",
        "Attacked through the network at the largest radius, machine and network decide alike on {} of the points",
        grouped(members),
        lambda member: 100 * _worst(read_attacks(member.artifact))["agreement"],
        heading="equal decisions",
        about="Test points attacked through the network, largest radius.",
        unit="%",
        within=SHARE,
    )
    return Section("Adversarial test points", blocks, headlines)


def _worst(run: Attacks) -> AttackRow:
    """Row of the largest radius of attacks through the network."""
    return run["network", max(radius for source, radius in run if source == "network")]


def _accuracy(
    runs: list[Attacks], source: str, radius: float, measure: Literal["network_accuracy", "machine_accuracy"]
) -> float:
    values = [run[source, radius][measure] for run in runs]
    return sum(values) / len(values)


def _table(name: str, group: list[Gathered], runs: list[Attacks]) -> Table:
    rows = []
    for source, radius in runs[0]:
        if radius == 0 and source != "network":  # the clean split is the same for all sources
            continue
        for measure, (heading, scale) in MEASURES.items():
            found = [run[source, radius][measure] for run in runs]
            values = [scale * value for value in found if value is not None]
            cells = summary_cells(values, within=(-1, 1) if measure == "tau" else (0, 100))
            rows.append([source if radius else "none", f"{radius:g}", heading, *cells])
    return Table(
        ["attack through", "radius", "measure", "runs", "mean", "sd", "95 % interval"],
        rows,
        f"{name}: attacked test points (PGD, L∞ radius in pixels of [0, 1]). The other network is the same training "
        "under another seed. " + OVER_SEEDS,
        keys=keys_of(group),
        command=group[0].command,
    )
