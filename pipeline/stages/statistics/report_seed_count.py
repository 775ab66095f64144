"""Report blocks on the number of seeds: distance of the consensus to the expected distribution, and a stopping rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.pages.blocks import Picture, Table
from analysis.variability.figures import ensemble_figure
from analysis.variability.seed_count import EnsembleCurve, SeedCount
from pipeline.engine.artifacts import Artifact
from pipeline.stages.statistics.read import GroupRow, SeedCountRow, read_seed_counts


def stopping_words(row: SeedCountRow, rungs: Sequence[SeedCountRow]) -> str:
    """Say what the stopping rule found.

    Parameters
    ----------
    row : SeedCountRow
        The recommendation of a group.
    rungs : sequence of SeedCountRow
        Distances between halves of more and more runs of it.
    """
    plan = f"the spread of single runs asks for about {row['runs']:,}"
    if row["recommended"] > 0:
        return (
            f"with {row['recommended']:,} runs the distance between two halves has stayed below {row['ks']:.3g} twice "
            f"in a row; {plan}"
        )
    last = rungs[-1]
    return (
        f"two halves of {last['runs']:,} runs still differ by {last['ks']:.3g}, where less than {row['ks']:.3g} is "
        f"wanted twice in a row; {plan}"
    )


def seed_counts(artifact: Artifact, summary: list[GroupRow], command: str) -> tuple[list[Table | Picture], list[str]]:
    """Draw the curve over the number of runs of every group and tabulate the recommendations; also the findings."""
    table = read_seed_counts(artifact)
    blocks: list[Table | Picture] = []
    said: dict[str, str] = {}
    for group in dict.fromkeys(row["group"] for row in table):
        mine = [row for row in table if row["group"] == group]
        delta = next(row["delta"] for row in summary if row["group"] == group)
        curves = {}
        for kind in ("mixture", "logit_mean", "quantile_mean"):
            rows = [row for row in mine if row["kind"] == kind]
            ks = np.array([[row["ks_low"], row["ks"], row["ks_high"]] for row in rows])
            level = np.array([[row["level_low"], row["level"], row["level_high"]] for row in rows])
            sizes = np.array([row["runs"] for row in rows])
            curves[kind] = EnsembleCurve(sizes, ks, level, delta, kind)
        rungs = [row for row in mine if row["kind"] == "half_to_half"]
        final = [row for row in mine if row["kind"] == "recommendation"]
        count = None
        if final:
            ks = np.array([row["ks"] for row in rungs])
            wanted = final[0]["recommended"] if final[0]["recommended"] > 0 else None
            sizes = np.array([row["runs"] for row in rungs])
            count = SeedCount(sizes, ks, 0 * ks, final[0]["ks"], wanted, final[0]["runs"], float("nan"))
            said[group] = stopping_words(final[0], rungs)
        blocks.append(
            Picture(
                ensemble_figure(curves, count=count, delta=delta),
                f"{group}: distance and level of the consensus of M runs against the mixture of a disjoint half; "
                "bands hold 95 % of random subsets of one half of the runs, at most a third of it; the other half "
                "and the test examples are the same for all.",
                f"Distance and level of the consensus of more and more runs of {group}",
            )
        )
    if said:
        caption = (
            "How many seeds are enough: the runs are doubled until the distributions of two halves of them differ by "
            "less than a quarter of the tolerance twice in a row."
        )
        lines = [[group, words] for group, words in said.items()]
        blocks.append(Table(["group", "how many seeds"], lines, caption, keys=[artifact.key], command=command))
    return blocks, [f"{group}: {words}." for group, words in said.items()]
