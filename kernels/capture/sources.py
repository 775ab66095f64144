"""Sources of a Gram matrix: gradient blocks of a model, or its features, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from kernels.capture.agreement import Probe
from kernels.capture.capture import Capture
from kernels.capture.forward_alone import ForwardAlone
from kernels.capture.pullback import OpenPass
from kernels.gradients.blocks import Block, OuterBlock, VectorBlock
from kernels.inputs.outputs import Cotangent, Inputs, cotangent_rows
from kernels.inputs.samples import Place


@runtime_checkable
class Source(Protocol):
    """Blocks of a batch, the same names in the same order every time."""

    def blocks(self, inputs: Inputs, labels: Tensor | None, classes: slice | None) -> tuple[Tensor, list[Block]]:
        """Return (logits, blocks) of a batch; ``classes`` selects cotangents."""
        ...

    def enter(self, place: Place) -> None:
        """Say which samples the next batch holds, for messages and for the certificate."""
        ...

    def record(self) -> dict[str, Any]:
        """Return what was checked since the last call."""
        ...

    def resume(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take over what an interrupted run has recorded."""
        ...

    def certificate(self) -> dict[str, Any]:
        """Summarize what was checked."""
        ...


class GradientSource:
    """Blocks of pulled-back cotangents.

    Parameters
    ----------
    capture : Capture
        The prepared model.
    cotangent : str or callable
        See :func:`kernels.inputs.outputs.cotangent_rows`.
    split_bias : bool
        Give biases blocks of their own, for parts by parameter tensor.
    predicted : bool
        Use predicted classes where the batch has no labels.
    """

    def __init__(
        self, capture: Capture, cotangent: Cotangent, *, split_bias: bool = False, predicted: bool = False
    ) -> None:
        self.capture, self.cotangent = capture, cotangent
        self.split_bias, self.predicted = split_bias, predicted

    def rows(self, logits: Tensor, labels: Tensor | None) -> Tensor:
        """Cotangents of a batch, (B, R, k)."""
        if labels is None and self.predicted:
            labels = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()
        return cotangent_rows(logits, labels, self.cotangent)

    def open(self, inputs: Inputs, labels: Tensor | None) -> OpenPass:
        """Trace a batch and keep its graph."""
        return self.capture.open(inputs, lambda logits: self.rows(logits, labels))

    def enter(self, place: Place) -> None:
        """Say which samples the next batch holds."""
        self.capture.certifier.at = place

    def record(self) -> dict[str, Any]:
        """Return what was checked since the last call."""
        return self.capture.certifier.record()

    def resume(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take over what an interrupted run has recorded."""
        self.capture.certifier.restore(records)

    def certificate(self) -> dict[str, Any]:
        """Summarize what was checked."""
        return self.capture.certifier.summary()

    def probe(self, labels: Tensor | None) -> Probe | None:
        """Return statistics of the probe pass, or None if a dedicated pass is needed."""
        probed = self.capture.probed
        if probed is None:
            return None
        self.rows(probed.logits, labels)  # refuses labels that do not fit
        return replace(probed, blocks=split_biases(probed.blocks)) if self.split_bias else probed

    def pulled(self, opened: OpenPass, classes: slice | None, *, last: bool) -> list[Block]:
        """Blocks of some cotangents of a traced batch."""
        blocks = opened.blocks(classes, last=last)
        return split_biases(blocks) if self.split_bias else blocks

    def blocks(self, inputs: Inputs, labels: Tensor | None, classes: slice | None) -> tuple[Tensor, list[Block]]:
        """Return (logits, blocks) of a batch."""
        opened = self.open(inputs, labels)
        return opened.logits.detach(), self.pulled(opened, classes, last=True)


def split_biases(blocks: list[Block]) -> list[Block]:
    """Give every bias a block of its own behind its weight's."""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, OuterBlock) and block.bias is not None:
            vector = VectorBlock(block.bias, block.bias_shape, block.bias_vector(), block.bias_rows)
            found += [replace(block, bias=None), vector]
        else:
            found.append(block)
    return found


class FeatureSource:
    """Features of a model as plain vectors: one cotangent, one block per layer.

    ``extract`` maps a batch of inputs to (logits or None, features by name), each feature (B, D).
    """

    def __init__(self, extract: Callable[[Inputs], tuple[Tensor, dict[str, Tensor]]]) -> None:
        self.extract = extract
        self._alone = ForwardAlone()

    def enter(self, place: Place) -> None:
        """Do nothing: features are read off the network itself."""

    def record(self) -> dict[str, Any]:
        """Return nothing: there are no gradients to check."""
        return {}

    def resume(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Do nothing."""

    def certificate(self) -> dict[str, Any]:
        """Return nothing: there are no gradients to check."""
        return {}

    def blocks(self, inputs: Inputs, labels: Tensor | None, classes: slice | None) -> tuple[Tensor, list[Block]]:
        """Return (logits, blocks) of a batch."""
        logits, features = self._alone(lambda: self.extract(inputs))
        blocks: list[Block] = [
            VectorBlock(name, torch.Size(value.shape[1:]), value.detach().flatten(1).unsqueeze(1))
            for name, value in features.items()
        ]
        return logits.detach(), blocks
