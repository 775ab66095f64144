"""Trimming levels under the protocols of the released code, one switch at a time."""

from __future__ import annotations

import dataclasses

import numpy as np

from analysis.trimming.released import CORRECTED, PUBLISHED_2024, PUBLISHED_2025, protocol_levels
from pipeline.stages.statistics.read import ReleasedRow


def released_rows(name: str, gaps: np.ndarray, eps: float, rng: np.random.Generator) -> list[ReleasedRow]:
    """Levels under the published protocols, and under the corrected one with one published switch at a time."""
    half = len(gaps) // 2
    switches = {
        "corrected": CORRECTED,
        "reference: quantile mean": dataclasses.replace(CORRECTED, reference="quantile_mean"),
        "clip: common range to 0": dataclasses.replace(CORRECTED, clip="zero_common"),
        "clip: beyond 15 to 0": dataclasses.replace(CORRECTED, clip="zero_15"),
        "clip: clamp at 15": dataclasses.replace(CORRECTED, clip="clamp"),
        "presort and resampled halves": dataclasses.replace(CORRECTED, presort=True, boots=20),
        "interpolated, delta + 1/n": dataclasses.replace(CORRECTED, cdf="linear"),
        "grid solver": dataclasses.replace(CORRECTED, solver="grid"),
        "redraw": dataclasses.replace(CORRECTED, redraw=True),
        "published 2024": PUBLISHED_2024,
        "published 2025": PUBLISHED_2025,
    }
    rows: list[ReleasedRow] = []
    for label, protocol in switches.items():
        found = protocol_levels(gaps[:half], gaps[half:], protocol=dataclasses.replace(protocol, eps=eps), rng=rng)
        rows.append(
            {
                "group": name,
                "protocol": label,
                "delta": found.delta,
                "level_mean": float(found.level.mean()),
                "level_sd": float(found.level.std(ddof=1)),
                "at_sentinel": float(found.at_sentinel.mean()),
                "clipped": found.clipped,
                "runs": half,
            }
        )
    return rows
