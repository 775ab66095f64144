"""Decide claim T7 of arXiv:2211.06506 on real networks: whether spectra move more under Adam than under SGD."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.verdicts import student_mean_interval
from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from pipeline.engine.build import Gathered
from pipeline.reporting.blocks import Verdict

MIN_PAIRS = 3
"""Paired seeds below which the claim is left undecided."""


def optimizer_verdicts(members: Sequence[Gathered]) -> list[Verdict]:
    """Decide it over seeds that were trained with both; no verdict without such pairs or without probe kernels."""
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
    if not shared:
        return []
    gaps = {
        name: [adam[s].artifact.metrics[name] - sgd[s].artifact.metrics[name] for s in shared]
        for name in ("ks_start_mean", "kernel_kta")
        if all(m.artifact.metrics.get(name) is not None for s in shared for m in (sgd[s], adam[s]))
    }
    if len(gaps) < 2:
        return []
    found = {name: student_mean_interval(values) for name, values in gaps.items()}
    enough = len(shared) >= MIN_PAIRS
    good = all(low > 0 for _, _, low, _ in found.values())
    bad = any(high < 0 for _, _, _, high in found.values())
    ks, kta = found["ks_start_mean"], found["kernel_kta"]
    return [
        Verdict(
            "T7: spectra and kernel alignment move more under Adam than under SGD at a small rate",
            UNDECIDED if not enough or not (good or bad) else REPRODUCED if good else NOT_REPRODUCED,
            f"Adam minus SGD: KS to start {ks[0]:+.4f} [{ks[2]:+.4f}, {ks[3]:+.4f}], KTA {kta[0]:+.3f} "
            f"[{kta[2]:+.3f}, {kta[3]:+.3f}], {len(shared)} paired seeds, Student's t",
            "both larger for Adam",
            "derived; the claim is published",
        )
    ]
