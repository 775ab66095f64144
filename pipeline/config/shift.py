"""Schema of two-sample tests between embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ShiftConfig:
    """Two-sample tests between embeddings of a reference P and a sample M."""

    reference: str = "train"
    """Split that P and P' are drawn from."""
    sample: str = "test"
    """Split that holds M."""
    layer: str | None = None
    """One of features.layers; null takes the first."""
    per_side: int | None = 359
    permutations: int = 300
    redraws: int = 5
    """Draws of P and P'."""
    components: int = 10
    """Pooled principal components tested by KS and used by the Fréchet distance."""
    null_draws: int = 100
    """Pairs drawn from P alone to measure each test's level."""
    power_sizes: list[int] = field(default_factory=lambda: [20, 40, 80])
    power_draws: int = 40
    probe_sizes: list[int] = field(default_factory=lambda: [100, 250, 500, 1000, 2400])
    probe_redraws: int = 20
    seed: int = 0
    rivals: list[str] = field(default_factory=list)
    """Scored beside the probe trained on P, on the same rows of M: any of fine_tuned (all weights trained on P),
    head_only (its head alone), random_features (of the same embedding), random_weights (a probe on the same
    architecture without pre-training)."""
    head_lr: float = 1e-2
    """Learning rate of head_only: a head alone takes a larger one than all weights together."""
