"""Finished toy settings, read back for the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config.toy import ToyConfig
from pipeline.engine.build import Gathered


@dataclass(frozen=True)
class ToyMember:
    """A finished toy setting, read back.

    Attributes
    ----------
    label : str
        Short name of the setting.
    config : ToyConfig
    metrics : dict
    rows : list of dict
        As written by the stage.
    spectra : dict of ndarray (seeds, snapshots, k)
    tails : list of dict
    key : str
    """

    label: str
    config: ToyConfig
    metrics: dict[str, Any]
    rows: list[dict[str, Any]]
    spectra: dict[str, np.ndarray]
    tails: list[dict[str, Any]]
    key: str

    @property
    def steps(self) -> list[int]:
        """Snapshot steps."""
        return list(self.metrics["steps"])

    def at(self, step: int) -> list[dict[str, Any]]:
        """Rows of one step, one per seed."""
        return [row for row in self.rows if row["step"] == step]

    @property
    def final(self) -> list[dict[str, Any]]:
        """Last rows, one per seed."""
        return self.at(self.steps[-1])

    def values(self, name: str, step: int | None = None) -> list[float]:
        """Collect a quantity at one step (the last by default) over the seeds that did not diverge."""
        rows = self.final if step is None else self.at(step)
        return [float(row[name]) for row in rows if row["status"] == "ok"]

    def curve(self, name: str) -> np.ndarray:
        """Tabulate a quantity over seeds and steps, NaN where a seed diverged."""
        table = {(row["seed"], row["step"]): row for row in self.rows}
        return np.array(
            [
                [
                    float(table[seed, step][name]) if table[seed, step]["status"] == "ok" else math.nan
                    for step in self.steps
                ]
                for seed in self.config.seeds
            ]
        )


def setting_label(config: ToyConfig) -> str:
    """Name a setting by what sets it apart: optimiser, rate, trained layers."""
    name = {"gd": "GD", "sgd": f"SGD{config.batch}", "adam": "Adam"}[config.optimizer]
    if config.optimizer == "adam" and config.batch != config.samples:
        name += str(config.batch)
    rate = f"{config.rate:g}×" if config.rate_unit == "critical" else f"{config.rate:g}"
    extra = (", first layer" if config.trained == "first" else "") + (", centred" if config.center_output else "")
    return f"{name} {rate}{extra}"


def read_member(member: Gathered) -> ToyMember:
    """Read one gathered artefact."""
    config = member.config.toy.capped()
    return ToyMember(
        label=setting_label(config),
        config=config,
        metrics=member.artifact.metrics,
        rows=member.artifact.table("rows.parquet").to_pylist(),
        spectra=member.artifact.arrays("spectra.safetensors"),
        tails=member.artifact.table("tails.parquet").to_pylist(),
        key=member.artifact.key,
    )
