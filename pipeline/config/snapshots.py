"""Schema of what is recorded while training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from models.fields import choice, setting


@dataclass
class CurvatureConfig:
    """Hessian and Gauss-Newton matrix of the training loss on the probe batch."""

    eigenvalues: int = setting(10, "Largest eigenvalues of each matrix.", at_least=1)
    products: int = setting(100, "Most products of a matrix with a vector for them.", at_least=1)
    steps: int = setting(40, "Lanczos steps of the density of all eigenvalues.", at_least=1)
    probes: int = setting(1, "Random vectors that the density starts from.", at_least=1)
    memory: str = setting("4GiB", "Budget of the Lanczos vectors; more is refused before training.")


@dataclass
class SnapshotsConfig:
    """What to record while training, and when."""

    record: list[str] = choice(
        "weights",
        "logits",
        "spectra",
        "kernel",
        "curvature",
        default=[],
        help="What is recorded; empty records nothing.",
    )
    schedule: str = choice("log", "epochs", "steps", default="log", help="When: see per_decade and steps.")
    steps: list[int] = setting(
        [], "schedule=steps: optimizer steps; -1 stands for the last.", at_least=-1, distinct=True
    )
    per_decade: int = setting(4, "schedule=log: snapshots per factor of ten in steps.", at_least=1)
    probe: int = setting(64, "Training examples in the fixed probe batch.", at_least=1)
    kernel: str = choice(
        "trntk",
        "pntk",
        "entk",
        "conjugate",
        "embedding",
        "loss_gradient",
        default="pntk",
        help="Kernel of the probe batch.",
    )
    options: dict[str, Any] = setting({}, "Further options of that kernel, see kernels.kernel_matrix.")
    curvature: CurvatureConfig = field(default_factory=CurvatureConfig)
