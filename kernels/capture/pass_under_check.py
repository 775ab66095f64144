"""One pass under check: what it was given and gave, and what network and rules give for some of its samples alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kernels.capture.quiet import activations_kept
from kernels.gradients.as_trained import unwatched
from kernels.gradients.blocks import Block
from kernels.gradients.fallback import sample
from kernels.gradients.one_sample import own_gradients
from kernels.gradients.weighted_sum import Comparison, relative
from kernels.inputs.outputs import Inputs, Output


@runtime_checkable
class Prepared(Protocol):
    """What a check needs of a prepared model."""

    model: nn.Module
    output: Output
    parameters: dict[str, nn.Parameter]

    def by_themselves(self, inputs: Inputs, rows: Float[Tensor, "m r k"]) -> list[Block]:
        """Return what the rules give for a few samples by themselves."""
        ...


@dataclass
class PassUnderCheck:
    """The model, what it was given and gave, and what decides which samples are drawn.

    ``right`` takes the parameters whose gradients, of some size, agreed of a sample alone.
    """

    capture: Prepared
    inputs: Inputs
    logits: Float[Tensor, "b k"]
    rows: Float[Tensor, "b r k"]
    blocks: list[Block]
    place: str
    seeded: torch.Generator
    right: set[str]

    def by_the_network(
        self, parts: Sequence[Tensor] | None, weights: Float[Tensor, "m r"], seen: Comparison | None = None
    ) -> tuple[Tensor, dict[str, Tensor | None]]:
        """Logits and gradients of the network itself for weighted samples, of the whole batch without a choice.

        Each part goes through the network by itself. A comparison reads the gradients of all; what is returned are
        those of the last one.
        """
        logits: list[Tensor] = []
        gradients: dict[str, Tensor | None] = {}
        start = 0
        for index, part in enumerate([None] if parts is None else parts):
            rows = self._rows(part)
            row = torch.bmm(weights[start : start + len(rows), None], rows)[:, 0]
            start += len(rows)
            batch = self.inputs if part is None else sample(self.inputs, part)
            watch = unwatched if seen is None else partial(seen.watching, part=index)
            with activations_kept():  # reentrant checkpoints lose the gradients of what is behind data that needs none
                found, gradients = own_gradients(
                    self.capture.model, batch, self.capture.parameters, self.capture.output, row, watch
                )
            logits.append(found)
        return torch.cat(logits), gradients

    def part_by_part(
        self, parts: Sequence[Tensor], weights: Float[Tensor, "m r"], seen: Comparison
    ) -> Iterator[tuple[Tensor, Tensor, Comparison]]:
        """Give samples, weights and a comparison of each of the parts whose gradients another one has read."""
        start = 0
        for index, part in enumerate(parts):
            own = weights[start : start + len(part)]
            start += len(part)
            comparison = Comparison(self.blocks, part, own, self.capture.parameters)
            comparison.taken_over(seen, index)
            yield part, own, comparison

    def by_rules_alone(
        self, chosen: Int[Tensor, " m"], weights: Float[Tensor, "m r"], seen: Comparison
    ) -> dict[str, float] | None:
        """Differences of what the rules give for the same samples by themselves; None where they do not run."""
        try:
            blocks = self.capture.by_themselves(sample(self.inputs, chosen), self._rows(chosen))
        except (RuntimeError, ValueError, IndexError, TypeError):
            return None
        again = Comparison(blocks, torch.arange(len(chosen)), weights, self.capture.parameters)
        return relative(again.agreements()) if again.taken_over(seen) else None

    def _rows(self, chosen: Int[Tensor, " m"] | None) -> Float[Tensor, "m r k"]:
        return self.rows if chosen is None else self.rows[chosen.to(self.rows.device)]
