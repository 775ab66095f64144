"""Schema of the toy study: a two-layer student at linear width, trained under many seeds at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from models.configs import ACTIVATIONS, TwoLayerConfig
from models.fields import choice, choices_of, problems, setting


@dataclass
class ToyConfig:
    """One setting of the toy model, the same for all of its seeds."""

    samples: int = setting(1000, "Training samples n.", at_least=2)
    features: int | None = setting(None, "Input dimension d; null: n/2.", at_least=1)
    width: int | None = setting(None, "Hidden width h; null: 3d/2.", at_least=1)
    test_samples: int = setting(2000, "Test samples.", at_least=1)
    optimizer: str = choice(
        "gd",
        "sgd",
        "adam",
        "muon",
        default="sgd",
        help="Optimizer; gd is full-batch; muon moves the hidden matrix, and adam the readout.",
    )
    rate: float = setting(0.5, "Learning rate, in rate_unit.", at_least=0)
    rate_unit: str = choice(
        "critical", "absolute", default="critical", help="critical: multiples of each seed's measured critical rate."
    )
    steps: int = setting(6000, "Optimizer steps.", at_least=1)
    batch_size: int | None = setting(32, "Samples of a step; null: all.", at_least=1)
    momentum: float = setting(0.0, "Momentum of gd, sgd and muon.", at_least=0)
    half_loss: bool = setting(True, "Half the mean squared error, else the mean squared error itself.")
    activation: str = choice(*ACTIVATIONS, default="tanh", help="Activation of the student.")
    teacher: str = choice(*ACTIVATIONS, default="softplus", help="Activation of the teacher.")
    normalized: bool = setting(True, "Activations of zero mean and unit variance under a standard Gaussian.")
    parameterization: str = choice(
        *choices_of(TwoLayerConfig, "parameterization"), default="ntk", help="Scale factors of the layers."
    )
    trained: str = choice(*choices_of(TwoLayerConfig, "trained"), default="both", help="Which layers are trained.")
    center_output: bool = setting(False, "Use f(theta) - f(theta_0).")
    noise: float = setting(0.3, "Standard deviation of the targets' noise.", at_least=0)
    quadratic: float = setting(0.0, "The teacher's weight tau of ||x||^2 / d.")
    indices: int = setting(1, "Number of teacher directions.", at_least=1)
    seeds: list[int] = setting(
        [0], "Each fixes its data, initial weights and batches.", at_least=0, filled=True, distinct=True
    )
    per_decade: int = setting(3, "Snapshots per factor of ten in steps, besides the first and the last.", at_least=1)
    null_draws: int = setting(200, "Noise spectra behind a tail's p-values; 0 fits no tail.", at_least=0)
    limit_samples: int | None = setting(None, "Cap on samples for quick looks, at the same ratios.", at_least=2)
    limit_steps: int | None = setting(None, "Cap on steps for quick looks.", at_least=1)

    @property
    def shape(self) -> tuple[int, int]:
        """Width and features ``(h, d)``."""
        d = self.features or self.samples // 2
        return self.width or (3 * d) // 2, d

    @property
    def batch(self) -> int:
        """Samples per step."""
        return self.samples if self.optimizer == "gd" or self.batch_size is None else self.batch_size

    @property
    def own_step(self) -> bool:
        """Whether a step has a size of its own, so that no critical rate bounds it."""
        return self.optimizer in ("adam", "muon")

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
        for problem in problems("toy", self):
            raise ValueError(problem.removesuffix("."))
        if self.own_step and self.rate_unit == "critical":
            raise ValueError(
                f"a step of {self.optimizer.capitalize()} has a size of its own: give its rate with rate_unit=absolute"
            )
        if self.optimizer == "adam" and self.momentum:
            raise ValueError("momentum belongs to gd and sgd; Adam has its own averages (0.9 and 0.999)")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct, got {self.seeds}")
        if self.batch_size is not None and self.batch_size > self.samples:
            raise ValueError(f"batch_size must be between 1 and samples = {self.samples}, got {self.batch_size}")
        return self
