"""Schema of Gram matrices."""

from __future__ import annotations

from dataclasses import dataclass, field


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
    test_splits: list[str] = field(default_factory=lambda: ["test"])
    """Splits compared with the training points, ``n_test`` rows of each (``test_triggered`` of a poisoned view)."""
    sketch: str | None = None
    """null (exact) | tensorsketch | countsketch | rademacher: the proj- kernels of arXiv 2305.14585."""
    dim: int = 2048
    """Features of a sketch."""


@dataclass
class LayerKernelsConfig:
    """The tangent kernel layer by layer; ``kernel`` says which and on what, ``surrogate`` which machine is fitted."""

    points: int = 32
    """Training points on which every route to the kernel is compared in float64."""
