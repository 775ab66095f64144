"""Stage ``adversarial``: whether a kernel machine still agrees with its network on attacked test points.

The limitation study of arXiv:2305.14585: L∞ attacks through the network, through the machine itself (rebuilt so that
it can be differentiated) and through another training of the same network, each evaluated on network and machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.surrogates.faithfulness import binary_log_scores
from analysis.surrogates.named_tau import tau
from analysis.surrogates.tangent_machine import TangentMachine
from models.gradient_attack import PixelBall, projected_gradient_attack
from pipeline.config.adversarial import AdversarialConfig
from pipeline.config.data import ImageConfig
from pipeline.data.datamodule import DataModule, KernelInputs, open_data
from pipeline.engine.artifacts import finite_or_none
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.adversarial.read import ATTACKS, AttackRow
from pipeline.stages.kernel.read import read_kernel_sides
from pipeline.stages.surrogate.read import read_coefficients
from pipeline.training.networks import trained_network

SOURCES = ("network", "machine", "other network")
TOLERANCE = 1e-5
"""Largest difference between the rebuilt machine and the stored kernel's, over the sum of its absolute weights: the
rounding of a float32 kernel's entries."""
ROWS = 128
"""Test points at a time: a machine's tangent products take about 10 MB a point at the published size."""


def adversarial(build: Build) -> dict[str, Any]:
    """Attack the kernel's test points from every source at every radius.

    Writes ``adversarial.parquet``: source, radius (pixels in [0, 1]), accuracy of network and machine, Kendall τ of
    the true class's log-odds, agreement; radius 0 is the clean split.
    """
    config, choice = build.config, build.config.adversarial
    train, tests = read_kernel_sides(build)
    split, side = next(iter(tests.items()))
    weights, offsets = read_coefficients(build.inputs["surrogate"])
    assert weights is not None and offsets is not None
    data = open_data(config, build.inputs["data"])
    # In float64: a kernel of almost equal entries leaves large weights that cancel.
    points, rows = (
        _images(data, name, limit).double()
        for name, limit in ((split, config.kernel.n_test), ("train", config.kernel.n_train))
    )
    labels = torch.from_numpy(side.labels)
    with arithmetic(config.numerics) as device:
        network = trained_network(config, data, build.inputs["weights"]).to(device).double()
        other = trained_network(config, data, build.inputs["other"]).to(device).double()
        machine = TangentMachine(
            network,
            rows.to(device),
            torch.from_numpy(weights).to(device),
            torch.from_numpy(offsets).to(device),
            config.kernel.kind,
        )
        points, labels = points.to(device), labels.to(device)
        expected = np.asarray(side.kernel, np.float64) @ weights.T + offsets
        error = _check_rebuilt(machine, points, expected, float(np.abs(weights).sum(1).max()))
        attackers: tuple[Callable[[Tensor], Tensor], ...] = (network, machine, other)
        table: list[AttackRow] = []
        for source, scores in zip(SOURCES, attackers, strict=True):
            for radius in (0.0, *choice.radii):
                moved = points
                if radius:
                    build.say(f"attack through the {source}, radius {radius:g}")
                    moved = _attacked(scores, points, labels, radius, data.config.image, choice)
                table.append(_judged(source, radius, network, machine, moved, side.labels))
    build.write_rows(ATTACKS, table)
    return {"n_test": len(side.labels), "rebuilt_error": error, "radii": list(choice.radii)}


def _images(data: DataModule, split: str, limit: int | None) -> Tensor:
    found: KernelInputs = data.kernel_inputs(split, limit)
    if not isinstance(found.inputs, Tensor) or found.inputs.ndim != 4:
        raise UserError("stage=adversarial moves pixels; it needs images.")
    return found.inputs


def _check_rebuilt(machine: TangentMachine, points: Tensor, expected: np.ndarray, scale: float) -> float:
    """Compare with the scores of the stored kernel; refuse a machine that differs."""
    with torch.no_grad():
        found = _by_rows(machine, points)
    error = float(np.abs(found - expected).max() / scale)
    if not error <= TOLERANCE:
        raise UserError(
            f"The machine rebuilt for attacks differs from the stored kernel's by {error:.2g} per unit of weight; use "
            "an exact normalized kernel (kernel.sketch=null) in kernel.precision=float32."
        )
    return error


def _attacked(
    scores: Callable[[Tensor], Tensor],
    points: Tensor,
    labels: Tensor,
    radius: float,
    image: ImageConfig,
    choice: AdversarialConfig,
) -> Tensor:
    """Attack at a radius given in pixels of [0, 1], in the units of the normalized inputs."""
    ball = PixelBall.of(radius, points.shape[1], image.mean, image.std)
    return projected_gradient_attack(
        scores,
        points,
        labels,
        radius=ball.radius.to(points),
        low=ball.low.to(points),
        high=ball.high.to(points),
        steps=choice.steps,
        generator=torch.Generator().manual_seed(choice.seed),
        rows=ROWS,
    )


def _by_rows(scores: Callable[[Tensor], Tensor], points: Tensor) -> np.ndarray:
    return np.concatenate([scores(part).double().cpu().numpy() for part in points.split(ROWS)])


@torch.no_grad()
def _judged(
    source: str,
    radius: float,
    network: torch.nn.Module,
    machine: TangentMachine,
    points: Tensor,
    labels: np.ndarray,
) -> AttackRow:
    logits = _by_rows(network, points)
    own = binary_log_scores(logits[:, 0]) if logits.shape[1] == 1 else logits
    copied = _by_rows(machine, points)
    return {
        "source": source,
        "radius": radius,
        "network_accuracy": float((own.argmax(1) == labels).mean()),
        "machine_accuracy": float((copied.argmax(1) == labels).mean()),
        "agreement": float((own.argmax(1) == copied.argmax(1)).mean()),
        "tau": finite_or_none(tau(own, copied, labels)),
    }
