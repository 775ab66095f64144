"""Report section of the barriers: how far loss and error rise between two seeds, and what matching units changes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.interpolation.figures import LABELS, path_figure
from analysis.pages.blocks import Block, Finding, Headline, Picture, Section, Table
from analysis.pages.cells import PAIR_INTERVALS, summary_cells
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of
from pipeline.reporting.headlines import over_runs_of
from pipeline.stages.barriers.read import read_paths

MEASURES = {"training loss": ("train", "loss", 1.0), "test error, %": ("test", "error", 100.0)}
"""What is drawn: split, measure and its unit."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate and draw the barriers of every group, one pair of networks each."""
    groups = {name: _pairs(group) for name, group in grouped(members).items()}
    ways = [way for way in LABELS if all(way in member.config.barriers.matching for member in members)]
    rows: list[list[Any]] = []
    for name, group in groups.items():
        for way in ways:
            rises = [member.artifact.metrics[f"{way}_train_loss"] for member in group]
            known = [float(value) for value in rises if value is not None]
            rest = [_mean(group, f"{way}_{part}", scale) for part, scale in (("test_loss", 1), ("train_error", 100))]
            errors = [100 * member.artifact.metrics[f"{way}_test_error"] for member in group]
            rows.append(
                [name, LABELS[way], *(summary_cells(known, (0, math.inf))), *rest, *summary_cells(errors, (0, 100))[1:]]
            )
    table = Table(
        ["group", "units", "pairs", "training loss", "sd", "95 % interval", "test loss", "training error %"]
        + ["test error %", "sd", "95 % interval"],
        rows,
        "Barrier: largest rise of loss or error above the straight line between its values at both ends "
        "(arXiv:1912.05671), of each pair of networks of neighboring seeds; error in percentage points. Weights are "
        "matched as in arXiv:2209.04836, activities by their correlation; batch-norm statistics between the ends are "
        f"measured anew. A network belongs to two pairs. {PAIR_INTERVALS}",
        keys=keys_of(members),
        command=members[0].command,
    )
    drawn = {
        name: {label: _paths(group, ways, *what) for label, what in MEASURES.items()} for name, group in groups.items()
    }
    picture = Picture(
        path_figure(drawn, list(MEASURES)),
        "Loss of training rows and error of test rows on the line from one seed's network to the next one's; mean over "
        "pairs, band from least to most.",
        "Loss and error between two networks",
    )
    blocks: list[Block] = [Finding(_said(groups, ways), keys_of(members)), table, picture]
    return Section("Straight lines between seeds", blocks, _headlines(groups, ways))


def _pairs(group: list[Gathered]) -> list[Gathered]:
    """Drop the way back of a pair that is there already, as between two seeds."""
    found: dict[frozenset[int], Gathered] = {}
    for member in group:
        found.setdefault(frozenset(member.artifact.metrics["pair"]), member)
    return list(found.values())


def _mean(group: list[Gathered], name: str, scale: float) -> float:
    values = [member.artifact.metrics[name] for member in group]
    known = [scale * float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else math.nan


def _paths(group: list[Gathered], ways: list[str], split: str, measure: str, scale: float) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for way in ways:
        tables = [read_paths(member.artifact) for member in group]
        values = [
            [scale * row[measure] for row in table if row["matching"] == way and row["split"] == split]  # type: ignore[literal-required]
            for table in tables
        ]
        found[way] = np.array(values)
    return found


def _said(groups: dict[str, list[Gathered]], ways: list[str]) -> str:
    parts = []
    for name, group in groups.items():
        heights = [f"{_mean(group, f'{way}_test_error', 100):.1f} ({LABELS[way]})" for way in ways]
        parts.append(f"{name}: barriers of {', '.join(heights)} percentage points of test error, mean over pairs.")
    return " ".join(parts)


def _headlines(groups: dict[str, list[Gathered]], ways: list[str]) -> list[Headline]:
    """Answer by the rise of the test error, with every way to match as a group of its own."""
    runs = {
        f"{name}, {LABELS[way]}" if len(groups) > 1 else LABELS[way]: {
            member.labels.get("seed", str(i)): 100 * member.artifact.metrics[f"{way}_test_error"]
            for i, member in enumerate(group)
        }
        for name, group in groups.items()
        for way in ways
    }
    members = [member for group in groups.values() for member in group]
    return over_runs_of(
        "barrier",
        "Are two seeds joined by a straight line?",
        "Between the networks of two seeds the test error rises above the line by {}",
        runs,
        (
            "barrier of the test error",
            "Largest rise of the test error on the straight line between two networks.",
            "points",
        ),
        (keys_of(members), members[0].command),
        within=(0, 100),
        reference=0.0,
        noun="pairs",
    )
