r"""The certificate: passes are checked against the network's own gradient while a kernel is computed.

For random signed weights :math:`w_{jr}` the ordinary gradient of :math:`\sum_{jr} w_{jr} v_{jr} \cdot f_j`, taken by
autograd through the model's own parameters, must equal :math:`\sum_{jr} w_{jr} g_{jr}` formed from the factors. Two
checks share the work:

* *alone*: a few seeded samples of the batch go through the untouched model by themselves. This sees what a backward
  pass of the same batch cannot: samples that depend on each other, and a sample axis that was taken for another (every
  sum over the whole batch is the same there). It costs the passes of these few samples.
* *together*: the whole batch, on the activations of the pass, with a weight of its own for every sample. It follows
  wherever the first check disagrees (a unit near zero may switch when a sample is alone), always under ``every``, and
  on the first pass of each pattern where that is cheap.

Parameters on which both disagree go to the generic route for this pass, and that route is checked too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.capture.checked_passes import samples_checked, samples_of_first
from kernels.capture.company import SWITCHED, by_company, refuse_sums, require_same_outputs
from kernels.capture.pass_under_check import PassUnderCheck, Prepared
from kernels.capture.quiet import activations_kept, quiet
from kernels.capture.summary import ceiling
from kernels.gradients.blocks import Block, VectorBlock
from kernels.gradients.dressed import dressed
from kernels.gradients.fallback import looped_gradients, sample
from kernels.gradients.one_sample import narrowest
from kernels.gradients.weighted_sum import (
    Comparison,
    above,
    agreements,
    least_size,
    random_weights,
    relative,
)
from kernels.inputs.outputs import Inputs
from kernels.inputs.samples import Place

MORE = 3
"""Further samples of which one has to be right where units of those that were drawn may have switched."""
JUDGES = 5
"""Samples, each by itself, that decide whether company changes gradients or a unit near zero switched."""
CHEAP = 2**23
"""Parameters times samples up to which a pattern's first pass is also checked whole: it takes milliseconds."""

# Of a sum's size: autograd and the factors add the same numbers in different orders, through all layers.
_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


class MisreadError(RuntimeError):
    """Parameters whose per-sample gradients are not the network's, in a pass whose blocks cannot be replaced.

    Attributes
    ----------
    names : tuple of str
        The parameters.
    """

    def __init__(self, names: Sequence[str], place: str, size: float) -> None:
        self.names = tuple(names)
        super().__init__(
            f"per-sample gradients of {', '.join(names)} for {place} differ from the network's own gradient by "
            f"{size:.2g} of its size: no rule reads this use of them rightly; pass fallback={list(names)}"
        )


