"""Train the two-layer toy model under many seeds at once and record its spectra at log-spaced steps.

Weights carry a leading seed axis, so one batched product serves all seeds; seeds never mix, because each
loss depends on its own weights alone and the optimisers act entry by entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.two_layer import (
    TRAINED,
    GaussianActivation,
    Parameterization,
    parameterization_of,
    sample_teacher,
)

OPTIMIZERS = ("gd", "sgd", "adam")


@dataclass(frozen=True)
class ToyConfig:
    """One run of the toy model, the same for all of its seeds.

    Attributes
    ----------
    samples, features, width : int
        ``n``, ``d`` and ``h``; absent ones follow ``n/d = 2`` and ``h/d = 1.5``.
    test_samples : int
        Fresh samples for the test error.
    optimizer : {"gd", "sgd", "adam"}
        ``gd`` is full-batch; ``adam`` is full-batch where ``batch_size`` is None.
    rate : float
        Learning rate, in units of ``rate_unit``.
    rate_unit : {"critical", "absolute"}
        ``critical`` multiplies each seed's own measured critical rate.
    steps : int
    batch_size : int or None
        None: all samples at every step.
    momentum : float
    half_loss : bool
        Half the mean squared error (else the mean squared error itself).
    activation, teacher : str
    normalized : bool
        Normalise both activations.
    parameterization, trained, center_output
        See :class:`models.two_layer.TwoLayerNet`.
    noise, quadratic, indices
        See :func:`models.two_layer.sample_teacher`.
    seeds : tuple of int
        Each fixes its data, initial weights and batches.
    per_decade : int
        Snapshots per factor ten in steps, besides the first and the last.
    device : str
    """

    samples: int = 1000
    features: int | None = None
    width: int | None = None
    test_samples: int = 2000
    optimizer: str = "sgd"
    rate: float = 0.5
    rate_unit: Literal["critical", "absolute"] = "critical"
    steps: int = 6000
    batch_size: int | None = 32
    momentum: float = 0.0
    half_loss: bool = True
    activation: str = "tanh"
    teacher: str = "softplus"
    normalized: bool = True
    parameterization: str = "ntk"
    trained: str = "both"
    center_output: bool = False
    noise: float = 0.3
    quadratic: float = 0.0
    indices: int = 1
    seeds: tuple[int, ...] = (0,)
    per_decade: int = 3
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse what could only fail later."""
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.trained not in TRAINED:
            raise ValueError(f"trained must be one of {', '.join(TRAINED)}, got {self.trained!r}")
        if self.optimizer == "adam" and self.rate_unit == "critical":
            raise ValueError("Adam's step per entry is its rate: give it with rate_unit='absolute'")
        if self.optimizer == "adam" and self.momentum:
            raise ValueError("momentum belongs to gd and sgd; Adam has its own averages (0.9 and 0.999)")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one, got {self.seeds}")
        if self.samples < 2 or self.steps < 1 or not 0 <= self.rate < math.inf:
            raise ValueError("samples must be at least 2, steps at least 1 and the rate finite and non-negative")
        if self.batch_size is not None and not 1 <= self.batch_size <= self.samples:
            raise ValueError(f"batch_size must lie between 1 and samples = {self.samples}, got {self.batch_size}")

    @property
    def shape(self) -> tuple[int, int]:
        """Width and features ``(h, d)``."""
        d = self.features or self.samples // 2
        return self.width or (3 * d) // 2, d

    @property
    def batch(self) -> int:
        """Samples per step."""
        return self.samples if self.optimizer == "gd" or self.batch_size is None else self.batch_size


@dataclass
class ToyEnsemble:
    """Data and weights of all seeds; the leading axis of every tensor is the seed."""

    inputs: Float[Tensor, "s n d"]
    targets: Float[Tensor, "s n"]
    test_inputs: Float[Tensor, "s t d"]
    test_targets: Float[Tensor, "s t"]
    directions: Float[Tensor, "s k d"]
    hidden: Float[Tensor, "s h d"]
    readout: Float[Tensor, "s h"]
    scales: Parameterization
    activation: GaussianActivation

    def features(self, inputs: Float[Tensor, "s n d"], hidden: Float[Tensor, "s h d"]) -> Float[Tensor, "s n h"]:
        """Hidden features ``s(input_scale X W^T)``."""
        return self.activation(torch.bmm(inputs * self.scales.input_scale, hidden.mT))

    def output(
        self, inputs: Float[Tensor, "s n d"], hidden: Float[Tensor, "s h d"], readout: Float[Tensor, "s h"]
    ) -> Float[Tensor, "s n"]:
        """Network outputs."""
        return torch.bmm(self.features(inputs, hidden), readout[..., None])[..., 0] * self.scales.output_scale


