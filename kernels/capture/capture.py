"""Prepare a model for factor capture: decide which rule serves each parameter, trace batches, check coverage.

One forward pass and one batched backward pass per cotangent give the per-layer factors of all samples of a batch;
:mod:`kernels.capture.factor_stream` describes what comes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.pullback import OpenPass, pull
from kernels.capture.quiet import quiet
from kernels.capture.trace import ForwardTrace, layout_options
from kernels.gradients.blocks import Block, Roles, VectorBlock
from kernels.gradients.derived import tensors_in
from kernels.gradients.fallback import doubled, looped_gradients, sample, try_vmap, vmapped_gradients
from kernels.gradients.merge import merge_roles
from kernels.gradients.one_sample import Gradients, distances, norms, plain_gradients
from kernels.inputs.outputs import Inputs, batch_size, call_logits
from kernels.inputs.selection import selector
from kernels.rules.base import Use
from kernels.rules.table import RULES

# To detect a wrong layout, whose error is of order one; models compute norms in float32 in any precision.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-2}


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


@dataclass(frozen=True)
class Probe:
    """Statistics of the probe pass: logits, blocks of one generic cotangent, seconds of the forward pass."""

    logits: Float[Tensor, "b k"]
    blocks: list[Block]
    seconds: float


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
    ) -> None:
        self.model, self.output = model, output
        everything = dict(model.named_parameters())
        wanted = selector(layers, everything)
        self.parameters = {n: p for n, p in everything.items() if p.requires_grad and wanted(n)}
        if not self.parameters:
            raise ValueError(
                "no parameter to differentiate: every one is frozen or left out; unfreeze some or widen layers="
            )
        self._layouts: dict[tuple[Any, ...], str] = {}
        self._copied: set[tuple[Any, ...]] = set()
        self._reasons = {name: "asked for" for name in self.parameters if selector(fallback or (), everything)(name)}
        self._unused: set[str] = set()
        self._derived: set[str] = set()
        self.route = "vmap"
        self._choose_rules(probe)
        frozen = [name for name in everything if name not in self.parameters]
        self.coverage = Coverage(
            ruled=tuple(n for n in self.parameters if n not in self._reasons and n not in self._unused),
            fallback=tuple(n for n in self.parameters if n in self._reasons),
            unused=tuple(n for n in self.parameters if n in self._unused),
            frozen=tuple(frozen),
            reasons=dict(self._reasons),
            route=self.route,
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
        self.probed = None
        with quiet(self.model):
            logits, uses = self._forward(inputs)
        return OpenPass(self, inputs, logits, uses, cotangent(logits.detach()))

    def blocks(self, inputs: Inputs, cotangent: Callable[[Tensor], Tensor]) -> tuple[Float[Tensor, "b k"], list[Block]]:
        """Trace one batch and return its logits and blocks; parameters as for :meth:`open`."""
        opened = self.open(inputs, cotangent)
        return opened.logits.detach(), opened.blocks()

    def finish(self, inputs: Inputs, rows: Tensor, roles: Roles, reached: set[str]) -> list[Block]:
        """Join the roles of each parameter, add the fallback's gradients, and require every parameter."""
        blocks = merge_roles(roles, [n for n in self.parameters if n not in self._unused])
        with quiet(self.model):
            blocks += self._fall_back(inputs, rows)
        self._complete(blocks, reached)
        return blocks

    def _forward(self, inputs: Inputs) -> tuple[Tensor, list[Use]]:
        tracked: dict[str, Tensor] = {n: p for n, p in self.parameters.items() if n not in self._reasons}
        self._trace = trace = ForwardTrace(
            tracked, RULES, batch_size(inputs), self._layouts, self._copied, self._derived, tensors_in(inputs)
        )
        start = time.perf_counter()
        with torch.enable_grad(), trace:
            logits = call_logits(self.model, inputs, self.output)
        self._seconds = time.perf_counter() - start
        mutated = {use.key for use in trace.uses if use.mutated()}
        self._unknown = trace.unknown
        if mutated - self._copied:
            self._copied |= mutated
            return self._forward(inputs)
        return logits, trace.uses

    def _fall_back(self, inputs: Inputs, rows: Tensor) -> list[Block]:
        names = tuple(self._reasons)
        if not names:
            return []
        route = vmapped_gradients if self.route == "vmap" else looped_gradients
        found = route(self.model, names, inputs, rows, self.output)
        return [VectorBlock(name, self.parameters[name].shape, found[name], origin="fallback") for name in names]

    def _complete(self, blocks: list[Block], reached: set[str]) -> None:
        covered = {name for block in blocks for name in block.names}
        missing = [name for name in self.parameters if name not in covered and name not in self._unused]
        late = sorted(reached & self._unused) + sorted(self._unknown)
        if missing or late:
            raise RuntimeError(
                f"the model uses its parameters differently from batch to batch: {', '.join(missing + late)} "
                "did not behave as for the first samples; pass fallback=[...] with these names"
            )

    def _choose_rules(self, probe: Inputs) -> None:
        """Decide rules, layouts and fallbacks on the probe samples."""
        alone = batch_size(probe) == 1
        if alone:  # one sample cannot show which axis holds the samples
            probe = doubled(probe)
        size = batch_size(probe)
        middle = size // 2
        single = sample(probe, slice(middle, middle + 1))
        with quiet(self.model):
            logits, truth, row = plain_gradients(self.model, single, self.parameters, self.output)
            batch_logits, uses = self._retrace(probe, set())
            self._compare_outputs(probe, batch_logits.detach(), {middle: logits})
            for attempt in range(4):
                self._reasons |= self._unknown
                wrong, reached, blocks = self._disagreements(batch_logits, uses, row, middle, truth)
                if not wrong:
                    break
                self._revise(uses, wrong, attempt)
                batch_logits, uses = self._retrace(probe, wrong)
            self.probed = None if self._reasons or alone else Probe(batch_logits.detach(), blocks, self._seconds)
            self._layouts |= {use.key: use.layout for use in uses}
            self._unused = {n for n in self.parameters if truth[n] is None and n not in reached | set(self._reasons)}
            for name in self._unused:
                self._reasons.pop(name, None)
            self._derive_rest(probe, single, row, middle, truth)
            self._choose_route(probe, row, middle, truth)

    def _derive_rest(self, probe: Inputs, single: Inputs, row: Tensor, middle: int, truth: Gradients) -> None:
        """Take parameters out of the fallback that act on samples only through tensors computed from them alone."""
        fallback = dict(self._reasons)
        names = {name for name, reason in fallback.items() if reason != "asked for" and truth[name] is not None}
        for _ in range(len(names) and 6):
            self._derived, self._reasons = names, {n: why for n, why in fallback.items() if n not in names}
            wrong: set[str] = set()
            try:
                for inputs, at in ((probe, middle), (single, 0)):
                    logits, uses = self._forward(inputs)
                    wrong |= self._disagreements(logits, uses, row, at, truth)[0] | self._unknown.keys()
                    self._layouts = {use.key: use.layout for use in uses} | self._layouts
            except (RuntimeError, ValueError, IndexError, TypeError):
                break
            if not wrong:
                return
            # A parameter with a rule may share a derived tensor with these; then it is followed like them.
            names = names | wrong if wrong - names else names - wrong
        self._derived, self._reasons = set(), fallback

    def _choose_route(self, probe: Inputs, row: Tensor, middle: int, truth: Gradients) -> None:
        """Vectorize the fallback where torch can, and does so correctly, for this model."""
        names = tuple(self._reasons)
        if not names:
            return
        rows = row.expand(batch_size(probe), 2, -1)
        found = try_vmap(self.model, names, probe, rows, self.output)
        for name in names:
            true = truth[name]
            if found is None or true is None:
                self.route = "loop" if found is None else self.route
                continue
            true = true.to_dense() if true.is_sparse else true
            error = float((found[name][middle, 1] - true.flatten()).norm())
            if not error <= _TOLERANCE.get(row.dtype, 0.2) * max(float(true.norm()), 1e-30):
                self.route = "loop"

    def _disagreements(
        self, logits: Tensor, uses: list[Use], row: Tensor, middle: int, truth: Gradients
    ) -> tuple[set[str], set[str], list[Block]]:
        """Parameters whose rule does not give plain autograd's gradient, all that the pass reached, its blocks."""
        roles, reached = pull(logits, uses, row.expand(logits.shape[0], 1, -1), last=True)
        blocks = merge_roles(roles, list(self.parameters))
        sizes, off = norms(truth), distances(blocks, middle, truth)
        least = 1e-4 * max(sizes.values(), default=0.0)
        tolerance = _TOLERANCE.get(logits.dtype, 0.2)
        right = {name for name, error in off.items() if error <= tolerance * max(sizes.get(name, 0.0), least)}
        silent = truth.keys() - sizes.keys()
        return set(self.parameters) - right - silent - set(self._reasons), reached, blocks

    def _revise(self, uses: list[Use], wrong: set[str], attempt: int) -> None:
        """Try the next layout for the uses of misread parameters, then send them to the fallback."""
        hopeless = set(wrong)
        for use in uses:
            names = {view.name for view in use.views.values()} & wrong
            options = layout_options(use)
            if names and attempt < len(options):
                self._layouts[use.key] = options[attempt]
                hopeless -= names
        for name in hopeless:
            self._reasons[name] = "no rule reproduces autograd"

    def _retrace(self, probe: Inputs, wrong: set[str]) -> tuple[Tensor, list[Use]]:
        """Trace again; parameters whose guessed layout does not fit this model go to the fallback."""
        while True:
            try:
                return self._forward(probe)
            except (RuntimeError, ValueError, IndexError):
                guessed = [use for use in self._trace.uses if use.layout == "shared"]
                names = {view.name for use in guessed for view in use.views.values()}
                if not names:
                    raise
                self._reasons |= dict.fromkeys(names | wrong, "no rule reproduces autograd")

    def _compare_outputs(self, probe: Inputs, together: Tensor, known: dict[int, Tensor]) -> None:
        """Require that a sample's output is the same alone; ``known`` holds what was computed alone already."""
        rest = {i: sample(probe, slice(i, i + 1)) for i in range(len(together)) if i not in known}
        with torch.no_grad():
            known = known | {i: call_logits(self.model, single, self.output) for i, single in rest.items()}
        alone = torch.cat([known[i] for i in sorted(known)])
        deviation = float((together - alone).abs().max())
        scale = float(alone.abs().max()) + 1.0
        if deviation > _TOLERANCE.get(alone.dtype, 0.2) * scale:
            raise ValueError(
                f"a sample's output depends on the other samples of its batch (largest deviation {deviation:.3g}); "
                "per-sample kernels need independent samples: check batch normalization, dropout and padding masks"
            )
