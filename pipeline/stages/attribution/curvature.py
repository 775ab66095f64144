"""Influence by the exact Gauss-Newton curvature of the run's network: through the dual, or by conjugate gradients."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analysis.attribution.conjugate import Product, conjugate_gradients
from analysis.attribution.influence import kernel_influence, require_dual
from analysis.attribution.kept_states import Keep, Memory
from analysis.attribution.output_derivatives import OutputDerivatives, log_odds_slopes, output_derivatives
from kernels import GaussNewton, fit_ekfac, kernel_matrix, layer_jacobians
from kernels.fisher import EKFAC
from kernels.inputs.outputs import call_logits
from models.losses import loss_named
from models.optimizers.schedules import learning_rate_factor
from pipeline.config.run import RunConfig
from pipeline.data.batch_order import BatchOrder
from pipeline.data.datamodule import KernelInputs
from pipeline.errors import UserError

_TOGETHER = 64
"""Test points whose systems are solved at a time."""


@dataclass
class Curvature:
    """Solves (H + λ) x = g for the run's network, H being the mean Gauss-Newton matrix of the attributed points.

    Attributes
    ----------
    network : nn.Module
        In evaluation mode.
    inputs : KernelInputs
        The training points.
    labels : ndarray of int, shape (n,)
    loss : str
        Name of the training loss.
    damping : float or None
        Absolute λ; None takes ``relative`` times the mean eigenvalue of H.
    relative : float
        See ``damping``.
    tol, most : float, int
        Relative residual and steps at which conjugate gradients stop.
    said : list of str
        What to tell the user of each solve: damping, residual, steps.
    keep : Keep
        Where finished solves of ``cg_influence`` survive a kill.
    say : callable
        Shows a line before a long solve.
    """

    network: nn.Module
    inputs: KernelInputs
    labels: Int[np.ndarray, " n"]
    loss: str
    damping: float | None
    relative: float
    tol: float
    most: int
    said: list[str] = field(default_factory=list)
    keep: Keep = field(default_factory=Memory)
    say: Callable[[str], None] = lambda line: None
    _held: tuple[KernelInputs, np.ndarray] | None = None

    @cached_property
    def outputs(self) -> OutputDerivatives:
        """Derivatives of the loss at each training point."""
        try:
            return output_derivatives(loss_named(self.loss), self._logits(self.inputs), self.labels)
        except ValueError as error:
            raise UserError(f"attribution by exact influence: {error}.") from error

    @cached_property
    def square(self) -> Float[np.ndarray, "n n c c"]:
        """Exact tangent kernel of the training points; it survives a kill."""
        held = self.keep.load("square")
        if held is None:
            rows, outputs = self.outputs.slopes.shape
            self.say(
                f"exact_influence: the tangent kernel and the solve of {rows}·{outputs} = {rows * outputs:,} rows: "
                f"{2 * 8 * (rows * outputs) ** 2 / 2**20:.0f} MiB, {(rows * outputs) ** 3 / 3:.1e} multiplications"
            )
            held = {"kernel": torch.from_numpy(self._kernel(None))}
            self.keep.save("square", held)
        return held["kernel"].numpy()

    @cached_property
    def absolute(self) -> float:
        """λ: as given, or ``relative`` times the mean non-zero eigenvalue tr(H)/min(nC, p)."""
        if self.damping is not None:
            return self.damping
        if "square" in self.__dict__:
            diagonal = self.square[np.arange(len(self.labels)), np.arange(len(self.labels))]
            trace = float(np.einsum("icd,ica,ida->", diagonal, self.outputs.roots, self.outputs.roots))
        else:
            trace = float(sum((values**2).sum() for values in self._rooted().values()))
        size = min(self.outputs.slopes.size, self._newton.width)
        return self.relative * trace / len(self.labels) / size

    def dual(
        self, points: KernelInputs, classes: Int[np.ndarray, " m"], *, times: float = 1.0
    ) -> Float[np.ndarray, "m n"]:
        """Score by factorizing the N·C dual with the exact tangent kernel; ``times`` multiplies λ."""
        try:
            require_dual(*self.outputs.slopes.shape)
        except ValueError as error:
            raise UserError(f"{error}.") from error
        cross = self.square if points is self.inputs else self._cross(points)
        slopes = log_odds_slopes(self._logits(points), classes)
        found = kernel_influence(self.square, cross, self.outputs, slopes, damping=times * self.absolute)
        self.said.append(f"exact_influence: λ = {found.damping:.3g}, largest relative residual {found.residual:.1e}")
        return found.scores

    def conjugate(
        self, points: KernelInputs, classes: Int[np.ndarray, " m"], *, times: float = 1.0
    ) -> Float[np.ndarray, "m n"]:
        """Score by conjugate gradients with EK-FAC of the same damping as preconditioner."""
        damping = times * self.absolute
        ekfac = dataclasses.replace(self._ekfac, damping=damping, relative=False)
        newton, found, worst, steps = self._newton, [], 0.0, 0

        def precondition(rows: Tensor) -> Tensor:
            return newton.join(ekfac.inverse_product(newton.split(rows)))

        digest = hashlib.sha256(points.ids.numpy().tobytes() + np.asarray(classes).tobytes()).hexdigest()[:12]
        right, planned = self._measures(points, classes), False
        for place, some in enumerate(right.split(_TOGETHER)):
            name = f"cg-{digest}-{damping:.17g}-{place}"
            held = self.keep.load(name)
            if held is not None:
                worst, steps = max(worst, float(held["residual"])), max(steps, int(held["steps"]))
                found.append(held["scores"].numpy())
                continue
            if not planned:
                planned = True
                self.say(self._cost(newton, precondition, some, len(right)))
            solved = conjugate_gradients(
                lambda rows: newton.product(rows) + damping * rows,
                some,
                precondition=precondition,
                tol=self.tol,
                most=self.most,
            )
            scores, residual, most = (
                -newton.along_gradients(solved.rows).cpu(),
                solved.residual.max(),
                solved.steps.max(),
            )
            self.keep.save(name, {"scores": scores, "residual": residual, "steps": most})
            worst, steps = max(worst, float(residual)), max(steps, int(most))
            found.append(scores.numpy())
        self.said.append(
            f"cg_influence: λ = {damping:.3g}, at most {steps} steps, largest relative residual {worst:.1e}"
            + ("" if worst <= 10 * self.tol else f" (wanted: {self.tol:g}; raise attribution.cg_steps={self.most})")
        )
        return np.concatenate(found)

    def _cost(self, newton: GaussNewton, precondition: Product, some: Tensor, count: int) -> str:
        """Time one step, and say what all of them can take."""
        begin = time.monotonic()
        newton.product(precondition(some))
        step = time.monotonic() - begin
        pieces = -(-count // _TOGETHER)
        return (
            f"cg_influence: {count} systems of {newton.width:,} unknowns, {step:.2g} s for a step of {len(some)}: "
            f"at most {pieces * self.most * step:.0f} s ({self.most} steps each, "
            f"{5 * 8 * newton.width * len(some) / 2**20:.0f} MiB); finished ones survive a kill"
        )

    @cached_property
    def _newton(self) -> GaussNewton:
        roots = torch.from_numpy(self.outputs.roots)
        curvatures = roots @ roots.transpose(1, 2)
        return GaussNewton(self.network, self.inputs.inputs, curvatures, torch.from_numpy(self.outputs.slopes))

    @cached_property
    def _ekfac(self) -> EKFAC:
        return fit_ekfac(self.network, self.inputs.inputs, fisher="exact", precision="float64")

    def _rooted(self) -> dict[str, Tensor]:
        roots = torch.from_numpy(self.outputs.roots)
        made = layer_jacobians(self.network, self.inputs.inputs, cotangent="class", precision="float64")
        return {name: torch.einsum("nca,ncp->nap", roots, values) for name, values in made.items()}

    def _measures(self, points: KernelInputs, classes: np.ndarray) -> Float[Tensor, "m p"]:
        made = layer_jacobians(
            self.network,
            points.inputs,
            cotangent="log_odds",
            labels=torch.from_numpy(np.ascontiguousarray(classes)),
            precision="float64",
        )
        zero = self._newton.split(torch.zeros(len(classes), self._newton.width, dtype=torch.float64))
        return self._newton.join({n: made[n][:, 0].double() if n in made else zero[n] for n in self._newton.names})

    def _kernel(self, points: KernelInputs | None) -> np.ndarray:
        found = kernel_matrix(
            self.network,
            self.inputs.inputs,
            None if points is None else points.inputs,
            kind="entk",
            normalize=False,
            precision="float64",
        )
        return found.matrix.double().cpu().numpy()

    def _cross(self, points: KernelInputs) -> np.ndarray:
        if self._held is None or self._held[0] is not points:
            self._held = (points, self._kernel(points))
        return self._held[1]

    def _logits(self, points: KernelInputs) -> Float[np.ndarray, "n c"]:
        network = copy.deepcopy(self.network).double()
        found = []
        with torch.no_grad():
            for rows in torch.arange(len(points.ids)).split(500):
                inputs = points.inputs
                some = inputs[rows] if isinstance(inputs, Tensor) else {n: v[rows] for n, v in inputs.items()}
                found.append(call_logits(network, _double(some)).cpu())
        return torch.cat(found).numpy()


def _double(inputs: Tensor | dict[str, Tensor]) -> Tensor | dict[str, Tensor]:
    if isinstance(inputs, Tensor):
        return inputs.double() if inputs.is_floating_point() else inputs
    return {n: v.double() if v.is_floating_point() else v for n, v in inputs.items()}


def influence_damping(config: RunConfig, rows: int) -> float | None:
    """λ of the exact influence: as configured, or what the length of training leaves unlearned.

    Gradient descent for the time T = Σ_t η_t / (1 - μ) learns a direction of curvature σ to the share 1 - exp(-σT), and
    damping to the share σ/(σ + λ): the two agree for small and for large σ with λ = 1/T. Weight decay adds its own
    curvature. For Adam, whose step has no such time, None: the caller takes a share of the mean eigenvalue.

    Examples
    --------
    >>> import dataclasses
    >>> run = RunConfig()
    >>> training = dataclasses.replace(run.training, optimizer="sgd", lr=0.1, momentum=0.9, epochs=2, batch_size=10)
    >>> influence_damping(dataclasses.replace(run, training=training), rows=50)  # ten steps of 0.1 / (1 - 0.9)
    0.1
    """
    if config.attribution.exact_damping is not None:
        return config.attribution.exact_damping
    training = config.training
    if training.optimizer not in ("sgd", "nesterov") or config.weights.source != "train" or training.momentum >= 1:
        return None
    total = training.epochs * len(BatchOrder(rows, training.batch_size, 0))
    time = sum(
        training.lr
        * learning_rate_factor(
            step,
            total,
            schedule=training.schedule,
            warmup=training.warmup,
            milestones=training.milestones,
            gamma=training.gamma,
        )
        for step in range(total)
    ) / (1 - training.momentum)
    return round(1 / time, 12) + training.weight_decay if time > 0 else None
