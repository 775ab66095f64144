"""Watch one forward pass: which operation reads which parameter, and where its output's gradient can be obtained.

A ``TorchFunctionMode`` sees every torch operation that the model calls, so a rule is keyed by the *operation* that
reads the parameter (``F.linear``, ``conv2d``, ``embedding``, ...) rather than by the module's class. Subclasses,
functional calls, weights shared between modules, Hugging Face ``Conv1D`` (``addmm``), packed attention projections (a
``chunk`` of one parameter) and bare parameters then need no special treatment, and a parameter that reaches an
operation without a rule is reported by name, never silently lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode

from kernels.capture.quiet import FUSED, plain_attention
from kernels.capture.row_picking import ASKED, RowPicks
from kernels.capture.sample_axis import Shapes, layout_between, likely_layout
from kernels.gradients.derived import Tape, tensors_in, writes
from kernels.machine.process_state import replaced_here
from kernels.rules.base import ParameterView, Rule, Use
from kernels.rules.operation import operation_rule
from kernels.rules.rewrites import REWRITES

# Operations that take nothing but type and shape from a tensor: from their second one, or from all.
_NEW = {torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like, torch.rand_like, torch.randn_like}
_NEW |= {Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty, Tensor.new_full, Tensor.new_tensor}
_MAKING = ("linear", "addmm", "convolution")  # rules of operations whose results share no memory
_LIKE = _NEW | {Tensor.to, Tensor.type_as, Tensor.expand_as, Tensor.view_as, Tensor.reshape_as}


class ForwardTrace(TorchFunctionMode):
    """Record every use of the tracked parameters during one forward pass.

    Parameters
    ----------
    parameters : dict
        Tracked parameters by qualified name. They must not require grad while the trace is active.
    rules : dict
        Rules by torch function.
    batch : int
        Number of samples in the batch.
    layouts : dict
        Layout by use key, for uses whose samples are not where their shapes suggest.
    copied : set
        Keys of uses whose inputs must be copied because they are overwritten later.
    derivable : set
        Parameters that are followed through tensors computed from them alone.
    inputs : iterable of Tensor
        The batch.
    seen : Shapes, optional
        Shapes of the uses at another batch size, which tell where the samples of new uses are.
    watch : bool
        Only note the shape of every use, in ``shapes``; nothing is spread over the samples or given up.
    marks : bool
        Tell samples from constants, so that operations without a rule of their own can have one.
    """

    def __init__(
        self,
        parameters: dict[str, Tensor],
        rules: dict[Any, Rule],
        batch: int,
        layouts: dict[tuple[Any, ...], str],
        copied: set[tuple[Any, ...]],
        derivable: Set[str] = frozenset(),
        inputs: Iterable[Tensor] = (),
        seen: Shapes | None = None,
        watch: bool = False,
        marks: bool = False,
    ) -> None:
        super().__init__()
        self.mixed = False
        self.rewritten: set[tuple[Any, ...]] = set()
        self._views_given: dict[int, set[tuple[Any, ...]]] = {}
        self.seen, self.watch = seen, watch
        self.shapes = Shapes(batch)
        self.strange: set[tuple[Any, ...]] = set()
        self.touched: set[str] = set()
        self.narrowest = 64
        self.rules = rules
        self.batch = batch
        self.layouts, self.copied = layouts, copied
        self.uses: list[Use] = []
        self.unknown: dict[str, str] = {}
        self._parameters = dict(parameters)
        followed = {name: p for name, p in parameters.items() if name in derivable}
        self._tape = Tape(followed, inputs, marks=marks)
        with torch._C.DisableTorchFunction():  # a mode would be told of every question about a parameter
            self._views = {id(p): ParameterView(name, p.shape, p.shape) for name, p in parameters.items()}
        self._alive: list[Tensor] = []  # keeps ids of derived views from being reused
        self._counts: dict[tuple[Any, ...], int] = {}
        self._picks = RowPicks(batch)
        self._anchors: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one torch operation and record it when it reads a tracked parameter."""
        kwargs = kwargs or {}
        if func in ASKED:
            return func(*args, **kwargs)
        tensors = tensors_in((*args, kwargs) if kwargs else args)
        read = [self._views[id(x)] for x in tensors if id(x) in self._views]
        if read and func in _LIKE:
            read = [self._views[id(x)] for x in args[:1] if id(x) in self._views and func not in _NEW]
        if read:
            result = self._run(func, args, kwargs, tensors, read)
        else:
            result = (plain_attention if func is FUSED else func)(*args, **kwargs)
        made = tensors_in(result)
        if self._views_given and tensors and writes(_label(func)) and tensors[0].layout == torch.strided:
            # Writing into a view gives it another place in the graph than the one that was noted.
            self.rewritten |= self._views_given.get(tensors[0].untyped_storage().data_ptr(), set())
        if self.watch:
            self.narrowest = min([self.narrowest, *(torch.finfo(x.dtype).bits for x in made if x.is_floating_point())])
        self._picks.follow(func, args, tensors, made)
        self._tape.follow(args, tensors, made)
        return result

    def apply(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an autograd function of the model's own, see :mod:`kernels.capture.own_functions`."""
        return self.__torch_function__(func, (), args, kwargs)

    @property
    def routed(self) -> bool:
        """Whether the data picked rows for some layer."""
        return self._picks.routed

    def _run(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor], read: list[ParameterView]
    ) -> Any:
        call = plain_attention if func is FUSED else func
        if not torch.is_grad_enabled():  # without gradients every result is a constant
            return call(*args, **kwargs)
        if torch._C._functorch.peek_interpreter_stack() is not None:
            for view in read:  # the samples are not an axis that can be seen, and the result does not outlive it
                self._give_up(view, f"read by {_label(func)} inside torch.func")
            return call(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            # The composite checks for overrides once, at its start: report none, and watch the projections inside.
            with replaced_here(F, "has_torch_function", lambda *_: False), self:
                return func(*args, **kwargs)
        if self._tape.takes(func, _label(func), args, tensors) and not self._spreads(func, tensors, read):
            before = self._tape.before(func, args)
            result = call(*args, **kwargs)
            self.touched.update(view.name for view in read)
            self._tape.record(call, before, kwargs, tensors, tensors_in(result))
            self._derive(func, args, result, read)
            return result
        if func in REWRITES:
            with self:
                result = REWRITES[func](*args, **kwargs)
            if result is not NotImplemented:
                return result
        standardized = func is F.batch_norm and id(tensors[0]) in self._views  # a parameter by its own statistics
        if func in self.rules and not standardized:
            return self._record(self.rules[func], func, args, kwargs, read, self._picks.among(tensors))
        mixed = not standardized and not writes(_label(func)) and any(id(x) not in self._views for x in tensors)
        self.mixed |= mixed
        if mixed and self._tape.marks:
            sampled = [x for x in tensors if id(x) not in self._views and self._tape.sampled(x)]
            if sampled:
                rule = operation_rule(call, _label(func), sampled)
                return self._record(rule, call, args, kwargs, read, self._picks.among(tensors))
        result = call(*args, **kwargs)
        self._derive(func, args, result, read)
        return result

    def _spreads(self, func: Any, tensors: list[Tensor], read: list[ParameterView]) -> bool:
        """Whether an element-wise operation, such as adding one mask per sample, introduces the samples."""
        if func not in self.rules or self.rules[func].name not in ("add", "subtract", "multiply"):
            return False
        shape = torch.broadcast_shapes(*(x.shape for x in tensors))
        broadcast = all(len(view.shape) < len(shape) or view.shape[:1] == (1,) for view in read)
        return broadcast and shape[:1].numel() % self.batch == 0

    def _record(
        self,
        rule: Rule,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        read: list[ParameterView],
        picked: bool,
    ) -> Any:
        arguments = rule.bind(*args, **kwargs)
        views = {
            slot: self._views[id(arguments[slot])]
            for slot in rule.parameters
            if isinstance(arguments.get(slot), Tensor) and id(arguments[slot]) in self._views
        }
        scaled = self._scaled(rule, arguments, views)
        result = func(*args, **kwargs)
        if scaled is not None:
            self._track(result, scaled)
            return result
        if not isinstance(result, Tensor) or not result.is_floating_point() or result.is_nested:
            self._derive(func, args, result, read)
            return result
        self.touched.update(view.name for view in read)
        names = (rule.name, *sorted((view.name, view.rows or ()) for view in views.values()))
        self._counts[names] = self._counts.get(names, -1) + 1
        key = (*names, self._counts[names])
        kept = {
            slot: value.detach() if isinstance(value, Tensor) else value  # detach shares the version counter
            for slot, value in arguments.items()
            if slot not in views
        }
        if self.watch:
            self.shapes.by_key[key] = result.shape
            joins = len({view.name for view in read}) > 1 and rule.name not in ("add", "subtract", "where")
            if joins and not any(isinstance(value, Tensor) for value in kept.values()):
                for view in read:  # parameters met each other, not a sample
                    self._give_up(view, f"joined by {_label(func)}")
            return self._anchored(result)
        layout = self._layout(key, result.shape)
        use = Use(rule, kept, views, key, layout, self.batch, result.shape, None, tape=self._tape)
        stray = [view for view in read if view not in views.values()]
        for view in stray:
            self._give_up(view, f"operand of {_label(func)}")
        extent = {"second": result.shape[1:2].numel(), "shared": self.batch}.get(layout, result.shape[:1].numel())
        ragged = picked or extent % self.batch != 0 or layout == "second" and extent != self.batch
        if not views or ragged or layout == "none" or not rule.accepts(use):
            form = "of rows that the data pick" if ragged else "in an unsupported form"
            form = "with its samples on no axis of their own" if layout == "none" else form
            for view in views.values():
                self._give_up(view, f"{_label(func)} {form}")
            return result
        result = self._tap(result.clone() if key in self.copied else result, use)
        if result._is_view() and result.layout == torch.strided:
            self._views_given.setdefault(result.untyped_storage().data_ptr(), set()).add(key)
        if key in self.copied:
            use.arguments = {s: v.clone() if isinstance(v, Tensor) else v for s, v in kept.items()}
        use.versions = [(v, v._version) for v in use.arguments.values() if isinstance(v, Tensor)]
        self.uses.append(use)
        return result

    def _tap(self, result: Tensor, use: Use) -> Tensor:
        if use.layout == "shared":
            inner = result.squeeze(0) if result.shape[:1] == (1,) and result.ndim > 1 else result
            result = inner.expand(self.batch, *inner.shape)
        result = self._anchored(result, own=use.rule.name in _MAKING)
        use.shape = result.shape
        use.edge = get_gradient_edge(result)
        return result

    def _anchored(self, result: Tensor, *, own: bool = False) -> Tensor:
        """Make a result require gradients, although the parameters do not; one in memory of its own in place."""
        if result.requires_grad:
            return result
        place = (result.dtype, result.device)
        if place not in self._anchors:
            self._anchors[place] = torch.zeros((), dtype=place[0], device=place[1], requires_grad=True)
        return result.add_(self._anchors[place]) if own and not result._is_view() else result + self._anchors[place]

    def _layout(self, key: tuple[Any, ...], shape: torch.Size) -> str:
        """Where the samples of a use are; what no earlier use of these parameters shows is noted as strange."""
        if key in self.layouts:
            return self.layouts[key]
        if self.seen is not None:
            return layout_between(shape, self.batch, self.seen.by_key.get(key), self.seen.batch)
        before = [(*key[:-1], count) for count in range(key[-1]) if (*key[:-1], count) in self.layouts]
        alike = {self.layouts[one] for one in before[-8:]}
        if len(before) > 1 and len(alike) == 1:  # one more turn of a loop
            return alike.pop()
        self.strange.add(key)
        return likely_layout(shape, self.batch)

    def _scaled(self, rule: Rule, arguments: dict[str, Any], views: dict[str, ParameterView]) -> ParameterView | None:
        """View of a parameter times a number, or plus one, which does not show in its gradient."""
        if rule.name not in ("multiply", "divide", "add", "subtract") or len(views) != 1:
            return None
        ((slot, view),) = views.items()
        other = arguments["right" if slot == "left" else "left"]
        if isinstance(other, Tensor) and other.ndim == 0 and not other.requires_grad:
            other = other.item()
        if not isinstance(other, (int, float)):
            return None
        factor = float(other) if rule.name == "multiply" else 1.0
        if rule.name == "divide":
            if slot == "right" or other == 0 or arguments["rounding"] is not None:
                return None
            factor = 1.0 / float(other)
        elif rule.name in ("add", "subtract") and slot == "right":
            factor = float(arguments["alpha"]) * (1.0 if rule.name == "add" else -1.0)
        return ParameterView(
            view.name, view.parameter_shape, view.shape, view.rows, view.transposed, view.scale * factor
        )

    def _derive(self, func: Any, args: tuple[Any, ...], result: Any, read: list[ParameterView]) -> None:
        """Follow views of parameters and what the tape holds; anything else derived from a parameter has no rule."""
        label = _label(func)
        if label in ("detach", "data"):
            return
        for out in tensors_in(result):
            if id(out) in self._views or not out.is_floating_point():
                continue
            source = read[0]
            view = None
            if len(read) == 1 and source.scale == 1.0:
                view = _view_of(self._parameters[source.name], source, out)
            reshaped = view is not None and view.rows is None and view.shape != view.parameter_shape
            if (view is None or reshaped) and self._tape.holds(out):
                name = self._tape.name(out, label)
                self._parameters[name], view = out, ParameterView(name, out.shape, out.shape)
            if view is None:
                for item in read:
                    self._give_up(item, f"read by {label}")
            else:
                self._track(out, view)

    def _give_up(self, view: ParameterView, reason: str) -> None:
        self.touched.add(view.name)
        self.unknown |= dict.fromkeys(self._tape.owners(view.name), reason)

    def _track(self, tensor: Tensor, view: ParameterView) -> None:
        self._views[id(tensor)] = view
        self._alive.append(tensor)


def _view_of(parameter: Tensor, source: ParameterView, out: Tensor) -> ParameterView | None:
    """Describe ``out`` as whole rows of ``parameter``, possibly reshaped or transposed, or None."""
    if out.layout != torch.strided or parameter.layout != torch.strided:
        return None  # sparse values made of a parameter have no storage to compare
    if out.untyped_storage().data_ptr() != parameter.untyped_storage().data_ptr():
        return None
    if not parameter.is_contiguous() or parameter.ndim == 0 or 0 in out.stride() and out.numel() > 1:
        return None
    plain = out.is_contiguous()
    if not plain and not (out.ndim == 2 and out.t().is_contiguous()):
        return None
    row = parameter[0].numel()
    offset = out.storage_offset() - parameter.storage_offset()
    if offset % row or out.numel() % row:
        return None
    start, count = offset // row, out.numel() // row
    rows = None if count == parameter.shape[0] else (start, start + count)
    return ParameterView(source.name, parameter.shape, out.shape, rows, not plain)


def _label(func: Any) -> str:
    if getattr(func, "__name__", "") == "__get__":
        return str(func.__self__.__name__)
    return str(getattr(func, "__name__", func))
