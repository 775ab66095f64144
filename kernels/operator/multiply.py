"""Multiply with a kernel: pull vectors back through the columns, push them forward through the rows, and check."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kernels.contraction.plan import Plan
from kernels.inputs.fingerprints import chosen
from kernels.inputs.samples import PROBE, Samples
from kernels.inputs.selection import parameter_names, selector
from kernels.machine.memory import parse_memory
from kernels.operator.certificate import Certificate, certify
from kernels.operator.cost import OperatorPlan
from kernels.operator.jacobian import Jacobian
from kernels.operator.options import OperatorOptions
from kernels.operator.sides import Side

_ENOUGH, _LEAST, _MOST = 2**27, 32, 1024
"""Bytes of a pass at which larger batches gain nothing; bounds of the samples in one."""
_KEPT = 4
"""Bytes of kept passes, in units of what the forward pass saves: its graph, and that of the gradients."""


class Multiplier:
    """Both sides of a kernel, ready to multiply.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode and in the type of the passes.
    train, test
        Data of the columns, and of the rows unless None.
    options : OperatorOptions
        Checked and complete.
    dtype : torch.dtype
        Of the passes.
    """

    def __init__(self, model: nn.Module, train: Any, test: Any, options: OperatorOptions, dtype: torch.dtype) -> None:
        self.model, self.options, self.dtype = model, options, dtype
        columns = Samples(train, options["labels"], "train")
        rows = None if test is None else Samples(test, options["test_labels"], "test")
        self.device = next(model.parameters()).device
        everything = dict(model.named_parameters())
        names = parameter_names(model)
        wanted = selector(options["layers"], names)
        selector(options["fallback"] or (), names)  # of exact norms, which are computed later: a slip shows now
        parameters = {n: p for n, p in everything.items() if p.requires_grad and wanted(n)}
        if not parameters:
            raise ValueError(
                "no parameter to differentiate: every one is frozen or left out; unfreeze some or widen layers="
            )
        self.budget = parse_memory(options["memory"], self.device)
        self.classes, saved = _try(model, parameters, columns, rows, options, self.device, dtype)
        size = options["batch_size"] or int(max(1, min(_MOST, self.budget / 8 / saved, max(_LEAST, _ENOUGH / saved))))
        sides = []
        for samples in (columns, rows):
            if samples is not None:
                own = Jacobian(model, parameters, samples, options["output"], dtype, size)
                predicted = samples is rows and options["test_labels"] is None
                sides.append(Side(own, options["kind"], self.classes, predicted=predicted))
        self.columns, self.rows, self.square = sides[0], sides[-1], rows is None
        self.certificate = Certificate()
        self.saved, self.vectors = int(saved), 0
        self._certified = False

    def __call__(self, vectors: Float[Tensor, "n k"], *, transposed: bool) -> Float[Tensor, "m k"]:
        """K @ vectors in float64, or K.T @ vectors."""
        self.settle()
        source, target = (self.rows, self.columns) if transposed else (self.columns, self.rows)
        given = vectors.to(self.device, self.dtype)
        if not bool(given.isfinite().all()):
            raise ValueError("the vector overflows float32: scale it down, or pass precision='float64'")
        out = torch.zeros(target.size, vectors.shape[1], dtype=torch.float64, device=self.device)
        room = int(max(1, self.budget / 4 / (source.jacobian.width * given.element_size())))
        each = max(1, room // source.repeats)
        step = min(source.repeats, room)
        self.vectors += vectors.shape[1]
        for start in range(0, vectors.shape[1], each):
            here = slice(start, min(start + each, vectors.shape[1]))
            squares = torch.zeros(here.stop - here.start, dtype=torch.float64, device=self.device)
            for first in range(0, source.repeats, step):
                classes = slice(first, first + step)
                pulled = source.pull(given[:, here], classes)
                target.push(pulled, classes, out[:, here])
                if self.square:
                    lengths = torch.linalg.vector_norm(pulled, dim=1, dtype=torch.float64)
                    squares += lengths.square().unflatten(0, (-1, len(squares))).sum(0)
                del pulled
            if self.square:
                self._check(given[:, here].double(), out[:, here], squares)
        return out.cpu()

    def settle(self) -> None:
        """Compare with plain autograd on a few samples, once, and choose how to push."""
        if self._certified:
            return
        generator = np.random.default_rng([0, *b"certificate"])
        sides = [self.columns] if self.square else [self.columns, self.rows]
        for side in sides:
            certify(side.jacobian, self.certificate, generator)
        held = _KEPT * self.saved * sum(side.jacobian.samples.count for side in sides)
        if all(side.jacobian.shared for side in sides) and held <= self.budget / 2:
            for side in sides:
                side.jacobian.keep = True
        self._certified = True
        if not self.square:
            self._check_both(generator)

    def squared_norms(self) -> tuple[Tensor, Tensor]:
        """Exact diagonals of rows x rows and columns x columns, in float64 on the CPU."""
        fallback, certify = tuple(self.options["fallback"] or ()), self.options["certify"]
        columns = self.columns.squared_norms(fallback, certify, self.budget).cpu()
        return (columns if self.square else self.rows.squared_norms(fallback, certify, self.budget).cpu()), columns

    def description(self) -> dict[str, Any]:
        """Facts for the metadata."""
        own = self.columns.jacobian
        passes = {name: count for name, count in own.passes.items()}
        if not self.square:
            passes = {name: count + self.rows.jacobian.passes[name] for name, count in passes.items()}
        return {
            "kind": self.options["kind"],
            "layers": chosen(self.options["layers"], self.model),
            "parameters": own.width,
            "route": own.route,
            "kept": own.keep,
            "batch_size": own.size,
            "products": self.vectors,
            "passes": passes,
        }

    def plan(self, gram: Plan | None, refusal: str) -> OperatorPlan:
        """Measure one batch of either side, and set it beside the plan of the matrix."""
        self.settle()
        sides = [self.columns] if self.square else [self.columns, self.rows]
        seconds = self._seconds(self.columns, push=self.square)
        if not self.square:
            seconds += self._seconds(self.rows, push=True, pull=False)
        own = self.columns.jacobian
        held = sum(side.jacobian.samples.count for side in sides) if own.keep else own.size
        vectors = 2 * own.width * self.columns.repeats * torch.finfo(self.dtype).bits // 8
        return OperatorPlan(
            kind=self.options["kind"],
            precision=self.options["precision"],
            device=str(self.device),
            rows=self.rows.jacobian.samples.count,
            columns=self.columns.jacobian.samples.count,
            parameters=own.width,
            repeats=self.columns.repeats,
            batch=own.size,
            route=own.route,
            kept=own.keep,
            product_seconds=seconds,
            bytes=_KEPT * self.saved * held + vectors,
            gram=gram,
            refusal=refusal,
        )

    def _seconds(self, side: Side, *, push: bool, pull: bool = True) -> float:
        """Seconds of one product's part, from the largest batch."""
        own = side.jacobian
        rows = max(own.cuts(), key=lambda cut: cut.stop - cut.start)
        inputs = own.batch(rows)
        repeats = side.repeats
        vectors = torch.ones(repeats, own.width, dtype=self.dtype, device=self.device)
        best = forward = float("inf")
        for _ in range(2):
            with own.prepared():
                start = time.perf_counter()
                logits = own.logits(inputs)
                self._wait()
                ran = time.perf_counter()
                if pull:
                    own.pulled(logits, logits.detach().expand(repeats, *logits.shape))
                self._wait()
                pulled = time.perf_counter()
                if push:
                    own.tangents(inputs, vectors, "double" if own.shared and repeats > 3 else own.route)
                self._wait()
                pushed = time.perf_counter()
                # Of kept activations neither part runs forward; a moment's pause of the machine must not count as less.
                forward = min(forward, ran - start)
                taken = pulled - ran + max(pushed - pulled - forward, 0.0) if own.keep else pushed - start
            best = min(best, taken)
        return best * own.samples.count / (rows.stop - rows.start)

    def _check(self, given: Tensor, found: Tensor, squares: Tensor) -> None:
        """U' K u is the squared length of what u was pulled back to: free, for every product."""
        values, scales = (given * found).sum(0), given.norm(dim=0) * found.norm(dim=0)
        for value, square, scale in zip(values.tolist(), squares.tolist(), scales.tolist(), strict=True):
            self.certificate.record(value, square, scale, self.dtype)

    def _check_both(self, generator: np.random.Generator) -> None:
        """Check the same for two sides, once: u' K v is the inner product of what both were pulled back to."""
        u, v = (
            torch.from_numpy(generator.standard_normal((side.size, 1))).to(self.device, self.dtype)
            for side in (self.rows, self.columns)
        )
        classes = slice(0, 1)  # of trntk's
        pulled, other = self.columns.pull(v, classes), self.rows.pull(u, classes)
        out = torch.zeros(self.rows.size, 1, dtype=torch.float64, device=self.device)
        self.rows.push(pulled, classes, out)
        value, scale = float((u.double() * out).sum()), float(u.double().norm() * out.norm())
        inner = float((pulled.double() * other.double()).sum())
        self.certificate.record(value, inner, max(scale, float(pulled.norm() * other.norm())), self.dtype)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class _Made(TorchDispatchMode):
    """Shows every tensor that an operation makes: no fewer than autograd saves."""

    def __init__(self, show: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self._show = show

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and show its results."""
        found = func(*args, **(kwargs or {}))
        for one in tree_leaves(found):
            if isinstance(one, Tensor) and one.layout == torch.strided:
                self._show(one)
        return found


def _try(
    model: nn.Module,
    parameters: dict[str, nn.Parameter],
    columns: Samples,
    rows: Samples | None,
    options: OperatorOptions,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[int, float]:
    """Count logits, and bytes that autograd saves of one sample; refuse outputs and labels that do not fit."""
    classes, saved = 0, 1.0
    for samples in (columns, rows):
        if samples is None:
            continue
        inputs = samples.first(PROBE, device, dtype)
        own = Jacobian(model, parameters, samples, options["output"], dtype, PROBE)
        kept: dict[int, int] = {}

        def keep(tensor: Tensor, kept: dict[int, int] = kept) -> Tensor:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with own.prepared():
            try:
                with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                    logits = own.logits(inputs)
            except RuntimeError as error:
                if "saved tensor hooks" not in str(error):  # which do not reach into torch.func inside the model
                    raise
                with _Made(keep):
                    logits = own.logits(inputs)
        if classes and logits.shape[1] != classes:
            raise ValueError(f"the model has {classes} outputs for train and {logits.shape[1]} for test samples")
        classes = logits.shape[1]
        if options["kind"] == "loss_gradient":
            if samples.labels is None and samples is columns:
                raise ValueError("kind 'loss_gradient' needs labels: pass labels=, or a loader that yields them")
            samples.check_labels(classes)
        weights = {p.data_ptr() for p in model.parameters()}
        held = sum(size for place, size in kept.items() if place not in weights)
        saved = max(saved, held / len(logits))
    return classes, saved
