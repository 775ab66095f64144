"""Settle, on three samples, which rule serves each parameter and which axis of its uses holds the samples.

Two batch sizes, three samples and two of them in reverse, show which axes grow with the batch. What the rules then give
is compared with plain autograd of one sample, to rounding, so an operation that a rule misreads goes to the generic
route of :mod:`kernels.gradients.fallback`. Parameters that meet each other before they meet a sample are followed
through the tensors computed from them (:mod:`kernels.gradients.derived`).

A later pass may use its parameters as these samples did not: a layer runs once more for longer texts, another branch
is taken. Such uses are settled on samples of that pass, and what cannot be settled takes the generic route in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kernels.capture.agreement import COARSE, Probe, disagreements, generic_route, gradients_alone
from kernels.capture.independence import require_independence
from kernels.capture.own_functions import own_functions
from kernels.capture.quiet import quiet, watched_by
from kernels.capture.sample_axis import Shapes, other_layouts
from kernels.capture.trace import ForwardTrace
from kernels.gradients.blocks import Block
from kernels.gradients.derived import tensors_in
from kernels.gradients.fallback import sample
from kernels.gradients.in_form import in_form, outline, unread_form
from kernels.gradients.one_sample import Checked, plain_gradients
from kernels.inputs.outputs import Inputs, batch_size, call_logits
from kernels.rules.base import MisfitError, Use
from kernels.rules.table import RULES

# Of the same sums in another order.
_FINE = {torch.float64: 1e-8, torch.float32: 3e-5}
_MISREAD, _UNREAD, _ASKED = "no rule reproduces autograd", "not read by the first samples", "asked for"


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
    unread : set of str
        Those of them that nothing read.
    route : str
        ``"vmap"`` or ``"loop"``, how the generic route differentiates.
    probed : Probe or None
        Of three probe samples, where rules cover everything.
    forms : list of Block
        Blocks of the parameters with rules, without their numbers: the form in which every pass gives them.
    outputs : int
        Number of logits, once settled.
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
        self.route = "vmap"
        self.probed: Probe | None = None
        self.forms: list[Block] = []
        self.unread: set[str] = set()
        self.outputs = 0
        self._layouts: dict[tuple[Any, ...], str] = {}
        self._more: dict[frozenset[Any], tuple[dict[tuple[Any, ...], str], set[str]]] = {}
        self._copied: set[tuple[Any, ...]] = set()
        self._derived: set[str] = set()
        self._seen: Shapes | None = None
        self._marks = False
        self._tried: dict[tuple[frozenset[str], frozenset[str]], set[str]] = {}
        self._fine = 0.0

    def settle(self, probe: Inputs, *, derive: bool = True, two: tuple[int, int] = (2, 1)) -> None:
        """Decide on the first, the middle and the last of some samples; of one or two, some are taken again."""
        count = batch_size(probe)
        three = sample(probe, torch.tensor([0, count // 2, count - 1] if count > 2 else [0, 0, count - 1]))
        pair, single = sample(three, torch.tensor(two)), sample(three, slice(0, 1))
        with quiet(self.model):
            alone, truth, row = gradients_alone(self.model, single, self.parameters, self.output)
            self.outputs = len(row)
            apart = self._watch(pair)
            checked = Checked(three, 0, row, truth)  # the first: the middle one stays where it is in reversed samples
            early = {name for name in self._trace.unknown if truth[name] is not None} if derive else set()
            found = self._derive(checked, single, early, tries=1)
            if found is None:
                logits, uses = self._retrace(three, set())
                require_independence(logits.detach()[[0, *two]], torch.cat([alone, apart]))
                logits, uses, reached, blocks = self._reconcile(logits, uses, checked)
                self._layouts |= {use.key: use.layout for use in uses}
            else:
                logits, reached, blocks = found
                require_independence(logits.detach()[[0, *two]], torch.cat([alone, apart]))
            silent = {name for name in self.parameters if truth[name] is None}
            if self._trace.routed:  # by the data, which may send later samples elsewhere
                self.reasons |= dict.fromkeys(silent - self._trace.touched - set(self.reasons), _UNREAD)
            self.unused = silent - reached - set(self.reasons)
            self.unread = self.unused - self._trace.touched
            blocks = [block for block in blocks if not self.unused.issuperset(block.names)]
            self.probed = None if self.reasons or count != 3 else Probe(logits.detach(), blocks, self._seconds)
            if derive:
                names = {name for name, why in self.reasons.items() if why not in (_ASKED, _UNREAD)}
                found = self._derive(checked, single, {name for name in names if truth[name] is not None}, tries=6)
                blocks = blocks if found is None else [b for b in found[2] if not self.unused.issuperset(b.names)]
                if self.route == "vmap":
                    left = {name: self.parameters[name] for name in self.reasons}
                    self.route = generic_route(self.model, left, self.output, checked)
            else:
                self._check_others(three)
            self.forms = [outline(block) for block in blocks if not set(block.names) & self.reasons.keys()]
            self._seen = None

    def _check_others(self, three: Inputs) -> None:
        """Hold the rules against every sample, also where another one is in the middle."""
        for order in ([0, 1, 2], [1, 2, 0]):
            inputs = sample(three, torch.tensor(order))
            for at in range(3):
                one = sample(inputs, slice(at, at + 1))
                _, truth, row = plain_gradients(self.model, one, self.parameters, self.output)
                logits, uses = self._pass(inputs, self._layouts, set())
                wrong = self._disagreements(logits, uses, Checked(inputs, at, row, truth))[0]
                self.reasons |= dict.fromkeys(sorted(wrong), _MISREAD)

    def reserve(self) -> None:
        """Give what no sample has read yet a form too, for consumers that need every parameter from the start."""
        self.forms += [unread_form(n, p) for n, p in self.parameters.items() if n in self.unread]
        if self.probed is not None:
            rows = torch.zeros_like(self.probed.logits).unsqueeze(1)
            self.probed = replace(self.probed, blocks=in_form(self.probed.blocks, self.forms, {}, rows))

    def forward(self, inputs: Inputs, astray: set[str]) -> tuple[Tensor, list[Use], set[str]]:
        """Trace one batch of a quiet model.

        Parameters
        ----------
        inputs : Tensor or mapping
            The batch.
        astray : set of str
            Parameters that are to take the generic route in this pass.

        Returns
        -------
        tuple
            Logits with their graph, uses of parameters, and ``astray`` with those added that this pass reads in a way
            that no rule fits.
        """
        layouts, astray = self._layouts, {name for name in astray if name in self.parameters}
        while True:
            try:
                logits, uses = self._pass(inputs, layouts, astray)
            except Exception:  # whatever the model makes of a result that was spread over the samples
                if not self._spread - astray:
                    raise
                astray = astray | self._spread
                continue
            strange, lost = self._trace.strange, self._trace.unknown.keys() - astray
            if strange:
                known, more = self._settle_more(frozenset(strange), inputs)
                layouts = known | layouts
                lost = lost | more
            if not lost and not strange:
                return logits, uses, astray
            astray = astray | (lost & self.parameters.keys())

    def _settle_more(self, strange: frozenset[Any], inputs: Inputs) -> tuple[dict[tuple[Any, ...], str], set[str]]:
        """Layouts of uses that the first samples did not show, and parameters that have no rule because of them."""
        if strange not in self._more:
            left = {name: p for name, p in self.parameters.items() if name not in self.reasons}
            for two in ((2, 1), (2, 0), (1, 0)):  # another pair of samples may show what the first did not
                fresh = Settling(self.model, left, self.output, {})
                fresh._derived, fresh._marks = set(self._derived), self._marks
                fresh.settle(inputs, derive=False, two=two)
                if not fresh.reasons and strange <= fresh._layouts.keys():
                    break
            owners = fresh._owners
            lost = set(fresh.reasons)
            for key, layout in fresh._layouts.items():
                if self._layouts.get(key, layout) != layout:
                    lost |= owners[key]
            for key in strange - fresh._layouts.keys():
                lost |= self._owners.get(key, set())
            self._more[strange] = ({k: v for k, v in fresh._layouts.items() if k not in self._layouts}, lost)
        return self._more[strange]

    def _pass(
        self, inputs: Inputs, layouts: dict[tuple[Any, ...], str], astray: set[str], *, watch: bool = False
    ) -> tuple[Tensor, list[Use]]:
        tracked: dict[str, Tensor] = {
            n: p for n, p in self.parameters.items() if n not in self.reasons and n not in astray
        }
        self._trace = trace = ForwardTrace(
            tracked,
            RULES,
            batch_size(inputs),
            layouts,
            self._copied,
            self._derived - astray,
            tensors_in(inputs),
            seen=self._seen,
            watch=watch,
            marks=self._marks,
        )
        start = time.perf_counter()
        with torch.enable_grad(), own_functions(trace.apply), watched_by(trace):
            logits = call_logits(self.model, inputs, self.output)
        self._seconds = time.perf_counter() - start
        mutated = trace.rewritten.union(use.key for use in trace.uses if use.mutated())
        if mutated - self._copied:
            self._copied |= mutated
            return self._pass(inputs, layouts, astray)
        return logits, trace.uses

    @property
    def _spread(self) -> set[str]:
        """Parameters of the last pass whose outputs were spread over the samples."""
        uses = self._trace.uses
        return {name for use in uses if use.layout == "shared" for name in use.owners()} & self.parameters.keys()

    @property
    def _owners(self) -> dict[tuple[Any, ...], set[str]]:
        """Parameters behind each use of the last pass."""
        return {use.key: use.owners() & self.parameters.keys() for use in self._trace.uses}

    def _watch(self, pair: Inputs) -> Tensor:
        """Note the shapes of all uses in a pass of two samples; return its outputs."""
        self._seen = None
        logits = self._pass(pair, {}, set(), watch=True)[0].detach()
        if self._trace.mixed and not self._marks:  # an operation without a rule may read samples: tell which they are
            self._marks = True
            return self._watch(pair)
        self._seen = self._trace.shapes
        self._fine = _FINE.get(logits.dtype, 0.2)
        if self._trace.narrowest < torch.finfo(logits.dtype).bits:
            self._fine = COARSE.get(logits.dtype, 0.2)  # sums of fewer digits inside
        return logits

    def _reconcile(
        self, logits: Tensor, uses: list[Use], checked: Checked
    ) -> tuple[Tensor, list[Use], set[str], list[Block]]:
        """Change layouts, then routes, until every rule gives what autograd gives."""
        tried: set[tuple[Any, str]] = set()
        while True:
            self.reasons |= self._trace.unknown
            wrong: set[str] = set()
            try:
                wrong, reached, blocks = self._disagreements(logits, uses, checked)
                if not wrong:
                    return logits, uses, reached, blocks
            except MisfitError as misfit:
                self.reasons |= dict.fromkeys(misfit.owners & self.parameters.keys(), str(misfit))
            self._revise(uses, wrong, tried)
            logits, uses = self._retrace(checked.inputs, wrong)

    def _derive(
        self, checked: Checked, single: Inputs, names: set[str], *, tries: int
    ) -> tuple[Tensor, set[str], list[Block]] | None:
        """Follow what acts on samples only through tensors computed from parameters alone.

        Returns
        -------
        tuple or None
            Of the checked pass: logits, parameters that it reached, blocks; None where that does not work.
        """
        if not names:
            return None
        before = (self._derived, dict(self.reasons), dict(self._layouts), self._seen, self._fine)
        fallback, truth = before[1], checked.alone
        pair = sample(checked.inputs, torch.tensor([2, 1]))
        alone = Checked(single, 0, checked.row, truth, truth)
        for _ in range(tries):
            self._derived, self.reasons = names, {n: why for n, why in fallback.items() if n not in names}
            tried = (frozenset(names), frozenset(self.reasons))
            wrong = self._tried.get(tried, set())
            found: list[tuple[Tensor, set[str], list[Block]]] = []
            first: tuple[ForwardTrace, float] | None = None
            try:
                if not wrong:
                    self._watch(pair)
                for one in (checked, alone):
                    if wrong:  # in this pass, or in an attempt that was the same
                        break
                    logits, uses = self._pass(one.inputs, self._layouts, set())
                    bad, reached, blocks = self._disagreements(logits, uses, one)
                    wrong = bad | self._trace.unknown.keys()
                    found.append((logits, reached, blocks))
                    first = first or (self._trace, self._seconds)
                    self._layouts = {use.key: use.layout for use in uses} | self._layouts
                    self._seen = None
            except (RuntimeError, ValueError, IndexError, TypeError):
                wrong = set(names)
            self._tried[tried] = wrong
            if not wrong and first is not None:
                self._trace, self._seconds = first
                return found[0]
            # A parameter with a rule may share a derived tensor with these; then it is followed like them.
            names = names | wrong if wrong - names else names - wrong
            if not names:
                break
        self._derived, self.reasons, self._layouts, self._seen, self._fine = before
        return None

    def _disagreements(self, logits: Tensor, uses: list[Use], checked: Checked) -> tuple[Any, Any, list[Block]]:
        left = {name: p for name, p in self.parameters.items() if name not in self.reasons}
        return disagreements(self.model, self.parameters, self.output, left, self._fine, logits, uses, checked)

    def _revise(self, uses: list[Use], wrong: set[str], tried: set[tuple[Any, str]]) -> None:
        """Try another layout for the uses of misread parameters, then send them to the fallback."""
        hopeless = set(wrong)
        for use in uses:
            names = use.owners() & wrong
            left = [layout for layout in other_layouts(use) if (use.key, layout) not in tried]
            if names and left:
                self._layouts[use.key] = left[0]
                tried.add((use.key, left[0]))
                hopeless -= names
        self.reasons |= dict.fromkeys(sorted(hopeless), _MISREAD)

    def _retrace(self, three: Inputs, wrong: set[str]) -> tuple[Tensor, list[Use]]:
        """Trace again; parameters whose outputs cannot be spread over the samples go to the fallback."""
        while True:
            try:
                return self._pass(three, self._layouts, set())
            except Exception:  # whatever the model makes of a result that was spread over the samples
                if not self._spread - self.reasons.keys():
                    raise
                self.reasons |= dict.fromkeys(self._spread | wrong, _MISREAD)
