"""What the report reads of attacks: one row per source and radius."""

from __future__ import annotations

from typing import Literal, TypedDict

from pipeline.engine.artifacts import Artifact

ATTACKS = "adversarial.parquet"
AttackMeasure = Literal["network_accuracy", "machine_accuracy", "agreement", "tau"]


class AttackRow(TypedDict):
    """Network and machine on test points attacked through one source at one radius; radius 0 is the clean split."""

    source: str
    radius: float
    network_accuracy: float
    machine_accuracy: float
    agreement: float
    tau: float | None


Attacks = dict[tuple[str, float], AttackRow]
"""Rows of one run by source and radius."""


def read_attacks(adversarial: Artifact) -> Attacks:
    """Read the rows of one run."""
    rows: list[AttackRow] = adversarial.rows(ATTACKS)
    return {(row["source"], float(row["radius"])): row for row in rows}


def radii(runs: list[Attacks]) -> list[float]:
    """Radii of the attacks, 0 among them, ascending."""
    return sorted({radius for _, radius in runs[0]})
