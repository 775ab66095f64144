"""Lend a model for passes in another arithmetic, and give it back exactly as it was, however the passes end.

A copy of a model is another model: a lock, an activation that is kept, or a pruned layer forbids it, and a closure (an
adapter in a hook, a patched ``forward``) keeps pointing at the original. So the passes run the user's own modules, with
other tensors in them for the duration.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from kernels.inputs.model_checks import check_model
from kernels.inputs.model_state import OF_TORCH, ModelState
from kernels.inputs.parameter_writes import Memory, ParameterWrites, put_back
from kernels.inputs.remembered import Remembered, weights_not_cached
from kernels.machine.freed_memory import keep_freed_memory

_COMPLEX = {torch.float64: torch.complex128}
_OTHER_TYPE = ("same dtype", "scalar type", "should be the same", "same data type", "dtype")


class Loan:
    """One model, lent for passes as often as needed.

    Parameters
    ----------
    model : nn.Module
        The user's.
    passes : torch.dtype, optional
        Type of the passes; tensors of the model that have another floating type are replaced by converted ones.
    eval_mode : bool
        Put every module into evaluation mode meanwhile.
    checked : bool
        Refuse models without per-sample gradients; without the check, ``device`` stays unknown.
    refuse : callable
        Called with the model as the user has it, to raise an exception.

    Attributes
    ----------
    device : torch.device
        Where the model is; known once it has been lent.
    trained : list of Parameter
        Those that require gradients for the user.
    nested : bool or None
        Whether the model's backward pass runs others inside, see :mod:`kernels.gradients.as_trained`; None while that
        is not known.
    twice : bool
        Whether a single sample is taken twice to be differentiated, see :mod:`kernels.gradients.twice`.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs import Loan
    >>> model = torch.nn.Linear(2, 3)
    >>> loan = Loan(model, torch.float64)
    >>> with loan.lent() as wide:
    ...     wide.weight.dtype, wide is model
    (torch.float64, True)
    >>> model.weight.dtype
    torch.float32
    """

    device: torch.device

    def __init__(
        self,
        model: nn.Module,
        passes: torch.dtype | None = None,
        *,
        eval_mode: bool = False,
        checked: bool = True,
        refuse: Callable[[nn.Module], None] = lambda model: None,
    ) -> None:
        self.model, self._passes, self._eval_mode = model, passes, eval_mode
        self._checked, self._refuse = checked, refuse
        self.trained: list[nn.Parameter] = []
        self.nested: bool | None = None
        self.twice = False
        self._converts: bool | None = None
        self._writes: ParameterWrites | None = None
        self._tensors: dict[int, tuple[Tensor, Tensor, int]] = {}  # by the user's tensor: it, ours, our version
        self._remembered = Remembered()

    @contextmanager
    def lent(self) -> Iterator[nn.Module]:
        """Give the model, of which nothing that happens in the block remains.

        Modes, ``requires_grad``, ``.grad``, hooks, plain attributes and lists are put back, and so are parameters into
        which the first forward pass writes; buffers and other tensors that ``forward`` may write to are copies. After a
        failure torch's generators are put back too. Other threads wait for the same model.
        """
        if not isinstance(self.model, nn.Module):
            check_model(self.model)  # says so
        if torch._C._functorch.peek_interpreter_stack() is not None:
            raise TypeError(
                "kernels are not computed inside torch.func (vmap, grad, jvp, ...): call this outside of it"
            )
        keep_freed_memory()
        with _alone_with(self.model), weights_not_cached(), _draws_taken_back(self.model):
            before = ModelState(self.model)
            written: Memory = {}
            if self._writes is not None:
                written |= {at: (own, own.clone()) for at, (own, _) in self._writes.found.items()}
            outer = _LENT.get(id(self.model))
            try:
                if self._eval_mode:
                    self.model.eval()
                if self._converts is None:
                    if self._checked:
                        self.device = check_model(self.model)
                    self._refuse(self.model)
                    self._converts = _has_other_type(self.model, self._passes)
                self._move_in(before)
                self._state = ModelState(self.model)
                self.trained = [p for p in self.model.parameters() if p.requires_grad]
                self._versions = [(p, _version(p)) for p in _fixed(self.model)]
                _LENT[id(self.model)] = self
                with torch.inference_mode(False):
                    yield self.model
            except RuntimeError as error:
                if self._converts and any(words in str(error) for words in _OTHER_TYPE):
                    raise TypeError(
                        f"the model cannot be run in {self._passes} ({str(error).splitlines()[0]}): it keeps tensors "
                        "of another type in a closure or in a module that is not registered, or asks for a type by "
                        "name; convert it yourself and pass the result, or choose another precision"
                    ) from error
                raise
            finally:
                _LENT.pop(id(self.model), None)
                if outer is not None:
                    _LENT[id(self.model)] = outer
                before.restore()
                put_back(written or (self._writes.found if self._writes is not None else {}))

    @contextmanager
    def forward(self) -> Iterator[None]:
        """Run a forward pass inside the block, the first one with an eye on what it writes into parameters."""
        try:
            if self._writes is None:
                self._writes = ParameterWrites(self.model.parameters())
                with self._writes:
                    yield
            else:
                yield
        finally:
            self.after_forward()

    def after_forward(self) -> None:
        """Undo what a forward pass wrote, so that the next one starts from the same state."""
        with torch._C.DisableTorchFunction():  # a mode would be told of every question about a parameter
            self._undo()

    def _undo(self) -> None:
        if any(_version(p) != version for p, version in self._versions):
            self._versions = [(p, _version(p)) for p, _ in self._versions]
            self._state.adopt_flags()  # RWKV scales layers once and keeps a flag: until the end both remain
        self._state.restore_own()
        fresh: dict[int, Tensor] = {}
        for key, (theirs, ours, version) in self._tensors.items():
            if _version(ours) != version and not isinstance(ours, nn.Parameter):
                made = self._made(theirs)
                self._tensors[key] = (theirs, made, _version(made))
                fresh[id(ours)] = made
        if fresh:
            for at, (owner, key, ours) in enumerate(self._slots):
                if id(ours) in fresh:
                    owner[key] = fresh[id(ours)]
                    self._slots[at] = (owner, key, owner[key])
            self._state = ModelState(self.model)

    def _move_in(self, before: ModelState) -> None:
        """Put our tensors in place of the user's, wherever a module holds them."""
        self._slots: list[tuple[Any, Any, Tensor]] = []
        experts = self._passes == torch.float64
        configs: set[int] = set()
        for module, attributes in before.modules:
            if isinstance(module, torch.jit.ScriptModule):  # keeps its tensors where no others can be put
                for held in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                    converted = self._made(held)
                    if converted.dtype != held.dtype:
                        before.keep_values(held)
                        held.data = converted.data
                continue
            for name in ("_parameters", "_buffers"):
                self._replace(attributes[name], list(attributes[name].items()))
            if getattr(module, "max_norm", None) is not None and isinstance(attributes.get("_parameters"), dict):
                self._keep_from_writes(attributes["_parameters"])
            own = [(key, value) for key, value in attributes.items() if key not in OF_TORCH]
            self._replace(module.__dict__, own)
            config = attributes.get("config")
            if experts and id(config) not in configs:
                configs.add(id(config))
                before.keep_attribute(config, "_experts_implementation_internal")
                _without_grouped_products(config)

    def _replace(self, owner: Any, items: list[tuple[Any, Any]], depth: int = 2) -> None:
        for key, value in items:
            if isinstance(value, Tensor):
                ours = self._own(value)
                if ours is not value:
                    owner[key] = ours
                    self._slots.append((owner, key, ours))
            elif depth and type(value) in (list, dict, OrderedDict, tuple) and _holds_tensors(value, depth):
                inside = dict(value) if isinstance(value, dict) else list(value)
                pairs = list(inside.items()) if isinstance(inside, dict) else list(enumerate(inside))
                self._replace(inside, pairs, depth - 1)
                owner[key] = type(value)(inside)

    def _keep_from_writes(self, parameters: dict[str, Any]) -> None:
        """Copy the table of an embedding with ``max_norm``, which scales the rows that it reads in place."""
        ours = {id(one) for _, one, _ in self._tensors.values()}
        for key, p in list(parameters.items()):
            known = self._tensors.get(id(p))
            if p is None or known is not None and known[1] is not p or known is None and id(p) in ours:
                continue
            parameters[key] = copy = nn.Parameter(p.detach().clone(), p.requires_grad)
            self._tensors[id(p)] = (p, copy, _version(copy))

    def _own(self, tensor: Tensor) -> Tensor:
        """Return what stands for a tensor of the user's: the same one where nothing can happen to it."""
        found = self._tensors.get(id(tensor))
        if found is None:
            ours = self._made(tensor)
            found = self._tensors[id(tensor)] = (tensor, ours, _version(ours))
        return found[1]

    def _made(self, tensor: Tensor) -> Tensor:
        kind = tensor.dtype
        if self._converts and self._passes is not None:
            if tensor.is_complex():
                kind = _COMPLEX.get(self._passes, torch.complex64)
            elif tensor.is_floating_point():
                kind = self._passes
        is_parameter = isinstance(tensor, nn.Parameter)
        if is_parameter and kind == tensor.dtype and not tensor.is_inference():
            return tensor
        try:
            with torch.inference_mode(False), torch.no_grad():
                ours = tensor.detach().to(kind) if kind != tensor.dtype else tensor.detach().clone()
        except (RuntimeError, NotImplementedError):  # such as a tensor without memory of its own
            return tensor
        if is_parameter:
            copied = nn.Parameter(ours, tensor.requires_grad)
            for hook in (tensor._backward_hooks or {}).values():
                copied.register_hook(hook)
            return copied
        if tensor.requires_grad and not tensor.is_leaf:
            return self._remembered.marked(tensor, ours)
        return ours.requires_grad_() if tensor.requires_grad else ours

    def require_own_graph(self, result: Any) -> None:
        """Refuse an output whose gradient ends in a tensor that a module remembers from an earlier forward pass."""
        self._remembered.require_unread(self.model, result)


