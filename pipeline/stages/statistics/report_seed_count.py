"""Report blocks on the number of seeds: distance of the consensus to the expected distribution, and a stopping rule."""

from __future__ import annotations

import numpy as np

from analysis.pages.blocks import Picture, Table
from analysis.variability.figures import ensemble_figure
from analysis.variability.seed_count import EnsembleCurve, SeedCount
from pipeline.engine.artifacts import Artifact
from pipeline.stages.statistics.read import GroupRow, read_seed_counts


def seed_counts(artifact: Artifact, summary: list[GroupRow], command: str) -> tuple[list[Table | Picture], list[str]]:
    """Draw the curve over the number of runs of every group and tabulate the recommendations; also the findings."""
    table = read_seed_counts(artifact)
    blocks: list[Table | Picture] = []
    findings = []
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
            findings.append(f"{group}: {final[0]['text']}.")
        blocks.append(
            Picture(
                ensemble_figure(curves, count=count, delta=delta),
                f"{group}: distance and level of the consensus of M runs against the mixture of a disjoint half; "
                "bands hold 95 % of random subsets of one half of the runs, at most a third of it; the other half "
                "and the test examples are the same for all.",
                f"How many seeds: {group}",
            )
        )
    stops = [[row["group"], row["text"]] for row in table if row["kind"] == "recommendation"]
    if stops:
        blocks.append(Table(["group", "how many seeds"], stops, "Stopping rule.", keys=[artifact.key], command=command))
    return blocks, findings
