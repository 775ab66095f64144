"""Plain autograd of one sample, with which every rule is compared before it is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.overrides import TorchFunctionMode

from kernels.gradients.as_trained import Watch, gradients_as_trained, unwatched
from kernels.gradients.blocks import Block, OuterBlock, TokenBlock
from kernels.gradients.twice import logits_to_differentiate
from kernels.gradients.weighted_sum import can_project, projected_difference
from kernels.inputs.outputs import Inputs, call_logits
from kernels.machine.process_state import original, replaced_here

Gradients = dict[str, Tensor | None]


@dataclass
class Checked:
    """Sample ``at`` of a batch, whose true gradients are known alone and, once asked for, in company."""

    inputs: Inputs
    at: int
    row: Float[Tensor, " k"]
    alone: Gradients
    together: Gradients | None = None


def plain_gradients(
    model: nn.Module,
    single: Inputs,
    parameters: Mapping[str, nn.Parameter],
    output: Callable[[Any], Tensor] | None,
    at: int = 0,
) -> tuple[Float[Tensor, "b k"], Gradients, Float[Tensor, " k"]]:
    """Gradients of one sample under one generic cotangent.

    Parameters
    ----------
    model : nn.Module
        With frozen parameters, which require gradients for the duration.
    single : Tensor or mapping
        One sample on the model's device, or a batch with others, whose cotangents are zero.
    parameters : mapping
        What to differentiate by, under qualified names.
    output : callable, optional
        Turns what the model returns into logits.
    at : int
        Which sample of the batch.

    Returns
    -------
    tuple
        Logits; gradient of each parameter, None where there is no path, sparse for a table of which few rows were read;
        the cotangent.

    Raises
    ------
    ValueError
        If the output does not depend on the parameters through autograd.
    """

    def rows_of(logits: Tensor) -> list[Tensor]:
        if not logits.requires_grad:
            raise ValueError(
                "the model's output does not depend on its trainable parameters through autograd; is it wrapped in "
                "torch.no_grad() or inference mode?"
            )
        row = generic_cotangent(logits)
        if len(logits) == 1:
            return [row[None]]
        rows = torch.zeros_like(logits)
        rows[at] = row
        return [rows.detach()]

    logits, gradients = _through(model, single, parameters, output, rows_of)
    return logits, gradients, generic_cotangent(logits)


def generic_cotangent(logits: Float[Tensor, "b k"]) -> Float[Tensor, " k"]:
    """Cotangent in which all logits take part."""
    return 1.0 + 0.37 * torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device).cos()


def _through(
    model: nn.Module,
    inputs: Inputs,
    parameters: Mapping[str, nn.Parameter],
    output: Callable[[Any], Tensor] | None,
    rows_of: Callable[[Tensor], list[Tensor]],
    watch: Watch = unwatched,
) -> tuple[Float[Tensor, "b k"], Gradients]:
    def forward() -> Tensor:
        with _sparse_tables():
            return logits_to_differentiate(model, inputs, output)

    logits, (found,) = gradients_as_trained(model, list(parameters.values()), forward, rows_of, watch)
    gradients = [grad.coalesce() if grad is not None and grad.is_sparse else grad for grad in found]
    return logits, dict(zip(parameters, gradients, strict=True))


def own_gradients(
    model: nn.Module,
    inputs: Inputs,
    parameters: Mapping[str, nn.Parameter],
    output: Callable[[Any], Tensor] | None,
    rows: Float[Tensor, "m k"],
    watch: Watch = unwatched,
) -> tuple[Float[Tensor, "m k"], Gradients]:
    """Differentiate ``(rows * logits).sum()`` over a batch as the network does, through its own parameters.

    Parameters
    ----------
    model, parameters, output
        As for :func:`plain_gradients`; flags that say which parameters require gradients are restored.
    inputs : Tensor or mapping
        A batch.
    rows : Tensor, shape (m, k)
        One cotangent per sample.
    watch : callable
        As for :func:`kernels.gradients.as_trained.gradients_as_trained`.

    Returns
    -------
    tuple
        Logits; gradient of each parameter, None where there is no path, sparse for a table of which few rows were read.
    """
    return _through(model, inputs, parameters, output, lambda _: [rows], watch)


def norms(truth: Gradients) -> dict[str, float]:
    """Norm of each gradient that exists."""
    return {name: float(vector_norm(g.values() if g.is_sparse else g)) for name, g in truth.items() if g is not None}


def distances(blocks: Sequence[Block], index: int, truth: Gradients) -> dict[str, float]:
    """Distance of sample ``index``'s first gradient from the true one, of each parameter that the blocks cover.

    Matrices are compared through a few random vectors: to form them takes longer than a pass of one sample.
    """
    found: dict[str, Tensor] = {}
    uses = Counter(block.weight for block in blocks)
    for block in blocks:
        one = block.take(slice(index, index + 1))
        if isinstance(one, TokenBlock):
            true = truth[one.weight]
            if true is not None and true.is_sparse:
                found[one.weight] = (_rows_read(one) - true).coalesce().values()
                continue
        if isinstance(one, OuterBlock) and uses[one.weight] == 1 and can_project(one, truth[one.weight]):
            found[one.weight] = projected_difference(one, truth[one.weight])
            plain = one.bias_gradients()
        else:
            plain = one.gradients()
        for name, values in plain.items():
            if name in found:  # a packed parameter comes as several blocks of rows
                found[name] += values[0, 0]
                continue
            true = truth[name]
            found[name] = values[0, 0].clone() if true is None else values[0, 0] - true
    return {name: float(vector_norm(error)) for name, error in found.items()}


def relative_distances(blocks: Sequence[Block], at: int, truth: Gradients) -> dict[str, float]:
    """Distance from the truth in units of its size; what is far smaller than the largest is measured by that."""
    sizes = norms(truth)
    least = 1e-2 * max(sizes.values(), default=0.0)
    found = distances(blocks, at, truth)
    return {name: error / max(sizes.get(name, 0.0), least, 1e-300) for name, error in found.items()}


def _rows_read(block: TokenBlock) -> Tensor:
    """First gradient of the first sample, as sparse as the rows of the table that it reads."""
    live = block.ids[0] >= 0
    ids, rows = block.ids[0][live], block.delta[0, 0][live]
    return torch.sparse_coo_tensor(ids[None], rows, block.shape, check_invariants=False)


def narrowest(
    model: nn.Module, inputs: Inputs, output: Callable[[Any], Tensor] | None, passes: torch.dtype
) -> torch.dtype:
    """Type in which a network computes: float32 if anything in it does, as norms and softmax of Hugging Face's.

    Two passes in float64 then agree in the digits of float32 alone.
    """
    if passes != torch.float64:
        return torch.float32
    with torch.enable_grad(), _FloatTypes() as seen:
        call_logits(model, inputs, output)
    return torch.float32 if seen.narrow else torch.float64


class _FloatTypes(TorchFunctionMode):
    """See whether an operation gives numbers of fewer digits than float64 has."""

    narrow = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.is_floating_point() and result.dtype != torch.float64:
            self.narrow = True
        return result


@contextmanager
def _sparse_tables() -> Iterator[None]:
    """Take an embedding's gradient in the rows that were read, where the table has many more.

    A vocabulary of 50,257 rows would be filled with zeros, and its norm taken, for a few dozen rows. Only on a CPU: a
    GPU fills memory fast enough, but has no deterministic sum of a sparse and a dense gradient.
    """
    plain = original(torch, "embedding")

    def embedding(
        weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
    ) -> Tensor:
        large = weight.device.type == "cpu" and len(weight) > 4 * indices.numel()
        few = large and weight.is_leaf and not weight._backward_hooks and not scale_grad_by_freq
        return plain(weight, indices, padding_idx, scale_grad_by_freq, sparse or few)

    with replaced_here(torch, "embedding", embedding):
        yield
