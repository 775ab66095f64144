"""Attribution through the whole training of the run's network: exactly (MAGIC), or in a few segments (SOURCE)."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from analysis.attribution.replay import Replay
from analysis.attribution.source import segment_products
from kernels import fit_ekfac, layer_jacobians
from kernels.fisher import EKFAC
from pipeline.data.datamodule import KernelInputs
from pipeline.errors import UserError
from pipeline.training.kept_files import KeptFiles
from pipeline.training.outcomes import log_odds_of
from pipeline.training.replaying import double_inputs, final_weights

LARGEST_DISTANCE = 0.05
"""Relative distance of weights at which a replay in float64 still is the run that was trained."""
_ADJOINT_BYTES = 2**30
"""Of the derivatives that one sweep holds: more test points take several sweeps."""
_ROWS = 64
"""Training points whose gradients are formed at a time."""


@dataclass
class Unrolled:
    """Derivatives of log-odds by the weight of each training row.

    Attributes
    ----------
    replay : Replay
        The run's training.
    network : nn.Module
        The run's network, in evaluation mode.
    kind : str
        Of the rows: image, text or vector.
    inputs, labels : KernelInputs, ndarray of int of shape (n,)
        The attributed training points.
    places : Tensor of int, shape (n,)
        Where they are among all training rows.
    segments : int
        Of SOURCE.
    keep : KeptFiles
        Where states, adjoints and scores survive a kill.
    say : callable
        Shows a line.
    """

    replay: Replay
    network: nn.Module
    kind: str
    inputs: KernelInputs
    labels: Int[np.ndarray, " n"]
    places: Int[Tensor, " n"]
    segments: int
    keep: KeptFiles
    say: Callable[[str], None]

    def magic(self, points: KernelInputs, classes: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m n"]:
        """Differentiate through every step of training."""
        width, parts = len(self.replay.start), len(self.replay.rule.initial(self.replay.start[:1]))
        size = max(1, min(len(classes), _ADJOINT_BYTES // (8 * width * parts)))
        name = f"magic-{_digest(points, classes)}"
        found = []
        for start in range(0, len(classes), size):
            some = slice(start, start + size)
            held = self.keep.load(f"{name}-{start}-done")
            if held is None:
                if start == 0:
                    plan = self.replay.plan(size, time.monotonic)
                    self.say(f"magic: {plan}" + (f", {-(-len(classes) // size)} times" if size < len(classes) else ""))
                measure = self._log_odds(_rows(double_inputs(points.inputs, self.kind), some), classes[some])
                swept = self.replay.derivative(measure, self.keep, name=f"{name}-{start}")
                held = {"scores": swept[:, self.places]}
                self.keep.save(f"{name}-{start}-done", held)
            found.append(held["scores"])
        return torch.cat(found).cpu().numpy()

    def source(self, points: KernelInputs, classes: Int[np.ndarray, " m"]) -> Float[np.ndarray, "m n"]:
        """Approximate the same in segments of training, each with one network's gradients and EK-FAC curvature."""
        name = f"source-{_digest(points, classes)}"
        held = self.keep.load(name)
        if held is None:
            self.say(
                f"source: {self.segments} segments, each with EK-FAC and the gradients of {len(self.labels)} training "
                f"and {len(classes)} other points at one network; two replays of {len(self.replay)} steps"
            )
            scores = segment_products(
                self._measures(points, classes),
                [self._products(network, fisher) for network, fisher, _ in self._segments],
                [length for *_, length in self._segments],
                decay=self.replay.rule.weight_decay,
            )
            held = {"scores": -scores / self.replay.rows}
            self.keep.save(name, held)
        return held["scores"].numpy()

    def distance(self, stored: Float[Tensor, " p"]) -> float:
        """Relative distance of the replayed training's end from the stored weights."""
        held = self.keep.load("end")
        if held is None:
            held = {"weights": self.replay.states([len(self.replay)])[0]}
            self.keep.save("end", held)
        return float((held["weights"] - stored.to(held["weights"])).norm() / stored.norm())

    def refuse_another_run(self) -> None:
        """Say how far the replay ends from the stored weights.

        Raises
        ------
        UserError
            If that is another run.
        """
        distance = self.distance(final_weights(self.replay, self.network.state_dict()))
        self.say(f"the replayed training ends at a relative distance of {distance:.1e} from the stored weights")
        if not distance < LARGEST_DISTANCE:
            raise UserError(
                f"The replayed training ends at a relative distance of {distance:.2g} from the stored weights, so "
                "magic and source would attribute another run: a smaller training.lr makes training less sensitive "
                "to rounding, and numerics.precision=64-true leaves it out."
            )

    def _log_odds(self, inputs: dict[str, Tensor], classes: np.ndarray) -> Callable[[Tensor], Tensor]:
        chosen = torch.from_numpy(np.ascontiguousarray(classes))

        def measure(weights: Tensor) -> Tensor:
            logits = self.replay.outputs(weights, inputs)
            return log_odds_of(logits, chosen.to(logits.device))

        return measure

    @cached_property
    def _segments(self) -> list[tuple[nn.Module, EKFAC, float]]:
        """Network in the middle of each segment, its curvature, and the training time Σ η / (1 - μ)."""
        total, count, rule = len(self.replay), self.segments, self.replay.rule
        edges = [round(i * total / count) for i in range(count + 1)]
        middles = [(a + b) // 2 for a, b in zip(edges, edges[1:], strict=False)]
        found = []
        for weights, a, b in zip(self.replay.states(middles), edges, edges[1:], strict=False):
            network = self._network_at(weights)
            fisher = fit_ekfac(network, self.inputs.inputs, fisher="exact", precision="float64")
            found.append((network, fisher, sum(self.replay.rates[a:b]) / (1 - rule.momentum)))
        return found

    def _network_at(self, weights: Tensor) -> nn.Module:
        network = copy.deepcopy(self.network).double()
        parts = weights.split([shape.numel() for shape in self.replay.shapes])
        own = dict(network.named_parameters())
        with torch.no_grad():
            for name, part, shape in zip(self.replay.names, parts, self.replay.shapes, strict=True):
                own[name].copy_(part.view(shape))
        return network.eval()

    def _products(self, network: nn.Module, fisher: EKFAC) -> tuple[EKFAC, Callable[[dict[str, Tensor]], Tensor]]:
        """Curvature of a segment, and the product of vectors with every training point's loss gradient there."""

        def along(vectors: dict[str, Tensor]) -> Tensor:
            found = []
            for rows in torch.arange(len(self.labels)).split(_ROWS):
                made = layer_jacobians(
                    network,
                    _take(self.inputs.inputs, rows),
                    cotangent="loss",
                    labels=torch.from_numpy(self.labels[rows.numpy()]),
                    precision="float64",
                )
                found.append(sum(vectors[n].flatten(1) @ values[:, 0].double().T for n, values in made.items()))
            return torch.cat(found, 1)

        return fisher, along

    def _measures(self, points: KernelInputs, classes: np.ndarray) -> dict[str, Tensor]:
        network = self._network_at(self.replay.states([len(self.replay)])[0])
        made = layer_jacobians(
            network,
            points.inputs,
            cotangent="log_odds",
            labels=torch.from_numpy(np.ascontiguousarray(classes)),
            precision="float64",
        )
        shapes = dict(zip(self.replay.names, self.replay.shapes, strict=True))
        return {
            name: made[name][:, 0].double().reshape(-1, *shape)
            if name in made
            else torch.zeros(len(classes), *shape, dtype=torch.float64)
            for name, shape in shapes.items()
        }


def _digest(points: KernelInputs, classes: np.ndarray) -> str:
    return _hash(points.ids.numpy(), np.asarray(classes))


def _hash(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in arrays)).hexdigest()[:12]


def _rows(inputs: dict[str, Tensor], rows: slice) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in inputs.items()}


def _take(inputs: Tensor | dict[str, Tensor], rows: Tensor) -> Tensor | dict[str, Tensor]:
    return inputs[rows] if isinstance(inputs, Tensor) else {name: value[rows] for name, value in inputs.items()}
