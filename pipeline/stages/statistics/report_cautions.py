"""Sentences on what makes levels hard to read: runs that were left out, noise, atoms, arithmetic that varies."""

from __future__ import annotations

from analysis.trimming.thresholds import examples_for_threshold
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact
from pipeline.reporting.groups import group_names
from pipeline.stages.statistics.read import GroupRow, RunRow


def notes(artifact: Artifact) -> list[str]:
    """Say what the stage noted, groups by their names; tolerances below the noise are told in words of a page."""
    kept = [note for note in artifact.metrics["notes"] if "noise-limited" not in note]
    for label, name in group_names(artifact.metrics["groups"]).items():
        kept = [note.replace(label, name) for note in kept]
    return kept


def cautions(runs: list[RunRow], summary: list[GroupRow], config: RunConfig) -> list[str]:
    """Say what makes a level or a factor hard to read: atoms above delta, arithmetic that varies by itself."""
    found = []
    for examples in dict.fromkeys(row["examples"] for row in summary):
        fixed = [row for row in summary if row["examples"] == examples and row["threshold"] != "DKW"]
        small = sorted({row["delta"] for row in fixed if row["noise_limited"]}, reverse=True)
        if small:
            needed = ", ".join(
                f"δ = {delta:g} takes {examples_for_threshold(delta, eps=config.statistics.eps):,} rows"
                for delta in small
            )
            found.append(
                f"On {examples:,} test rows, chance alone moves a run's distribution by more than the smaller "
                f"tolerances δ, and levels at them come out too high: {needed}."
            )
    for group, delta in {row["group"]: row["delta"] for row in reversed(summary)}.items():
        heavy = [row["seed"] for row in runs if row["group"] == group and row["largest_atom"] > delta]
        if heavy:
            found.append(
                f"{group}: in seeds {', '.join(heavy[:10])} ({len(heavy)} in all) one value holds more than δ = "
                f"{delta:.4f} of the examples and decides the level by itself."
            )
    streams = sorted({name for name in ("init", "order", "augment", "dropout") if f"seeds.{name}" in str(config.cells)})
    if streams and not config.numerics.deterministic:
        found.append(
            f"seeds.{', seeds.'.join(streams)} vary alone, but numerics.deterministic=false lets equal seeds "
            "differ too: the factors are confounded with the arithmetic."
        )
    return found
