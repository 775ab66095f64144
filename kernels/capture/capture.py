"""Prepare a model for factor capture: decide which rule serves each parameter, trace batches, check coverage.

One forward pass and one batched backward pass per cotangent give the per-layer factors of all samples of a batch;
:mod:`kernels.capture.factor_stream` describes what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.certificate import Certifier, pattern_of
from kernels.capture.pullback import OpenPass
from kernels.capture.quiet import quiet
from kernels.capture.settling import Probe, Settling
from kernels.gradients.blocks import Block, Roles, VectorBlock
from kernels.gradients.fallback import looped_gradients, try_vmap
from kernels.gradients.merge import merge_roles
from kernels.inputs.outputs import Inputs
from kernels.inputs.selection import parameter_names, selector


@dataclass(frozen=True)
class Coverage:
    """How each parameter of the model is handled.

    ``ruled``, ``fallback``, ``unused`` (no path to the output) and ``frozen`` (or not selected) are disjoint tuples of
    qualified names that together list every parameter. ``reasons`` says why a name fell back; ``route`` is ``"vmap"``
    or ``"loop"``, how the fallback differentiates.
    """

    ruled: tuple[str, ...]
    fallback: tuple[str, ...]
    unused: tuple[str, ...]
    frozen: tuple[str, ...]
    reasons: dict[str, str]
    route: str


class Capture:
    """One model prepared for factor capture.

    A few probe samples decide, once, which rule serves which parameter and which axis holds its samples. The result is
    compared with plain autograd of one sample, so an operation that a rule misreads goes to the generic fallback.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    probe : Tensor or mapping
        A few samples on the model's device.
    layers : "all", sequence of str or callable
        Parameters that take part: all trainable ones, those whose name is or starts with an entry (``"fc"`` selects
        ``fc.weight``), or those for which the callable is true.
    fallback : sequence of str
        Parameter or module names to send through the generic route in any case.
    output : callable, optional
        Turns what the model returns into logits.
    certifier : Certifier, optional
        Checks passes against the network's own gradient; without one no pass is checked.

    Attributes
    ----------
    coverage : Coverage
        How each parameter is handled.
    probed : Probe or None
        Of two or more probe samples, where rules cover everything; freed with the first batch.
    """

    probed: Probe | None

    def __init__(
        self,
        model: nn.Module,
        probe: Inputs,
        *,
        layers: str | Sequence[str] | Callable[[str], bool] = "all",
        fallback: Sequence[str] = (),
        output: Callable[[Any], Tensor] | None = None,
        certifier: Certifier | None = None,
    ) -> None:
        self.model, self.output = model, output
        self.certifier = certifier or Certifier("off")
        everything = dict(model.named_parameters())
        names = parameter_names(model)
        wanted = selector(layers, names)
        self.parameters = {n: p for n, p in everything.items() if p.requires_grad and wanted(n)}
        if not self.parameters:
            raise ValueError(
                "no parameter to differentiate: every one is frozen or left out; unfreeze some or widen layers="
            )
        forced = {name: "asked for" for name in self.parameters if selector(fallback or (), names)(name)}
        self.settling = settling = Settling(model, self.parameters, output, forced)
        settling.settle(probe)
        self.probed = settling.probed
        frozen = [name for name in everything if name not in self.parameters]
        self.coverage = Coverage(
            ruled=tuple(n for n in self.parameters if n not in settling.reasons and n not in settling.unused),
            fallback=tuple(n for n in self.parameters if n in settling.reasons),
            unused=tuple(n for n in self.parameters if n in settling.unused),
            frozen=tuple(frozen),
            reasons=dict(settling.reasons),
            route=settling.route,
        )

    def open(self, inputs: Inputs, cotangent: Callable[[Tensor], Tensor]) -> OpenPass:
        """Trace one batch and keep its graph, for cotangents that are pulled back a few at a time.

        Parameters
        ----------
        inputs : Tensor or mapping
            One batch on the model's device.
        cotangent : callable
            Maps detached logits (B, k) to the cotangents (B, R, k).
        """
        self.probed = self.settling.probed = None
        with quiet(self.model):
            logits, uses = self.settling.forward(inputs)
        return OpenPass(self, inputs, logits, uses, cotangent(logits.detach()), pattern_of(uses))

    def blocks(self, inputs: Inputs, cotangent: Callable[[Tensor], Tensor]) -> tuple[Float[Tensor, "b k"], list[Block]]:
        """Trace one batch and return its logits and blocks; parameters as for :meth:`open`."""
        opened = self.open(inputs, cotangent)
        return opened.logits.detach(), opened.blocks()

    def finish(self, inputs: Inputs, rows: Tensor, roles: Roles, reached: set[str]) -> list[Block]:
        """Join the roles of each parameter, add the fallback's gradients, and require every parameter."""
        blocks = merge_roles(roles, [n for n in self.parameters if n not in self.settling.unused])
        with quiet(self.model):
            blocks += self._fall_back(inputs, rows)
        self._complete(blocks, reached)
        return blocks

    def certify(self, inputs: Inputs, logits: Tensor, rows: Tensor, blocks: list[Block], pattern: str) -> list[Block]:
        """Check the blocks of a pass, and replace those that are not the network's gradients."""
        return self.certifier.check(self, inputs, logits, rows, blocks, pattern)

    def _fall_back(self, inputs: Inputs, rows: Tensor) -> list[Block]:
        names = tuple(self.settling.reasons)
        if not names:
            return []
        found = None
        if self.settling.route == "vmap":
            found = try_vmap(self.model, names, inputs, rows, self.output, watch=False)
            if found is None:  # this batch takes a way that the first samples did not show
                self.settling.route = "loop"
        if found is None:
            found = looped_gradients(self.model, names, inputs, rows, self.output)
        return [VectorBlock(name, self.parameters[name].shape, found[name], origin="fallback") for name in names]

    def _complete(self, blocks: list[Block], reached: set[str]) -> None:
        covered = {name for block in blocks for name in block.names}
        missing = [name for name in self.parameters if name not in covered and name not in self.settling.unused]
        late = sorted(reached & self.settling.unused) + sorted(self.settling.unknown)
        if missing or late:
            raise RuntimeError(
                f"the model uses its parameters differently from batch to batch: {', '.join(missing + late)} "
                "did not behave as for the first samples; pass fallback=[...] with these names"
            )
