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

from kernels.capture.agreement import Probe
from kernels.capture.certificate import Certifier, MisreadError
from kernels.capture.checked_passes import pattern_of
from kernels.capture.pullback import OpenPass, pull
from kernels.capture.quiet import quiet
from kernels.capture.settling import Settling
from kernels.gradients.blocks import Block, ConvBlock, Roles, VectorBlock
from kernels.gradients.fallback import looped_gradients, try_vmap
from kernels.gradients.hooks import through_hooks
from kernels.gradients.in_form import in_form
from kernels.gradients.merge import merge_roles
from kernels.inputs.outputs import Inputs
from kernels.inputs.selection import parameter_names, selector
from kernels.rules.base import Use


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
    reserve : bool
        Give also those parameters a block in every pass that the probe does not read, in case later samples do.

    Attributes
    ----------
    coverage : Coverage
        How each parameter is handled.
    probed : Probe or None
        Of two or more probe samples, where rules cover everything; freed with the first batch.
    outputs : int
        Number of logits.
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
        reserve: bool = False,
    ) -> None:
        self.model, self.output = model, output
        self.certifier = certifier or Certifier("off")
        everything = dict(model.named_parameters())
        names = parameter_names(model)
        wanted = selector(layers, names)
        chosen = {n: p for n, p in everything.items() if p.requires_grad and wanted(n)}
        self.parameters = {n: p for n, p in chosen.items() if p.numel()}
        if not self.parameters:
            raise ValueError(
                "no parameter to differentiate: every one is frozen or left out; unfreeze some or widen layers="
            )
        forced = {name: "asked for" for name in self.parameters if selector(fallback or (), names)(name)}
        self.settling = settling = Settling(model, self.parameters, output, forced)
        settling.settle(probe)
        if reserve:
            settling.reserve()
        self.probed, self.outputs = settling.probed, settling.outputs
        frozen = [name for name in everything if name not in chosen]
        self.coverage = Coverage(
            ruled=tuple(n for n in self.parameters if n not in settling.reasons and n not in settling.unused),
            fallback=tuple(n for n in self.parameters if n in settling.reasons),
            unused=tuple(n for n in chosen if n in settling.unused or n not in self.parameters),
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
        logits, uses, astray = self.traced(inputs, set())
        return OpenPass(self, inputs, logits, uses, cotangent(logits.detach()), pattern_of(uses), astray)

    def traced(self, inputs: Inputs, astray: set[str]) -> tuple[Tensor, list[Use], set[str]]:
        """Trace one batch: logits with their graph, uses, and what takes the generic route in this pass."""
        with quiet(self.model):
            return self.settling.forward(inputs, astray)

    def blocks(self, inputs: Inputs, cotangent: Callable[[Tensor], Tensor]) -> tuple[Float[Tensor, "b k"], list[Block]]:
        """Trace one batch and return its logits and blocks; parameters as for :meth:`open`."""
        opened = self.open(inputs, cotangent)
        return opened.logits.detach(), opened.blocks()

    def by_themselves(self, inputs: Inputs, rows: Float[Tensor, "m r k"]) -> list[Block]:
        """Return what the rules give for a few samples by themselves, which nothing checks."""
        with quiet(self.model):
            logits, uses, astray = self.settling.forward(inputs, set())
        roles, reached = pull(logits, uses, rows, last=True)
        return self.finish(inputs, rows, roles, reached, astray)

    def finish(self, inputs: Inputs, rows: Tensor, roles: Roles, reached: set[str], astray: set[str]) -> list[Block]:
        """Join the roles of each parameter and give every parameter its block, in the same form in every pass.

        What a pass does not use has a gradient of zero. What it reads in a way that no rule fits takes the generic
        route; so does what no earlier pass read, behind the others.
        """
        settling = self.settling
        blocks = merge_roles(roles, [n for n in self.parameters if n not in settling.unused])
        blocks = through_hooks(blocks, self.parameters)
        formed = {name for form in settling.forms for name in form.names}
        late = settling.unused & (reached | astray)
        generic = (*settling.reasons, *(n for n in self.parameters if n in late - formed))
        other = [n for n in self.parameters if n in (astray | late) & formed]
        images = sorted({n for form in settling.forms if isinstance(form, ConvBlock) for n in form.names} & set(other))
        if images and not self.certifier.replaces:  # patches and images do not meet in one contraction
            raise MisreadError(images, self.certifier.place, 1.0)
        factored = {n for form in settling.forms if not isinstance(form, VectorBlock) for n in form.names}
        self.certifier.generic |= factored & set(other)
        found = self._fall_back((*generic, *other), inputs, rows) if generic or other else {}
        blocks = in_form(blocks, settling.forms, {n: found[n] for n in other}, rows)
        return blocks + [VectorBlock(n, self.parameters[n].shape, found[n], origin="fallback") for n in generic]

    def certify(self, inputs: Inputs, logits: Tensor, rows: Tensor, blocks: list[Block], pattern: str) -> list[Block]:
        """Check the blocks of a pass, and replace those that are not the network's gradients."""
        return self.certifier.check(self, inputs, logits, rows, blocks, pattern)

    def _fall_back(self, names: tuple[str, ...], inputs: Inputs, rows: Tensor) -> dict[str, Tensor]:
        settling, found = self.settling, None
        with quiet(self.model):
            hooked = any(self.parameters[name]._backward_hooks for name in names)
            # Without a reason nothing has shown that it works for this model; torch.func calls no hooks.
            if settling.route == "vmap" and settling.reasons and not hooked:
                found = try_vmap(self.model, names, inputs, rows, self.output, watch=False)
                if found is None:  # this batch takes a way that the first samples did not show
                    settling.route = "loop"
            return looped_gradients(self.model, names, inputs, rows, self.output) if found is None else found
