"""Schema of the stages to the right of training: what each one computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class FeaturesConfig:
    """Layer outputs streamed once over a split and shared by probes and shift tests."""

    layers: list[str] = field(default_factory=lambda: ["penultimate"])
    """Module paths, globs, or ``penultimate``, ``blocks``, ``embedding``."""
    pool: str = "flatten"
    """flatten | mean | last | first."""
    splits: list[str] = field(default_factory=lambda: ["train", "test"])
    limit: int | None = None


@dataclass
class KernelConfig:
    """A Gram matrix over training and test points."""

    kind: str = "pntk"
    normalize: bool = True
    layerwise: bool = False
    precision: str = "float32"
    n_train: int | None = 1000
    n_test: int | None = 500
    memory: str = "2GiB"


@dataclass
class SurrogateConfig:
    """Kernel machine that stands in for the network."""

    kind: str = "glm"
    """glm | svm | ridge | knn."""
    link: str = "ovr"
    targets: str = "labels"
    penalty: str = "coefficients"
    alpha: float | None = 1e-4
    """Regularisation; null chooses it by cross-validation."""
    protocol: str = "corrected"
    draws: int = 200


@dataclass
class AttributionConfig:
    """Which training points speak for a decision."""

    method: str = "kernel"
    target: str = "predicted"
    top: int = 8
    gallery: int = 6


@dataclass
class ProbesConfig:
    """Surrogate classifiers on principal components of layer features."""

    neighbors: list[int] = field(default_factory=lambda: [10])
    components: int = 256
    tolerance: float = 0.01


@dataclass
class SpectraConfig:
    """Random-matrix reading of weight and kernel spectra."""

    min_side: int = 50
    null_draws: int = 200
    layers: list[str] = field(default_factory=lambda: ["*"])


@dataclass
class StatisticsConfig:
    """Seed statistics over the runs of every group of cells."""

    quantity: str = "gap"
    split: str = "test"
    eps: float = 0.01
    deltas: list[float] = field(default_factory=lambda: [0.05, 0.1])
    """Fixed resolutions reported beside the DKW threshold."""
    draws: int = 200
    seed: int = 0
    """Seed of the bootstrap and of random splits of the runs."""


@dataclass
class ShiftConfig:
    """Two-sample tests between embeddings of a reference and a sample."""

    reference: str = "train"
    sample: str = "test"
    per_side: int | None = 359
    permutations: int = 300
    redraws: int = 5
    seed: int = 0
    normalise: list[str] = field(default_factory=lambda: ["raw", "whitespace"])


@dataclass
class SnapshotsConfig:
    """What to record while training, and when."""

    record: list[str] = field(default_factory=list)
    """Any of weights, logits, spectra, kernel; empty records nothing."""
    schedule: str = "log"
    """log | epochs | steps."""
    steps: list[int] = field(default_factory=list)
    per_decade: int = 4
    probe: int = 64
    """Training examples in the fixed probe batch."""
    kernel: str = "pntk"
    options: dict[str, Any] = field(default_factory=dict)
