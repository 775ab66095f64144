"""Train the two-layer toy model under many seeds at once and record its spectra at log-spaced steps.

Weights carry a leading seed axis, so one batched product serves all seeds; seeds never mix, because each
loss depends on its own weights alone, and the optimizers act entry by entry or on one matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from models.optimizers.muon import orthogonal_steps
from models.two_layer import (
    GaussianActivation,
    Parameterization,
    parameterization_of,
    sample_teacher,
)
from pipeline.config.toy import ToyConfig
from pipeline.training.snapshot_schedule import snapshot_steps


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


def make_ensemble(config: ToyConfig, device: torch.device | str = "cpu") -> ToyEnsemble:
    """Draw teacher, data and initial weights of every seed; draws do not depend on the device."""
    width, features = config.validate().shape
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
    stacked = {name: torch.stack(tensors).to(device) for name, tensors in parts.items()}
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


def tangent_kernel_critical_rate(config: ToyConfig, ensemble: ToyEnsemble, batches: int = 5) -> Float[Tensor, " s"]:
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


def train_all_seeds(config: ToyConfig, ensemble: ToyEnsemble, record: Recorder) -> dict[str, Tensor]:
    """Train all seeds together and call ``record(step, hidden, readout)`` at log-spaced steps.

    The recorder sees the live weights and must copy what it keeps. A seed whose training loss becomes
    non-finite or exceeds a thousand times its first value is diverged: its step is kept, its weights freeze
    there, and the others continue. Training ends early, at a snapshot, when all have diverged.

    Returns
    -------
    dict
        ``rate`` and ``critical_rate`` (s,), ``diverged`` (s,): step of divergence, or -1.
    """
    hidden, readout = ensemble.hidden.clone(), ensemble.readout.clone()
    both = config.trained == "both"
    critical = tangent_kernel_critical_rate(config, ensemble)
    rate = critical * config.rate if config.rate_unit == "critical" else torch.full_like(critical, config.rate)
    moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in (("w", hidden), ("v", readout))}
    seeds = torch.arange(len(config.seeds), device=hidden.device)[:, None]
    diverged = torch.full((len(config.seeds),), -1, dtype=torch.long, device=hidden.device)
    ceiling = torch.full_like(rate, math.inf)
    wanted = set(
        snapshot_steps("log", total_steps=config.steps, steps_per_epoch=config.steps, per_decade=config.per_decade)
    )
    record(0, hidden, readout)
    for step, rows in zip(range(1, config.steps + 1), _batches(config), strict=False):
        x, y = ensemble.inputs, ensemble.targets
        if rows is not None:
            rows = rows.to(hidden.device)
            x, y = x[seeds, rows], y[seeds, rows]
        loss, at_hidden, at_readout = _gradients(config, ensemble, x, y, hidden, readout)
        ceiling = 1e3 * loss if step == 1 else ceiling
        diverged = torch.where(~(loss <= ceiling) & (diverged < 0), step, diverged)
        lives = diverged < 0
        at_hidden = torch.where(lives[:, None, None], at_hidden, 0.0)
        _step(config, step, hidden, at_hidden, x, -rate * lives, *moments["w"])
        if both:
            direction = _direction(config, step, torch.where(lives[:, None], at_readout, 0.0), *moments["v"])
            readout.addcmul_(direction, (-rate * lives)[:, None])
        if step in wanted:
            record(step, hidden, readout)
            if not bool(lives.any()):
                break
    return {"rate": rate, "critical_rate": critical, "diverged": diverged}


def _gradients(
    config: ToyConfig, ensemble: ToyEnsemble, x: Tensor, y: Tensor, hidden: Tensor, readout: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of each seed and its gradients with respect to W X^T (seed, sample, unit) and to the readout."""
    z = torch.bmm(x, hidden.mT).requires_grad_(True)
    v = readout.detach().requires_grad_(True)
    with torch.enable_grad():
        phi = ensemble.activation(z * ensemble.scales.input_scale)
        f = torch.bmm(phi, v[..., None])[..., 0] * ensemble.scales.output_scale
        if config.center_output:
            f = f - ensemble.output(x, ensemble.hidden, ensemble.readout)
        loss = (0.5 if config.half_loss else 1.0) * ((f - y) ** 2).mean(1)
        at_hidden, at_readout = torch.autograd.grad(loss.sum(), [z, v])
    return loss.detach(), at_hidden, at_readout


def _step(
    config: ToyConfig,
    step: int,
    hidden: Tensor,
    at_hidden: Tensor,
    x: Tensor,
    rate: Tensor,
    first: Tensor,
    second: Tensor,
) -> None:
    """Move the hidden weights in place; plain descent adds the outer products without forming the gradient."""
    if config.optimizer == "muon":
        gradient, lives = torch.bmm(at_hidden.mT, x), rate.nonzero()[:, 0].tolist()
        sides = ([whole[seed] for seed in lives] for whole in (hidden, gradient, first))
        orthogonal_steps(*sides, lr=config.rate, momentum=config.momentum)
    elif config.optimizer == "adam" or config.momentum:
        direction = _direction(config, step, torch.bmm(at_hidden.mT, x), first, second)
        hidden.addcmul_(direction, rate[:, None, None])
    else:
        hidden.baddbmm_((at_hidden * rate[:, None, None]).mT, x)


def _direction(config: ToyConfig, step: int, gradient: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Direction that the rate multiplies; advances the running averages in place."""
    if config.own_step:
        first.mul_(0.9).add_(gradient, alpha=0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        return (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    if config.momentum:
        return first.mul_(config.momentum).add_(gradient)
    return gradient