def make_ensemble(config: ToyConfig) -> ToyEnsemble:
    """Draw teacher, data and initial weights of every seed; draws do not depend on the device."""
    width, features = config.shape
    scales = parameterization_of(config.parameterization, features, width)
    parts: dict[str, list[Tensor]] = {}
    for seed in config.seeds:
        data = torch.Generator().manual_seed(_stream(seed, 0))
        teacher = {
            "activation": config.teacher,
            "normalized": config.normalized,
            "noise": config.noise,
            "quadratic": config.quadratic,
        }
        train = sample_teacher(config.samples, features, data, indices=config.indices, **teacher)  # type: ignore[arg-type]
        test = sample_teacher(config.test_samples, features, data, directions=train.directions, **teacher)  # type: ignore[arg-type]
        init = torch.Generator().manual_seed(_stream(seed, 1))
        drawn = {
            "inputs": train.inputs,
            "targets": train.targets,
            "test_inputs": test.inputs,
            "test_targets": test.targets,
            "directions": train.directions,
            "hidden": torch.randn(width, features, generator=init) * scales.hidden_deviation,
            "readout": torch.randn(width, generator=init) * scales.readout_deviation,
        }
        for name, tensor in drawn.items():
            parts.setdefault(name, []).append(tensor)
    stacked = {name: torch.stack(tensors).to(config.device) for name, tensors in parts.items()}
    return ToyEnsemble(**stacked, scales=scales, activation=GaussianActivation(config.activation, config.normalized))


def _stream(seed: int, stream: int) -> int:
    """Independent 63-bit seed of a named stream."""
    return int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0] >> 1)


def tangent_kernel(
    ensemble: ToyEnsemble,
    inputs: Float[Tensor, "s n d"],
    hidden: Float[Tensor, "s h d"],
    readout: Float[Tensor, "s h"],
    trained: str = "both",
) -> Float[Tensor, "s n n"]:
    """Neural tangent kernel over the trained layers in closed form.

    ``out^2 (Phi Phi^T + in^2 (X X^T) o (Psi Psi^T))`` with ``Psi = s'(in X W^T) diag(v)``.
    """
    scales = ensemble.scales
    with torch.enable_grad():
        z = torch.bmm(inputs * scales.input_scale, hidden.mT).detach().requires_grad_(True)
        phi = ensemble.activation(z)
        (derivative,) = torch.autograd.grad(phi.sum(), z)
    psi = derivative * readout[:, None]
    kernel = torch.bmm(inputs, inputs.mT) * torch.bmm(psi, psi.mT) * scales.input_scale**2
    if trained == "both":
        kernel = kernel + torch.bmm(phi.detach(), phi.detach().mT)
    return kernel * scales.output_scale**2


