"""Schema of probes on layer features."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ProbesConfig:
    """Surrogate classifiers on principal components of layer features."""

    neighbors: list[int] = field(default_factory=lambda: [10])
    """Neighbours of the k-NN probes; the first one enters the onset."""
    components: int = 256
    tolerance: float = 0.01
    """Largest spread of the surrogates' accuracies that counts as agreement (0.01: one point)."""
    costs: list[float] = field(default_factory=lambda: [1e-3, 1e-2, 1e-1])
    """Candidates for the SVM's C, decided on held-out training rows."""
    scaling: str = "global"
    """none | global | whitening."""
    solver_tolerance: float = 1e-3
    draws: int = 1000
    """Bootstrap draws of the onset."""
    seed: int = 0
    history: bool = False
    """Also measure collapse and onset at every recorded snapshot (needs snapshots.record=[weights])."""
    controls: bool = False
    """Also fit on permuted labels, and score on ``features.noise`` where there is any."""
