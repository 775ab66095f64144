"""Schema of layer outputs."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FeaturesConfig:
    """Layer outputs streamed once over a split and shared by probes and shift tests."""

    layers: list[str] = field(default_factory=lambda: ["penultimate"])
    """Module paths, globs, or ``penultimate``, ``blocks``, ``embedding``."""
    pool: str = "flatten"
    """flatten | mean | last | first."""
    splits: list[str] = field(default_factory=lambda: ["train", "test"])
    limit: int | None = None
    noise: float = 0.0
    """Standard deviation of Gaussian noise on the normalised images or vectors of a further copy of every split
    after the first, ``SPLIT_noisy``; 0 makes no copy."""
