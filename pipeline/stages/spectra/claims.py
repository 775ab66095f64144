"""Decide claim T7 of arXiv:2211.06506 on real networks: whether spectra move more under Adam than under SGD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis.verdicts import Claim, Decided, Standing, above, all_hold
from pipeline.engine.build import Gathered

DIFFERENCE = 0.01
"""Difference in KS distance and in kernel-target alignment that counts."""
FIELDS = ("data", "model", "training", "snapshots", "seeds", "cells")


def optimizer_claims(members: Sequence[Gathered]) -> list[Claim]:
    """Decide it over seeds that were trained with both; no claim without such pairs or without probe kernels."""
    sgd: dict[int, Gathered] = {}
    adam: dict[int, Gathered] = {}
    for member in members:
        kind, seed = member.config.training.optimizer, member.config.seed
        if kind in ("sgd", "nesterov"):
            known = sgd.get(seed)
            if known is None or member.config.training.lr < known.config.training.lr:
                sgd[seed] = member
        else:
            adam.setdefault(seed, member)
    shared = sorted(set(sgd) & set(adam))
    names = {"ks_start_mean": "KS distance to the start", "kernel_kta": "KTA"}
    if not shared or all(adam[seed].artifact.metrics.get("kernel_kta") is None for seed in shared):
        return []
    gaps = {label: [_gap(adam[seed], sgd[seed], name) for seed in shared] for name, label in names.items()}
    return [
        Claim(
            "T7",
            "spectra and kernel alignment move more under Adam than under SGD at a small rate",
            moves_more(gaps),
            FIELDS,
            "both larger for Adam",
            Standing("derived", band="ours"),
        )
    ]


def moves_more(gaps: Mapping[str, Sequence[float | None]]) -> Decided:
    """Decide whether every measure is larger under Adam, from its differences over paired seeds."""
    found = {
        label: above(values, 0.0, margin=DIFFERENCE, what=f"{label}, Adam minus SGD", unit="paired seeds")
        for label, values in gaps.items()
    }
    return all_hold(found, f"of {' and '.join(gaps)}")


def _gap(adam: Gathered, sgd: Gathered, name: str) -> float | None:
    """Difference of one pair, None where a run could not measure it."""
    first, second = adam.artifact.metrics.get(name), sgd.artifact.metrics.get(name)
    return None if first is None or second is None else float(first) - float(second)