def critical_rate(config: ToyConfig, ensemble: ToyEnsemble, batches: int = 5) -> Float[Tensor, " s"]:
    """Measured critical rate of each seed, ``2 B / lambda_max`` of the batch's tangent kernel.

    Mean over ``batches`` disjoint batches at the start. Without the factor one half in the loss it is half
    as large. Momentum is left out of it.
    """
    width = config.batch
    count = max(1, min(batches, config.samples // width))
    tops = []
    for index in range(count):
        rows = slice(index * width, (index + 1) * width)
        kernel = tangent_kernel(ensemble, ensemble.inputs[:, rows], ensemble.hidden, ensemble.readout, config.trained)
        tops.append(torch.linalg.eigvalsh(kernel.double())[:, -1])
    top = torch.stack(tops).mean(0)
    return (2.0 * width / top * (1.0 if config.half_loss else 0.5)).to(ensemble.hidden.dtype)


def log_spaced_steps(total: int, per_decade: int) -> list[int]:
    """List steps 0, 1, ..., ``total``, evenly spaced in the logarithm."""
    count = max(2, math.ceil(per_decade * math.log10(max(total, 2))) + 1)
    return sorted({0, total, *(round(step) for step in np.geomspace(1, total, count))})


def _batches(config: ToyConfig) -> Iterator[Int[Tensor, "s b"] | None]:
    """Yield each step's sample indices per seed, without replacement in an epoch; None for all samples."""
    if config.batch == config.samples:
        while True:
            yield None
    generators = [torch.Generator().manual_seed(_stream(seed, 2)) for seed in config.seeds]
    while True:
        order = torch.stack([torch.randperm(config.samples, generator=g) for g in generators])
        for start in range(0, config.samples - config.batch + 1, config.batch):
            yield order[:, start : start + config.batch]


Recorder = Callable[[int, Float[Tensor, "s h d"], Float[Tensor, "s h"]], None]


def train_ensemble(config: ToyConfig, ensemble: ToyEnsemble, record: Recorder) -> dict[str, Tensor]:
    """Train all seeds together and call ``record(step, hidden, readout)`` at log-spaced steps.

    A seed whose training loss becomes non-finite or exceeds a thousand times its first value is diverged:
    its step is kept, its weights freeze there, and the others go on. Training ends early when all have.

    Returns
    -------
    dict
        ``rate`` and ``critical_rate`` (s,), ``diverged`` (s,): step of divergence, or -1.
    """
    hidden, readout = ensemble.hidden.clone(), ensemble.readout.clone()
    seeds = torch.arange(len(config.seeds), device=hidden.device)[:, None]
    critical = critical_rate(config, ensemble)
    rate = critical * config.rate if config.rate_unit == "critical" else torch.full_like(critical, config.rate)
    factor = 0.5 if config.half_loss else 1.0
    moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in _named(hidden, readout)}
    diverged = torch.full((len(config.seeds),), -1, dtype=torch.long, device=hidden.device)
    ceiling = torch.full_like(rate, math.inf)
    wanted = set(log_spaced_steps(config.steps, config.per_decade))
    record(0, hidden, readout)
    for step, rows in zip(range(1, config.steps + 1), _batches(config), strict=False):
        x, y = ensemble.inputs, ensemble.targets
        if rows is not None:
            rows = rows.to(hidden.device)
            x, y = x[seeds, rows], y[seeds, rows]
        w, v = hidden.detach().requires_grad_(True), readout.detach().requires_grad_(config.trained == "both")
        f = ensemble.output(x, w, v)
        if config.center_output:
            f = f - ensemble.output(x, ensemble.hidden, ensemble.readout)
        loss = factor * ((f - y) ** 2).mean(1)
        parameters = [w, v] if config.trained == "both" else [w]
        gradients = torch.autograd.grad(loss.sum(), parameters)
        with torch.no_grad():
            if step == 1:
                ceiling = 1e3 * loss.detach()
            bad = ~(loss.detach() <= ceiling)
            diverged = torch.where(bad & (diverged < 0), step, diverged)
            live = (diverged < 0).to(rate.dtype) * rate
            updated = []
            for (name, weight), gradient in zip(_named(hidden, readout), gradients, strict=False):
                change = _update(config, step, gradient, *moments[name])
                scale = live.reshape(-1, *[1] * (weight.ndim - 1))
                updated.append(torch.where(scale > 0, weight - scale * change, weight))
            hidden, readout = updated[0], updated[1] if len(updated) > 1 else readout
        if step in wanted:
            record(step, hidden, readout)
            if bool((diverged >= 0).all()):
                break
    return {"rate": rate, "critical_rate": critical, "diverged": diverged}


def _named(hidden: Tensor, readout: Tensor) -> list[tuple[str, Tensor]]:
    """Parameters with the names of their optimiser state."""
    return [("hidden", hidden), ("readout", readout)]


def _update(config: ToyConfig, step: int, gradient: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Direction that the rate multiplies; advances the running averages in place."""
    if config.optimizer == "adam":
        first.mul_(0.9).add_(gradient, alpha=0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        return (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    if config.momentum:
        first.mul_(config.momentum).add_(gradient)
        return first.clone()
    return gradient
