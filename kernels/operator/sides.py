r"""One side of a kernel: which cotangents its rows stand for, how they are pulled back and pushed forward.

A kernel :math:`\sum_r G_r G_r^T` has gradients :math:`g_{nr} = J_n^T v_{nr}` of its kind. ``pntk`` and
``loss_gradient`` have one per sample; ``trntk`` one per class, each with products of its own that are added; ``entk``
has a row for each.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.capture.capture import Capture
from kernels.capture.certificate import Certifier
from kernels.capture.sources import GradientSource
from kernels.inputs.options import COTANGENT_OF_KIND
from kernels.inputs.outputs import cotangent_rows
from kernels.inputs.samples import PROBE
from kernels.operator.jacobian import Jacobian


class Side:
    """Rows, or columns, of a kernel.

    Parameters
    ----------
    jacobian : Jacobian
        Of the side's samples.
    kind : str
        Of the kernel.
    classes : int
        Logits of the model.
    predicted : bool
        Use predicted classes where there are no labels.

    Attributes
    ----------
    size : int
        Rows of the kernel: samples, or samples times logits for ``entk``.
    """

    def __init__(self, jacobian: Jacobian, kind: str, classes: int, *, predicted: bool) -> None:
        self.jacobian, self.kind, self.classes, self.predicted = jacobian, kind, classes, predicted
        self.size = jacobian.samples.count * (classes if kind == "entk" else 1)
        self.repeats = classes if kind == "trntk" else 1
        """Parameter vectors for each vector multiplied."""

    def pull(self, vectors: Float[Tensor, "n k"], classes: slice) -> Float[Tensor, "m p"]:
        """Parameter vectors G_r^T u, class by class."""
        chosen = range(self.classes)[classes]
        count = vectors.shape[1] * (len(chosen) if self.kind == "trntk" else 1)

        def cotangents(rows: slice, logits: Tensor) -> Tensor:
            if self.kind == "entk":
                return vectors.unflatten(0, (-1, self.classes))[rows].permute(2, 0, 1)
            here = vectors[rows].T
            if self.kind == "trntk":
                found = logits.new_zeros(len(chosen), *here.shape, self.classes)
                for index, c in enumerate(chosen):
                    found[index, :, :, c] = here
                return found.flatten(0, 1)
            return here.unsqueeze(2) * self._rows(rows, logits)

        return self.jacobian.pull(cotangents, count)

    def push(self, pulled: Float[Tensor, "m p"], classes: slice, out: Float[Tensor, "n k"]) -> None:
        """Add the rows' products G_r w to ``out``."""
        chosen = range(self.classes)[classes]

        def take(rows: slice, logits: Tensor, tangents: Tensor) -> None:
            if self.kind == "entk":
                out.unflatten(0, (-1, self.classes))[rows] += tangents.permute(1, 2, 0)
            elif self.kind == "trntk":
                each = tangents.unflatten(0, (len(chosen), -1))
                out[rows] += torch.stack([each[i, :, :, c] for i, c in enumerate(chosen)]).double().sum(0).T
            else:
                out[rows] += (tangents * self._rows(rows, logits)).double().sum(2).T

        self.jacobian.push(pulled, take)

    def squared_norms(self, fallback: tuple[str, ...], certify: str, room: int) -> Float[Tensor, " n"]:
        """Diagonal of the kernel from the engine's per-sample gradients, a few samples at a time."""
        own, samples = self.jacobian, self.jacobian.samples
        probe = samples.first(PROBE, own.device, own.dtype)
        chosen: dict[str, Any] = {"layers": list(own.parameters), "fallback": fallback, "output": own.output}
        capture = Capture(own.model, probe, certifier=Certifier(certify), **chosen)
        source = GradientSource(capture, COTANGENT_OF_KIND[self.kind], predicted=self.predicted)
        each = own.width * 8 * (self.classes if self.kind in ("trntk", "entk") else 1)
        size = int(max(1, min(own.size, room / (2 * each))))
        found = []
        for rows, inputs in samples.batches(0, samples.count, size, own.device, own.dtype):
            source.enter(samples.place(rows))
            squares: Tensor | None = None
            for block in source.blocks(inputs, self._labels(rows), None)[1]:
                for gradient in block.gradients().values():
                    one = gradient.double().reshape(*gradient.shape[:2], -1).square().sum(2)
                    squares = one if squares is None else squares + one
            assert squares is not None
            found.append(squares.flatten() if self.kind == "entk" else squares.sum(1))
        return torch.cat(found)

    def _rows(self, rows: slice, logits: Tensor) -> Float[Tensor, "b k"]:
        """Return the one cotangent of each sample, of kinds that have one."""
        labels = self._labels(rows)
        if labels is None and self.predicted:
            labels = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()
        return cotangent_rows(logits, labels, COTANGENT_OF_KIND[self.kind])[:, 0]

    def _labels(self, rows: slice) -> Tensor | None:
        labels = self.jacobian.samples.labels
        return None if labels is None else labels[rows].to(self.jacobian.device)
