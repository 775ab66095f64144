"""Schema of seed statistics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class StatisticsConfig:
    """Seed statistics over the runs of every group of cells."""

    quantity: str = "auto"
    """auto (gap with two classes, margin with more) | gap | signed_gap | prob | loss | margin | top_two."""
    split: str = "test"
    eps: float = 0.01
    deltas: list[float] = field(default_factory=lambda: [0.05, 0.1])
    """Fixed resolutions reported beside the DKW threshold."""
    draws: int = 200
    seed: int = 0
    """Seed of the bootstrap and of random splits of the runs."""
    on_bad_run: str = "error"
    """error | drop: what to do with runs that diverged."""
    claims: list[str] = field(default_factory=list)
    """Any of A1, A2, B1, B2, B3, B4: published claims to decide for every group of cells."""
    arms: list[str] = field(default_factory=list)
    """For B4: label of the group trained from scratch, then of the fine-tuned one."""
    stand_in: bool = False
    """The networks stand in for the published kind (ViT), so that B4 stays undecided."""
    subsets: int = 20
    """Random subsets of runs at each size, for the curve over the number of seeds."""
    bins: int = 15
    history: bool = False
    """Also levels after each epoch, from snapshots: needs snapshots.record=[logits] and snapshots.schedule=epochs."""
    released: bool = False
    """Also compute levels under the released protocols, switch by switch."""
