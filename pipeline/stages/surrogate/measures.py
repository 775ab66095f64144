"""Measures of faithfulness that tables and claims share: headings, scales and values over runs."""

from __future__ import annotations

from pipeline.engine.build import Gathered

MEASURES = {
    "network_accuracy": ("network accuracy %", 100.0),
    "surrogate_accuracy": ("surrogate accuracy %", 100.0),
    "tad": ("TAD %", 100.0),
    "tau": ("Kendall τ", 1.0),
    "r2": ("R²", 1.0),
    "r_miss": ("R_miss", 1.0),
    "agreement": ("agreement %", 100.0),
}
"""Heading and scale by name of the metric."""


def values_over_runs(group: list[Gathered], measure: str, scale: float = 1.0) -> list[float]:
    """Collect a metric over a group's runs, without those where it is undefined."""
    found = [member.artifact.metrics.get(measure) for member in group]
    return [scale * float(value) for value in found if value is not None]
