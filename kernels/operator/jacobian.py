r"""Products with the Jacobian of a data set, :math:`J^T u` and :math:`J w`, batch by batch.

No per-sample gradient is formed. :math:`J^T u` is one backward pass per batch. :math:`J w` is one forward pass with
tangents (forward-mode differentiation) or, where an operation has none, the derivative of :math:`J^T u` by u, which is
:math:`J w` because :math:`J^T u` is linear in u. Where both fail, samples are differentiated one by one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.agreement import gradients_alone
from kernels.capture.quiet import plain_attention, quiet
from kernels.gradients.as_trained import pulled_as_trained
from kernels.gradients.fallback import sample
from kernels.gradients.hooks import changes_gradients
from kernels.gradients.vmap_hazards import Called
from kernels.inputs.loan import after_forward, loan_of
from kernels.inputs.outputs import Inputs, Output, batch_size, call_logits
from kernels.inputs.samples import NotFiniteError, Samples, first_not_finite, require_finite_gradients
from kernels.machine.process_state import replaced_here

ROUTES = ("forward", "double", "loop")
_FEW = 3
"""Up to so many vectors, forward mode is cheaper than the derivative of a backward pass, which is shared by all."""

Cotangents = Callable[[slice, Tensor], Tensor]
"""From rows and their detached logits (B, K) to cotangents (m, B, K)."""


@dataclass
class _Graph:
    """A batch whose passes are kept: rows, logits, the dummy cotangent, and the gradients that depend on it."""

    rows: slice
    logits: Tensor
    dummy: Tensor
    edges: list[Any]


class Jacobian:
    """Jacobian of a model's logits on one data set, by the parameters that take part; never formed.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode and in the type of the passes.
    parameters : mapping
        What to differentiate by, under qualified names.
    samples : Samples
        The data.
    output : callable or None
        Turns what the model returns into logits.
    dtype : torch.dtype
        Of the passes.
    size : int
        Samples per batch; changes no result beyond rounding.

    Raises
    ------
    ValueError
        If a hook changes the gradients of a parameter.

    Attributes
    ----------
    route : str
        How ``J w`` is computed for few vectors: ``"forward"``, ``"double"`` (backward) or ``"loop"`` over samples.
    shared : bool
        Whether the route ``"double"`` is right too, which several vectors share.
    passes : dict of str to int
        Samples sent forward, and pulled back or pushed forward once per vector, so far.
    """

    def __init__(
        self,
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        samples: Samples,
        output: Output,
        dtype: torch.dtype,
        size: int,
    ) -> None:
        self.model, self.parameters, self.samples, self.output = model, dict(parameters), samples, output
        hooked = next((name for name, p in self.parameters.items() if p._backward_hooks and changes_gradients(p)), None)
        if hooked is not None:  # it would change J^T u and not J w
            raise ValueError(
                f"a hook on {hooked} changes its gradients, which products with a Jacobian cannot follow: remove the "
                "hook, or use kernel_matrix, which applies it to the gradient of every sample"
            )
        self.dtype, self.size = dtype, size
        self.device = next(iter(self.parameters.values())).device
        self.sizes = [p.numel() for p in self.parameters.values()]
        self.route, self.shared = "loop", False
        self.keep = False
        self.passes = {"forward": 0, "pulled": 0, "pushed": 0}
        self._kept: list[_Graph] | None = None

    @property
    def width(self) -> int:
        """Number of parameters that take part."""
        return sum(self.sizes)

    def pull(self, cotangents: Cotangents, count: int) -> Float[Tensor, "m p"]:
        """Sum of ``count`` cotangents pulled back through every batch: one row of J^T u per cotangent."""
        total = torch.zeros(count, self.width, dtype=self.dtype, device=self.device)
        with self.prepared():
            for rows, logits in self._batches():
                self._add_pulled(total, logits, cotangents(rows, logits.detach()), keep=self.keep)
        if first_not_finite(total.flatten()) is not None:
            self.refuse_infinite(self.cuts())
        return total

    def push(self, vectors: Float[Tensor, "m p"], take: Callable[[slice, Tensor, Tensor], None]) -> None:
        """Hand ``take`` the rows, logits (B, K) and tangents (m, B, K) = J w of every batch."""
        with self.prepared():
            for rows, logits, tangents in self._pushed(vectors):
                self.passes["pushed"] += len(logits) * len(vectors)
                bad = first_not_finite(tangents.transpose(0, 1))
                if bad is not None:
                    raise ValueError(
                        f"a derivative of the logits of {self.samples.name} sample {rows.start + bad} is NaN or "
                        "infinite: look for a root, logarithm or division at zero in the model"
                    )
                take(rows, logits, tangents)

    def batch(self, rows: slice) -> Inputs:
        """Return inputs of some samples, which lie within one batch."""
        return next(self.samples.batches(rows.start, rows.stop, rows.stop - rows.start, self.device, self.dtype))[1]

    def cuts(self) -> list[slice]:
        """Rows of each batch."""
        empty = torch.device("meta")
        return [rows for rows, _ in self.samples.batches(0, self.samples.count, self.size, empty, self.dtype)]

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Composite fast paths, hooks and flags of parameters as products need them; all restored at the end."""
        own = list(self.parameters.values())
        hooks = [p._backward_hooks for p in own]
        # nn.MultiheadAttention calls the fused kernel where no mode sees it
        with quiet(self.model), replaced_here(F, "scaled_dot_product_attention", plain_attention):
            try:
                for p in own:
                    p._backward_hooks = None  # what is left only looks at gradients
                    p.requires_grad_(True)
                yield
            finally:
                for p, hook in zip(own, hooks, strict=True):
                    p.requires_grad_(False)
                    p._backward_hooks = hook

    def logits(self, inputs: Inputs) -> Float[Tensor, "b k"]:
        """Logits of a batch with their graph."""
        self.passes["forward"] += batch_size(inputs)
        with torch.enable_grad():
            return call_logits(self.model, inputs, self.output)

    def pulled(self, logits: Tensor, cotangents: Float[Tensor, "m b k"]) -> Float[Tensor, "m p"]:
        """Pull cotangents back through one batch, whose graph is freed."""
        found = torch.zeros(len(cotangents), self.width, dtype=self.dtype, device=self.device)
        self._add_pulled(found, logits, cotangents, keep=False)
        return found

    def as_trained(self, single: Inputs) -> tuple[Float[Tensor, "1 k"], Float[Tensor, " p"]]:
        """Logits of a sample alone, and its gradient under one cotangent as a training step gives it."""
        logits, gradients, _ = gradients_alone(self.model, single, self.parameters, self.output)
        loan = loan_of(self.model)
        if loan is not None and loan.nested:
            self.refuse_nested()
        self.passes = self.passes | {name: self.passes[name] + 1 for name in ("forward", "pulled")}
        parts = zip(gradients.values(), self.parameters.values(), strict=True)
        return logits, torch.cat([(torch.zeros_like(p) if g is None else g.to_dense()).reshape(-1) for g, p in parts])

    def tangents(self, inputs: Inputs, vectors: Float[Tensor, "m p"], route: str) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and tangents (m, B, K) of one batch by a named route."""
        return {"forward": self._forward, "double": self._double, "loop": self._loop}[route](inputs, vectors)

    def _batches(self) -> Iterator[tuple[slice, Tensor]]:
        """Logits of every batch, with graphs that are kept if there is room for them."""
        if self.keep:
            if self._kept is None:
                self._kept = [self._graph(rows, inputs) for rows, inputs in self._inputs()]
            yield from ((one.rows, one.logits) for one in self._kept)
            return
        for rows, inputs in self._inputs():
            logits = self.logits(inputs)
            self._require_finite(logits, rows)
            yield rows, logits

    def _inputs(self) -> Iterator[tuple[slice, Inputs]]:
        return self.samples.batches(0, self.samples.count, self.size, self.device, self.dtype)

    def _graph(self, rows: slice, inputs: Inputs) -> _Graph:
        logits = self.logits(inputs)
        self._require_finite(logits, rows)
        dummy, gradients = self._linearized(logits)
        edges = [None if g is None else torch.autograd.graph.get_gradient_edge(g) for g in gradients]
        return _Graph(rows, logits, dummy, edges)

    def _require_finite(self, logits: Tensor, rows: slice) -> None:
        bad = first_not_finite(logits.detach())
        if bad is not None:
            raise NotFiniteError(f"logits of {self.samples.name} sample {rows.start + bad} are NaN or infinite")

    def _add_pulled(self, total: Tensor, logits: Tensor, cotangents: Tensor, *, keep: bool) -> None:
        own = list(self.parameters.values())
        self.passes["pulled"] += len(logits) * len(cotangents)
        if not logits.requires_grad:
            return
        for index, cotangent in enumerate(cotangents):
            last = index + 1 == len(cotangents) and not keep
            found, nested = pulled_as_trained(logits, own, cotangent, keep=not last)
            if nested:
                self.refuse_nested()
            for target, gradient in zip(total[index].split(self.sizes), found, strict=True):
                if gradient is not None:
                    target += (gradient.to_dense() if gradient.is_sparse else gradient).reshape(-1)

    def _pushed(self, vectors: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        if self.keep and self._kept is not None:
            for one in self._kept:
                yield one.rows, one.logits.detach(), self._slopes(one.logits, one.dummy, one.edges, vectors, keep=True)
            return
        several = self.shared and (self.route == "double" or len(vectors) > _FEW)
        route = "double" if several else self.route
        for rows, inputs in self._inputs():
            logits, tangents = self.tangents(inputs, vectors, route)
            yield rows, logits, tangents

    def _forward(self, inputs: Inputs, vectors: Tensor) -> tuple[Tensor, Tensor]:
        found: list[Tensor] = []
        value = torch.empty(0)
        for vector in vectors:
            self.passes["forward"] += batch_size(inputs)
            with torch.no_grad(), _single_steps(self.model), forward_ad.dual_level():
                duals = self._duals(vector)
                try:
                    found_logits = call_logits(Called(self.model, duals), inputs, self.output)
                finally:
                    after_forward(self.model)
                value, tangent = forward_ad.unpack_dual(found_logits)
                found.append(torch.zeros_like(value) if tangent is None else tangent)
        return value.detach(), torch.stack(found)

    def _duals(self, vector: Tensor) -> dict[str, Tensor]:
        """Parameters with their parts of a vector as tangents."""
        with warnings.catch_warnings():  # torch compiles some tangents at the first use, in a way that it deprecates
            warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
            return {
                name: forward_ad.make_dual(p.detach(), part.view_as(p))
                for (name, p), part in zip(self.parameters.items(), vector.split(self.sizes), strict=True)
            }

    def _double(self, inputs: Inputs, vectors: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(inputs)
        dummy, gradients = self._linearized(logits)
        return logits.detach(), self._slopes(logits, dummy, gradients, vectors, keep=False)

    def _linearized(self, logits: Tensor) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Give a dummy cotangent u, and the gradients J^T u by parameter as functions of it."""
        dummy = torch.zeros_like(logits, requires_grad=True)
        if not logits.requires_grad:
            return dummy, [None] * len(self.sizes)
        with torch.enable_grad():
            own = list(self.parameters.values())
            return dummy, torch.autograd.grad(logits, own, dummy, create_graph=True, allow_unused=True)

    def _slopes(
        self, logits: Tensor, dummy: Tensor, gradients: Sequence[Any], vectors: Tensor, *, keep: bool
    ) -> Float[Tensor, "m b k"]:
        found = []
        for index, vector in enumerate(vectors):
            parts = zip(gradients, vector.split(self.sizes), self.parameters.values(), strict=True)
            pairs = [
                (g, part.view_as(p)) for g, part, p in parts if g is not None and getattr(g, "requires_grad", True)
            ]
            if not pairs:
                found.append(torch.zeros_like(logits))
                continue
            last = index + 1 == len(vectors) and not keep
            ends, directions = zip(*pairs, strict=True)
            slope = torch.autograd.grad(ends, dummy, directions, retain_graph=not last, allow_unused=True)[0]
            found.append(torch.zeros_like(logits) if slope is None else slope)
        return torch.stack(found).detach()

    def _loop(self, inputs: Inputs, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """One forward pass per sample and one backward pass per logit."""
        values, tangents = [], []
        for index in range(batch_size(inputs)):
            logits = self.logits(sample(inputs, slice(index, index + 1)))
            slopes = vectors.new_zeros(len(vectors), logits.shape[1])
            for c, row in enumerate(torch.eye(logits.shape[1], dtype=logits.dtype, device=logits.device)):
                gradient = torch.zeros(1, self.width, dtype=self.dtype, device=self.device)
                self._add_pulled(gradient, logits, row[None, None], keep=True)
                slopes[:, c] = vectors @ gradient[0]
            values.append(logits.detach())
            tangents.append(slopes)
        return torch.cat(values), torch.stack(tangents, 1)

    def refuse_nested(self) -> NoReturn:
        """Say that derivatives of the backward pass are not those of the model."""
        raise ValueError(
            "a backward pass runs inside the backward pass of the model, as in layers that compute their activations "
            "again, which products with a Jacobian cannot follow: use kernel_matrix, or let the layers keep them"
        )

    def refuse_infinite(self, cuts: Sequence[slice]) -> NoReturn:
        """Name the sample and parameter whose gradient is NaN or infinite, among batches where one is."""
        for rows in cuts:
            inputs = self.batch(rows)
            with self.prepared():
                for index in range(rows.stop - rows.start):
                    logits = self.logits(sample(inputs, slice(index, index + 1)))
                    found = self.pulled(logits, torch.ones_like(logits)[None])[0]
                    for name, part in zip(self.parameters, found.split(self.sizes), strict=True):
                        require_finite_gradients(part[None], name, self.samples.name, rows.start + index)
        raise NotFiniteError(
            "sums of gradients are infinite: scale the vector or the model's outputs down, or pass precision='float64'"
        )


@contextmanager
def _single_steps(model: nn.Module) -> Iterator[None]:
    """Run recurrent layers step by step, because their fused kernels have no tangents."""
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        yield
        return
    cudnn: Any = torch.backends.cudnn
    before = cudnn.enabled, torch._C._get_mkldnn_enabled()
    try:
        cudnn.enabled = False
        torch._C._set_mkldnn_enabled(False)
        yield
    finally:
        cudnn.enabled = before[0]
        torch._C._set_mkldnn_enabled(before[1])
