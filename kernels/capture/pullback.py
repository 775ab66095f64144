"""Pull cotangents back through a traced forward pass: one batched backward pass per cotangent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.gradients.blocks import Block, Role, Roles
from kernels.inputs.outputs import Inputs
from kernels.rules.base import MisfitError, Use


@runtime_checkable
class Finisher(Protocol):
    """Turns the roles that a backward pass found into one block per parameter."""

    def traced(self, inputs: Inputs, astray: set[str]) -> tuple[Tensor, list[Use], set[str]]:
        """Return logits with their graph, uses, and the parameters that take the generic route in this pass."""
        ...

    def finish(self, inputs: Inputs, rows: Tensor, roles: Roles, reached: set[str], astray: set[str]) -> list[Block]:
        """Return the blocks."""
        ...

    def certify(self, inputs: Inputs, logits: Tensor, rows: Tensor, blocks: list[Block], pattern: str) -> list[Block]:
        """Check the blocks of a pass against the network's own gradient."""
        ...


@dataclass
class OpenPass:
    """A traced forward pass whose graph is kept for more than one call of :meth:`blocks`.

    Attributes
    ----------
    capture : Finisher
        The prepared model.
    inputs : Tensor or mapping
        The batch.
    logits : Tensor, shape (B, k)
        With their graph.
    uses : list of Use
        Operations that read parameters.
    rows : Tensor, shape (B, R, k)
        Cotangents.
    pattern : str
        Of the uses, see :func:`kernels.capture.checked_passes.pattern_of`.
    astray : set of str
        Parameters that take the generic route in this pass only.
    """

    capture: Finisher
    inputs: Inputs
    logits: Float[Tensor, "b k"]
    uses: list[Use]
    rows: Float[Tensor, "b r k"]
    pattern: str = ""
    astray: set[str] = field(default_factory=set)

    def blocks(self, classes: slice | None = None, *, last: bool = True) -> list[Block]:
        """Return the blocks of some cotangents; the graph is freed with the ``last`` ones."""
        rows = self.rows if classes is None else self.rows[:, classes]
        while True:
            try:
                roles, reached = pull(self.logits, self.uses, rows, last=last)
                break
            except MisfitError as misfit:
                self.logits, self.uses, self.astray = self.capture.traced(self.inputs, self.astray | misfit.owners)
        if last:
            self.logits, self.uses = self.logits.detach(), []
        blocks = self.capture.finish(self.inputs, rows, roles, reached, self.astray)
        return self.capture.certify(self.inputs, self.logits.detach(), rows, blocks, self.pattern)


def pull(logits: Tensor, uses: list[Use], rows: Float[Tensor, "b r k"], *, last: bool) -> tuple[Roles, set[str]]:
    """Blocks by parameter, and the parameters that the backward passes reached.

    What each operation's rule keeps of its output's gradient is stacked over the cotangents and built into blocks.
    """
    live = [use for use in uses if use.edge is not None]
    count = rows.shape[1]
    kept: list[Tensor | None] = [None] * len(live)
    reached: set[str] = set()
    for r in range(count):
        found: dict[int, Tensor] = {}
        if live and logits.requires_grad:
            _sweep_back(logits, live, rows[:, r], found, retain=r + 1 < count or not last)
        with torch.no_grad():
            for index, use in enumerate(live):
                part = found.pop(index, None)
                if part is None:
                    part = _reduced(use, torch.zeros(use.shape, dtype=logits.dtype, device=logits.device))
                else:
                    reached |= use.owners()
                store = kept[index]
                if count == 1:
                    store = part.unsqueeze(1)
                elif store is None:
                    store = part.new_empty(part.shape[0], count, *part.shape[1:])
                if count > 1:
                    store[:, r] = part
                kept[index] = store
    roles: Roles = {}
    with torch.no_grad():
        for use, stacked in zip(live, kept, strict=True):
            assert stacked is not None
            use.continues = not last
            for block in _built(use, stacked):
                roles.setdefault(block.weight, []).append(block)
        if live and live[0].tape is not None:
            roles = live[0].tape.resolve(roles)
    return roles, reached


_MISFITS = (RuntimeError, ValueError, IndexError, TypeError, AssertionError)


def _reduced(use: Use, delta: Tensor) -> Tensor:
    try:
        return use.rule.reduce(use, delta)
    except _MISFITS as error:
        raise MisfitError(use, error) from error


def _built(use: Use, kept: Tensor) -> list[Role]:
    try:
        return use.rule.build(use, kept)
    except _MISFITS as error:
        raise MisfitError(use, error) from error


def _sweep_back(logits: Tensor, live: list[Use], row: Tensor, found: dict[int, Tensor], *, retain: bool) -> None:
    """One backward pass; each output gradient is reduced to what its rule keeps as soon as it is complete."""

    def reduce(index: int, use: Use) -> Callable[[Sequence[Tensor | None]], None]:
        def hook(gradients: Sequence[Tensor | None]) -> None:
            assert use.edge is not None
            delta = gradients[use.edge.output_nr]
            if delta is not None:
                with torch.no_grad():
                    found[index] = _reduced(use, delta)

        return hook

    handles = []
    try:
        for index, use in enumerate(live):
            assert use.edge is not None
            handles.append(use.edge.node.register_prehook(reduce(index, use)))
        torch.autograd.backward(logits, row, retain_graph=retain)
    finally:
        for handle in handles:
            handle.remove()
