"""Schema of the toy study: a two-layer student at linear width, trained under many seeds at once."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field

OPTIMIZERS = ("gd", "sgd", "adam")


@dataclass
class ToyConfig:
    """One setting of the toy model, the same for all of its seeds."""

    samples: int = 1000
    features: int | None = None
    """Input dimension d; n/2 when absent."""
    width: int | None = None
    """Hidden width h; 3d/2 when absent."""
    test_samples: int = 2000
    optimizer: str = "sgd"
    """gd | sgd | adam; gd is full-batch."""
    rate: float = 0.5
    rate_unit: str = "critical"
    """critical: multiples of each seed's own measured critical rate; absolute."""
    steps: int = 6000
    batch_size: int | None = 32
    """Null: all samples at every step."""
    momentum: float = 0.0
    half_loss: bool = True
    """Half the mean squared error, else the mean squared error itself."""
    activation: str = "tanh"
    teacher: str = "softplus"
    normalized: bool = True
    """Activations of zero mean and unit variance under a standard Gaussian."""
    parameterization: str = "ntk"
    """ntk | standard | mean_field."""
    trained: str = "both"
    """both | first."""
    center_output: bool = False
    noise: float = 0.3
    quadratic: float = 0.0
    """The teacher's weight tau of ||x||^2 / d."""
    indices: int = 1
    """Number of teacher directions."""
    seeds: list[int] = field(default_factory=lambda: [0])
    """Each fixes its data, initial weights and batches."""
    per_decade: int = 3
    """Snapshots per factor ten in steps, besides the first and the last."""
    null_draws: int = 200
    """Noise spectra behind a tail's p-values."""
    limit_samples: int | None = None
    limit_steps: int | None = None
    """Caps for quick looks; they override the values above."""

    @property
    def shape(self) -> tuple[int, int]:
        """Width and features ``(h, d)``."""
        d = self.features or self.samples // 2
        return self.width or (3 * d) // 2, d

    @property
    def batch(self) -> int:
        """Samples per step."""
        return self.samples if self.optimizer == "gd" or self.batch_size is None else self.batch_size

    def capped(self) -> ToyConfig:
        """Apply the caps: fewer samples at the same ratios, fewer steps."""
        if self.limit_samples is None and self.limit_steps is None:
            return self
        samples = min(self.samples, self.limit_samples or self.samples)
        shrink = samples / self.samples
        return dataclasses.replace(
            self,
            samples=samples,
            test_samples=max(2, round(self.test_samples * shrink)),
            features=None if self.features is None else max(2, round(self.features * shrink)),
            width=None if self.width is None else max(2, round(self.width * shrink)),
            batch_size=None if self.batch_size is None else min(self.batch_size, samples),
            steps=min(self.steps, self.limit_steps or self.steps),
            limit_samples=None,
            limit_steps=None,
        )

    def validate(self) -> ToyConfig:
        """Refuse what could only fail later.

        Raises
        ------
        ValueError
            In one sentence that names the field.
        """
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.trained not in ("both", "first"):
            raise ValueError(f"trained must be one of both, first, got {self.trained!r}")
        if self.rate_unit not in ("critical", "absolute"):
            raise ValueError(f"rate_unit must be critical or absolute, got {self.rate_unit!r}")
        if self.optimizer == "adam" and self.rate_unit == "critical":
            raise ValueError("Adam's step per entry is its rate: give it with rate_unit=absolute")
        if self.optimizer == "adam" and self.momentum:
            raise ValueError("momentum belongs to gd and sgd; Adam has its own averages (0.9 and 0.999)")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds must be distinct, at least one and none below 0, got {self.seeds}")
        if self.samples < 2 or self.steps < 1 or not 0 <= self.rate < math.inf:
            raise ValueError("samples must be at least 2, steps at least 1 and the rate finite and non-negative")
        if self.batch_size is not None and not 1 <= self.batch_size <= self.samples:
            raise ValueError(f"batch_size must lie between 1 and samples = {self.samples}, got {self.batch_size}")
        return self