@dataclass
class Certifier:
    """Checks the passes of one computation and remembers what it found.

    Attributes
    ----------
    mode : {"every", "sampled", "off"}
        Whole batches of every pass, a few samples of nearly every pass and of each pattern's first, or nothing.
    replaces : bool
        Whether consumers take replaced factors of any form; otherwise :class:`MisreadError` names the parameters.
    at : Place or None
        Which samples the next pass holds; a pass without a place is a trial.
    passes : dict of str to float or None
        Largest relative difference by place, None where the pass was left out.
    patterns : dict of str to float
        The same of the first pass of each pattern of uses and shapes.
    generic : set of str
        Parameters that took the generic route in some pass.
    parameters : int
        Number of parameters that are compared.
    unit : float
        Rounding unit of the passes.
    digits : torch.dtype or None
        Type whose digits two passes can be expected to share, once a sample has shown it.
    """

    mode: str = "sampled"
    replaces: bool = True
    at: Place | None = None
    passes: dict[str, float | None] = field(default_factory=dict)
    patterns: dict[str, float] = field(default_factory=dict)
    generic: set[str] = field(default_factory=set)
    parameters: int = 0
    unit: float = 0.0
    digits: torch.dtype | None = None
    _kept: set[str] = field(default_factory=set)
    _suspects: set[str] = field(default_factory=set)
    _sizes: set[int] = field(default_factory=set)
    _right: dict[str, set[str]] = field(default_factory=dict)  # by pattern: what agreed of some sample alone

    @property
    def place(self) -> str:
        """Name the samples of the next pass, for messages."""
        return self.at.words if self.at else ""

    def check(
        self,
        capture: Prepared,
        inputs: Inputs,
        logits: Float[Tensor, "b k"],
        rows: Float[Tensor, "b r k"],
        blocks: list[Block],
        pattern: str,
    ) -> list[Block]:
        """Check one pass, and return its blocks: replaced where they are not the network's gradients."""
        at, place = self.at, self.place
        if self.mode == "off" or at is None or not len(rows) or not bool(logits.sum().isfinite()):
            return blocks
        self.parameters, self.unit = len(capture.parameters), torch.finfo(logits.dtype).eps
        if place in self.passes and pattern in self.patterns:  # computed again for another tile
            return blocks
        numbers = sum(p.numel() for p in capture.parameters.values())
        count, seeded = samples_checked(self.mode, at, len(rows), numbers)
        new = pattern not in self.patterns
        order = torch.randperm(len(rows), generator=seeded)
        first = samples_of_first(len(rows), numbers)
        suspect = pattern in self._suspects  # an earlier pass like this one was misread
        right = self._right.setdefault(pattern, set())
        one = PassUnderCheck(capture, inputs, logits, rows, blocks, place, seeded, right)
        alone = order[: max(count, first if new or suspect else 0)]
        found: float | None = None
        if len(alone):
            whole = self.mode == "every" or suspect or new and len(rows) * numbers <= CHEAP
            # Of a new batch size one sample is by itself: what acts on batches may act alike on these few and on all.
            parts = [alone] if len(rows) in self._sizes else [alone[:1], alone[1:]]
            self._sizes.add(len(rows))
            switched: set[str] = set()
            apart = self._apart(one, parts, switched)
            # Of what may have switched, another sample of such a pass has the same gradients alone and in its batch.
            for index in order[len(alone) :][:MORE]:
                if whole or switched <= one.right:
                    break
                other = self._apart(one, [index[None]])
                whole = other is None or bool(by_company(other, self.digits))
            whole = whole or not switched <= one.right
            if apart is None or not any(map(math.isnan, apart.values())):  # else whoever reads them names the sample
                before = blocks
                limit = _TOLERANCE[self.digits or torch.float32]
                if whole or apart is None or above(apart, limit):
                    blocks, found = self._together(one)
                    odd = {} if apart is None or blocks is not before else by_company(apart, self.digits)
                    if odd and len(rows) > 1:
                        judges = order[: max(JUDGES, len(alone))]
                        self._require_no_company(one, judges)
                else:
                    found = max(apart.values())
                if blocks is not before:
                    self._suspects.add(pattern)
        self.passes[place] = found if count else None
        if new and found is not None:
            self.patterns[pattern] = found
        return blocks

    def _apart(
        self, one: PassUnderCheck, parts: Sequence[Tensor], switched: set[str] | None = None
    ) -> dict[str, float] | None:
        """Differences of samples that are apart from their batch; None of a network for whole batches only.

        Where a unit near zero explains them, those of the rules by themselves, and ``switched`` takes the names.
        """
        if self.digits is None:
            self.digits = self._digits_of(one, parts[0][:1])
        found: dict[str, float] = {}
        limit = _TOLERANCE[torch.float32]
        parts = [part.sort().values for part in parts if len(part)]
        together = torch.cat(parts)
        weights = random_weights(together, one.rows, one.seeded)
        comparison = Comparison(one.blocks, together, weights, one.capture.parameters)
        try:
            outputs, _ = one.by_the_network(parts, weights, comparison)
        except (RuntimeError, ValueError, IndexError, TypeError):
            return None
        require_same_outputs(one.logits, outputs, together, self.digits, one.place)
        judged = [(together, weights, comparison, comparison.agreements())]
        if len(parts) > 1 and above(relative(judged[0][3]), _TOLERANCE[self.digits]):  # tell whose they are
            judged = [(*it, it[2].agreements()) for it in one.part_by_part(parts, weights, comparison)]
        for chosen, weights, comparison, sums in judged:
            differences = relative(sums)
            one.right.update(name for name, it in sums.items() if 0 < it.size and it.error <= limit * it.size)
            if switched is not None and self._may_have_switched(differences):
                again = one.by_rules_alone(chosen, weights, comparison)
                if again is not None and not above(again, limit):
                    switched.update(above(differences, limit))
                    differences = again
            for name, value in differences.items():
                known = found.get(name, 0.0)
                found[name] = value if math.isnan(value) else known if math.isnan(known) else max(value, known)
        return found

    def _digits_of(self, one: PassUnderCheck, index: Tensor) -> torch.dtype:
        if one.logits.dtype != torch.float64:
            return torch.float32
        with activations_kept():
            return narrowest(one.capture.model, sample(one.inputs, index), one.capture.output, one.logits.dtype)

    def _may_have_switched(self, differences: dict[str, float]) -> bool:
        """Whether a unit near zero that switched when a sample was alone explains the differences."""
        narrow = self.digits != torch.float64 and self.mode != "every"
        return narrow and _TOLERANCE[torch.float32] < max(differences.values()) and not by_company(differences, None)

    def _require_no_company(self, one: PassUnderCheck, order: Tensor) -> None:
        """Refuse gradients that are right of the whole batch and others of samples alone.

        In float32 a unit near zero may have switched in one of them.
        """
        odd: list[dict[str, float]] = []
        for index in order:
            odd += [found for found in [by_company(self._apart(one, [index[None]]) or {}, self.digits)] if found]
            if len(odd) > (self.digits != torch.float64):
                refuse_sums({name: value for found in odd for name, value in found.items()}, one.place)

    def _together(self, one: PassUnderCheck) -> tuple[list[Block], float | None]:
        """Hold the whole batch against the network, and replace blocks that differ."""
        whole = torch.arange(len(one.rows))
        weights = random_weights(whole, one.rows, one.seeded)
        comparison = Comparison(one.blocks, whole, weights, one.capture.parameters)
        with quiet(one.capture.model):
            one.by_the_network(None, weights, comparison)
        sums = comparison.agreements()
        differences = relative(sums)
        if any(map(math.isnan, differences.values())):
            return one.blocks, None
        wrong = above(differences, _TOLERANCE[self.digits or torch.float32])
        if not wrong:
            return one.blocks, max(differences.values())
        return self._replace(one, wrong, weights, least_size(sums))

    def _replace(
        self, one: PassUnderCheck, wrong: dict[str, float], weights: Tensor, least: float
    ) -> tuple[list[Block], float]:
        """Take the generic route for the parameters on which rules and network disagree, and check that too."""
        capture, blocks = one.capture, one.blocks
        touched = [block for block in blocks if set(block.names) & wrong.keys()]
        names = tuple(dict.fromkeys([*wrong, *(name for block in touched for name in block.names)]))
        with quiet(capture.model):
            found = looped_gradients(capture.model, names, one.inputs, one.rows, capture.output)
            _, own = one.by_the_network(None, weights)
        shapes = {name: capture.parameters[name].shape for name in wrong}
        plain: list[Block] = [VectorBlock(name, shapes[name], found[name]) for name in wrong]
        sums = agreements(plain, torch.arange(len(one.rows)), weights, {name: own[name] for name in wrong})
        differences = relative(sums, least)
        limit = SWITCHED[self.digits or torch.float32]
        coupled = {name: value for name, value in above(differences, limit).items() if not math.isnan(value)}
        if coupled:
            refuse_sums(coupled, one.place)
        covered = {name for block in blocks for name in block.names}
        fixed = {name for block in touched if not isinstance(block, VectorBlock) for name in block.names}
        if not self.replaces and fixed or wrong.keys() - covered:
            raise MisreadError(
                sorted((fixed & wrong.keys()) | (wrong.keys() - covered)), one.place, max(wrong.values())
            )
        self.generic |= wrong.keys()
        return [dressed(block, found) if any(block is it for it in touched) else block for block in blocks], max(
            differences.values()
        )

    def record(self) -> dict[str, Any]:
        """Return what was found since the last record, to be kept beside the tiles that it vouches for."""
        found = {
            "passes": {place: value for place, value in self.passes.items() if place not in self._kept},
            "patterns": {name: value for name, value in self.patterns.items() if name not in self._kept},
            "generic": sorted(self.generic),
            "parameters": self.parameters,
            "unit": self.unit,
        }
        self._kept |= self.passes.keys() | self.patterns.keys()
        return found

    def restore(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take over what an interrupted run, or another process, has recorded."""
        for one in records:
            self.passes = one["passes"] | self.passes
            self.patterns = one["patterns"] | self.patterns
            self.generic |= set(one["generic"])
            self.parameters, self.unit = max(self.parameters, one["parameters"]), max(self.unit, one["unit"])
        self._kept |= self.passes.keys() | self.patterns.keys()

    def summary(self) -> dict[str, Any]:
        """Summarize what was checked, in plain values that do not depend on threads or interruptions.

        ``largest_difference`` is the power of ten that no relative difference exceeds; 0 where nothing was checked.
        """
        checked = [value for value in self.passes.values() if value is not None]
        found = max([*checked, *self.patterns.values()], default=None)
        return {
            "certify": self.mode,
            "passes": len(self.passes),
            "passes_checked": len(checked),
            "patterns_checked": len(self.patterns),
            "parameters": self.parameters,
            "largest_difference": 0.0 if found is None else ceiling(max(found, 40 * self.unit)),
            "generic": sorted(self.generic),
        }
