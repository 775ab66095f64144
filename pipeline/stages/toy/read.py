"""What stage ``toy`` wrote, by file, and finished settings read back for the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np

from pipeline.config.toy import ToyConfig
from pipeline.engine.build import Gathered

ROWS = "rows.parquet"
TAILS = "tails.parquet"
SPECTRA = "spectra.safetensors"

Quantity = Literal[
    "test_error",
    "change_frobenius",
    "change_operator",
    "ks_start",
    "outliers",
    "largest",
    "alignment",
    "kta",
    "ck_alignment",
    "ck_ks_start",
    "ck_movement",
    "ntk_ks_start",
    "readout_growth",
]
"""Numbers of a row that claims and figures summarize over seeds."""


@dataclass
class ToyRow:
    """One seed at one snapshot, measured against its own start; NaN where its weights are not finite.

    Attributes
    ----------
    seed, step : int
    status : str
        ``ok`` or ``diverged``.
    train_error, test_error : float
    change_frobenius, change_operator, margin : float
        Norms of the weight change, see :class:`analysis.spectra.weights.SpectrumRow`.
    ks_start, outliers, largest, alignment : float
        Of the weight's spectrum and its leading vector's projection on the teacher.
    kta, kta_centered, ck_alignment : float
        Alignment of the conjugate kernel, and of its leading vector, with the targets.
    ck_ks_start, ck_wasserstein_start, ck_largest, ck_movement, ck_distance : float
        Of the conjugate kernel.
    ntk_ks_start, ntk_wasserstein_start, ntk_largest, ntk_movement : float
        Of the tangent kernel.
    label : str
        Class of the weight's spectrum, or ``diverged``.
    evidence : str or None
        Why it has that class.
    readout_growth : float
        ``||v||^2 / ||v_0||^2``.
    rate, critical_rate, rate_multiple : float
    diverged_step : int
        -1 for a seed that never diverges.
    """

    seed: int
    step: int
    status: str
    train_error: float = math.nan
    test_error: float = math.nan
    change_frobenius: float = math.nan
    change_operator: float = math.nan
    margin: float = math.nan
    ks_start: float = math.nan
    outliers: float = math.nan
    largest: float = math.nan
    alignment: float = math.nan
    kta: float = math.nan
    kta_centered: float = math.nan
    ck_alignment: float = math.nan
    ck_ks_start: float = math.nan
    ck_wasserstein_start: float = math.nan
    ck_largest: float = math.nan
    ck_movement: float = math.nan
    ck_distance: float = math.nan
    ntk_ks_start: float = math.nan
    ntk_wasserstein_start: float = math.nan
    ntk_largest: float = math.nan
    ntk_movement: float = math.nan
    label: str = ""
    evidence: str | None = None
    readout_growth: float = math.nan
    rate: float = math.nan
    critical_rate: float = math.nan
    rate_multiple: float = math.nan
    diverged_step: int = -1


class TailRow(TypedDict):
    """Tail of one seed's last weight spectrum; columns that no seed fills are absent from the table."""

    seed: int
    alpha: float
    fitted_alpha: NotRequired[float]
    distance: NotRequired[float]
    x_min: NotRequired[float]
    hill: NotRequired[float]
    p_distance: NotRequired[float]
    p_alpha: NotRequired[float]
    weightwatcher_alpha: NotRequired[float]
    statement: str


@dataclass(frozen=True)
class ToyMember:
    """A finished toy setting, read back.

    Attributes
    ----------
    label : str
        Short name of the setting.
    config : ToyConfig
    metrics : dict
    rows : list of ToyRow
    spectra : dict of ndarray (seeds, snapshots, k)
    tails : list of TailRow
    key : str
    """

    label: str
    config: ToyConfig
    metrics: dict[str, Any]
    rows: list[ToyRow]
    spectra: dict[str, np.ndarray]
    tails: list[TailRow]
    key: str

    @property
    def steps(self) -> list[int]:
        """Snapshot steps."""
        return list(self.metrics["steps"])

    def at(self, step: int) -> list[ToyRow]:
        """Rows of one step, one per seed."""
        return [row for row in self.rows if row.step == step]

    @property
    def final(self) -> list[ToyRow]:
        """Last rows, one per seed."""
        return self.at(self.steps[-1])

    def values(self, name: Quantity, step: int | None = None) -> list[float]:
        """Collect a quantity at one step (the last by default) over the seeds that did not diverge."""
        rows = self.final if step is None else self.at(step)
        return [float(getattr(row, name)) for row in rows if row.status == "ok"]

    def curve(self, name: Quantity) -> np.ndarray:
        """Tabulate a quantity over seeds and steps, NaN where a seed diverged."""
        table = {(row.seed, row.step): row for row in self.rows}
        return np.array(
            [
                [
                    float(getattr(table[seed, step], name)) if table[seed, step].status == "ok" else math.nan
                    for step in self.steps
                ]
                for seed in self.config.seeds
            ]
        )


def setting_label(config: ToyConfig) -> str:
    """Name a setting by what sets it apart: optimizer, rate, trained layers."""
    name = {"gd": "GD", "sgd": f"SGD{config.batch}", "adam": "Adam", "muon": "Muon"}[config.optimizer]
    if config.own_step and config.batch != config.samples:
        name += str(config.batch)
    rate = f"{config.rate:g}×" if config.rate_unit == "critical" else f"{config.rate:g}"
    extra = (", first layer" if config.trained == "first" else "") + (", centered" if config.center_output else "")
    return f"{name} {rate}{extra}"


def read_member(member: Gathered) -> ToyMember:
    """Read one gathered artifact."""
    config = member.config.toy.capped()
    return ToyMember(
        label=setting_label(config),
        config=config,
        metrics=member.artifact.metrics,
        rows=[ToyRow(**row) for row in member.artifact.rows(ROWS)],
        spectra=member.artifact.arrays(SPECTRA),
        tails=member.artifact.rows(TAILS),
        key=member.artifact.key,
    )