@contextmanager
def _draws_taken_back(model: nn.Module) -> Iterator[None]:
    """Put torch's generators back after a failure: a model which draws random numbers is refused after some draws."""
    cards = {p.device for p in model.parameters() if p.is_cuda}
    drawn, on_cards = torch.get_rng_state(), {card: torch.cuda.get_rng_state(card) for card in cards}
    try:
        yield
    except BaseException:
        torch.set_rng_state(drawn)
        for card, state in on_cards.items():
            torch.cuda.set_rng_state(state, card)
        raise


def forward_pass(model: nn.Module) -> AbstractContextManager[None]:
    """Run a forward pass of a model, of which nothing remains if it is lent."""
    loan = _LENT.get(id(model))
    return nullcontext() if loan is None else loan.forward()


def loan_of(model: nn.Module) -> Loan | None:
    """Return the loan of a model that is lent."""
    return _LENT.get(id(model))


def after_forward(model: nn.Module) -> None:
    """Undo what a forward pass of a lent model wrote into it."""
    loan = loan_of(model)
    if loan is not None:
        loan.after_forward()


_LENT: dict[int, Loan] = {}
_GUARD = threading.Lock()
_LOCKS: dict[int, tuple[Any, list[int]]] = {}


@contextmanager
def _alone_with(model: nn.Module) -> Iterator[None]:
    """Let one thread at a time use a model."""
    with _GUARD:
        lock, users = _LOCKS.setdefault(id(model), (threading.RLock(), [0]))
        users[0] += 1
    try:
        with lock:
            yield
    finally:
        with _GUARD:
            users[0] -= 1
            if not users[0]:
                del _LOCKS[id(model)]


def _fixed(model: nn.Module) -> list[nn.Parameter]:
    """Parameters but for tables that are scaled when they are read, which a loan copies."""
    tables = [module for module in model.modules() if getattr(module, "max_norm", None) is not None]
    scaled = {id(p) for module in tables for p in module.parameters(recurse=False)}
    return [p for p in model.parameters() if id(p) not in scaled]


def _has_other_type(model: nn.Module, passes: torch.dtype | None) -> bool:
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    return passes is not None and kinds != {passes}


def _holds_tensors(value: Any, depth: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value
    return any(
        isinstance(x, Tensor)
        or (depth > 1 and type(x) in (list, dict, OrderedDict, tuple) and _holds_tensors(x, depth - 1))
        for x in parts
    )


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _without_grouped_products(config: Any) -> None:
    """Multiply expert by expert, as ``experts_implementation="eager"`` does: grouped products know no float64."""
    if getattr(config, "__dict__", {}).get("_experts_implementation_internal") == "grouped_mm":
        config.__dict__["_experts_implementation_internal"] = "eager"
