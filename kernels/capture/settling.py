"""Settle, on a few probe samples, which rule serves each parameter and which axis of its uses holds the samples.

The outcome is compared with plain autograd of one sample, so an operation that a rule misreads goes to the generic
fallback of :mod:`kernels.gradients.fallback`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.pullback import pull
from kernels.capture.quiet import quiet
from kernels.capture.trace import ForwardTrace, layout_options
from kernels.gradients.blocks import Block
from kernels.gradients.derived import tensors_in
from kernels.gradients.fallback import doubled, sample, try_vmap
from kernels.gradients.merge import merge_roles
from kernels.gradients.one_sample import Gradients, distances, norms, plain_gradients
from kernels.inputs.outputs import Inputs, batch_size, call_logits
from kernels.rules.base import Use
from kernels.rules.table import RULES

# To detect a wrong layout, whose error is of order one; models compute norms in float32 in any precision.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-2}


@dataclass(frozen=True)
class Probe:
    """Statistics of the probe pass: logits, blocks of one generic cotangent, seconds of the forward pass."""

    logits: Float[Tensor, "b k"]
    blocks: list[Block]
    seconds: float


class Settling:
    """Decides rules, layouts and fallbacks of a model's parameters, and traces passes accordingly.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    parameters : dict of str to Parameter
        Those that take part, under qualified names.
    output : callable, optional
        Turns what the model returns into logits.
    reasons : dict of str to str
        Parameters that take the generic route in any case, and why.

    Attributes
    ----------
    reasons : dict of str to str
        Parameters on the generic route, and why.
    unused : set of str
        Parameters without a path to the output.
    route : str
        ``"vmap"`` or ``"loop"``, how the generic route differentiates.
    probed : Probe or None
        Of two or more probe samples, where rules cover everything.
    unknown : dict of str to str
        Parameters that the last pass read without a rule, and how.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: dict[str, nn.Parameter],
        output: Callable[[Any], Tensor] | None,
        reasons: dict[str, str],
    ) -> None:
        self.model, self.parameters, self.output = model, parameters, output
        self.reasons = dict(reasons)
        self.unused: set[str] = set()
        self.unknown: dict[str, str] = {}
        self.route = "vmap"
        self.probed: Probe | None = None
        self._layouts: dict[tuple[Any, ...], str] = {}
        self._copied: set[tuple[Any, ...]] = set()
        self._derived: set[str] = set()

    def settle(self, probe: Inputs) -> None:
        """Decide on the probe samples."""
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
                self.reasons |= self.unknown
                wrong, reached, blocks = self._disagreements(batch_logits, uses, row, middle, truth)
                if not wrong:
                    break
                self._revise(uses, wrong, attempt)
                batch_logits, uses = self._retrace(probe, wrong)
            self.probed = None if self.reasons or alone else Probe(batch_logits.detach(), blocks, self._seconds)
            self._layouts |= {use.key: use.layout for use in uses}
            self.unused = {n for n in self.parameters if truth[n] is None and n not in reached | set(self.reasons)}
            for name in self.unused:
                self.reasons.pop(name, None)
            self._derive_rest(probe, single, row, middle, truth)
            self._choose_route(probe, row, middle, truth)

    def forward(self, inputs: Inputs) -> tuple[Tensor, list[Use]]:
        """Trace one batch of a quiet model; return its logits, with their graph, and the uses of parameters."""
        tracked: dict[str, Tensor] = {n: p for n, p in self.parameters.items() if n not in self.reasons}
        self._trace = trace = ForwardTrace(
            tracked, RULES, batch_size(inputs), self._layouts, self._copied, self._derived, tensors_in(inputs)
        )
        start = time.perf_counter()
        with torch.enable_grad(), trace:
            logits = call_logits(self.model, inputs, self.output)
        self._seconds = time.perf_counter() - start
        mutated = {use.key for use in trace.uses if use.mutated()}
        self.unknown = trace.unknown
        if mutated - self._copied:
            self._copied |= mutated
            return self.forward(inputs)
        return logits, trace.uses

    def _derive_rest(self, probe: Inputs, single: Inputs, row: Tensor, middle: int, truth: Gradients) -> None:
        """Take parameters out of the fallback that act on samples only through tensors computed from them alone."""
        fallback = dict(self.reasons)
        names = {name for name, reason in fallback.items() if reason != "asked for" and truth[name] is not None}
        for _ in range(len(names) and 6):
            self._derived, self.reasons = names, {n: why for n, why in fallback.items() if n not in names}
            wrong: set[str] = set()
            try:
                for inputs, at in ((probe, middle), (single, 0)):
                    logits, uses = self.forward(inputs)
                    wrong |= self._disagreements(logits, uses, row, at, truth)[0] | self.unknown.keys()
                    self._layouts = {use.key: use.layout for use in uses} | self._layouts
            except (RuntimeError, ValueError, IndexError, TypeError):
                break
            if not wrong:
                return
            # A parameter with a rule may share a derived tensor with these; then it is followed like them.
            names = names | wrong if wrong - names else names - wrong
        self._derived, self.reasons = set(), fallback

    def _choose_route(self, probe: Inputs, row: Tensor, middle: int, truth: Gradients) -> None:
        """Vectorize the fallback where torch can, and does so correctly, for this model."""
        names = tuple(self.reasons)
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
        return set(self.parameters) - right - silent - set(self.reasons), reached, blocks

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
            self.reasons[name] = "no rule reproduces autograd"

    def _retrace(self, probe: Inputs, wrong: set[str]) -> tuple[Tensor, list[Use]]:
        """Trace again; parameters whose guessed layout does not fit this model go to the fallback."""
        while True:
            try:
                return self.forward(probe)
            except (RuntimeError, ValueError, IndexError):
                guessed = [use for use in self._trace.uses if use.layout == "shared"]
                names = {view.name for use in guessed for view in use.views.values()}
                if not names:
                    raise
                self.reasons |= dict.fromkeys(names | wrong, "no rule reproduces autograd")

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
