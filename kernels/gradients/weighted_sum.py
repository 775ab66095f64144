r"""Weighted sums of per-sample gradients, formed from factors, beside the same sums out of the network's own gradient.

For weights :math:`w_{jr}` the gradient of :math:`\sum_{jr} w_{jr} v_{jr} \cdot f_j` is :math:`G = \sum_{jr} w_{jr}
g_{jr}`. A matrix is compared through one seeded Gaussian vector u: :math:`G u` costs a row of numbers instead of a
matrix, and :math:`E \| (G - \hat G) u \|^2 = \| G - \hat G \|_F^2`, so a difference shows with its own size.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.linalg import vector_norm

from kernels.gradients.blocks import Block, ConvBlock, OuterBlock, TiedBlock, TokenBlock, VectorBlock

# Gradients below this share of the largest one are rounding of the larger ones (a bias before a softmax).
LEAST = 1e-3


@dataclass(frozen=True)
class Agreement:
    """How far one parameter's sum is from the network's own gradient, and the size to measure it by.

    Attributes
    ----------
    error : float
        Norm of the difference; NaN where the blocks hold NaN or infinity, infinite where only the own gradient does.
    size : float
        The larger of the own gradient's norm and the root of the sum of squares of all terms: sums that cancel carry
        the rounding of their terms.
    """

    error: float
    size: float


class Comparison:
    """Weighted sums of the chosen samples' gradients beside the network's own gradient, which is read as it comes.

    So that gradient is not kept: memory that is new to the process costs as much as the passes of a few samples.

    Parameters
    ----------
    blocks : sequence of Block
        Factors of a batch.
    chosen : Tensor, shape (m,)
        Samples of the batch that enter the sum.
    weights : Tensor, shape (m, R)
        Their weights for each cotangent.
    names : iterable of str
        Parameters, in the order in which :meth:`watching` is given them.
    """

    def __init__(
        self, blocks: Sequence[Block], chosen: Int[Tensor, " m"], weights: Float[Tensor, "m r"], names: Iterable[str]
    ) -> None:
        self._sums: dict[str, list[_Sum]] = {name: [] for name in names}
        self._seen: dict[int, dict[tuple[str, int], Tensor]] = {}
        self._rest: dict[int, dict[str, Tensor]] = {}
        for block in blocks:
            if not self._sums.keys() & set(block.names):
                continue
            try:
                taken = block.take(chosen.to(weights.device))  # type: ignore[arg-type]
                sums = _sums(taken, weights.to(_type(taken, weights.dtype)))
            except (RuntimeError, IndexError):  # a misread block need not even fit itself
                sums = [(name, None, 0, torch.full((), torch.inf), 0.0) for name in block.names]
            for one in sums:
                if one[0] in self._sums:
                    self._sums[one[0]].append(one)

    @contextmanager
    def watching(self, parameters: Sequence[Tensor], part: int = 0) -> Iterator[None]:
        """Read the gradients of a backward pass through the parameters; what it returns for dense ones is zero.

        The samples may come in several parts, each with a pass of its own.
        """
        self._seen[part], self._rest[part] = {}, {}

        def reader(name: str) -> Callable[[Tensor], Tensor | None]:
            def hook(gradient: Tensor) -> Tensor | None:
                with torch.no_grad():
                    self.read(name, gradient.coalesce() if gradient.is_sparse else gradient, part)
                    return None if gradient.is_sparse else gradient.new_zeros(()).expand_as(gradient)

            return hook

        handles = [p.register_hook(reader(name)) for name, p in zip(self._sums, parameters, strict=True)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def read(self, name: str, own: Tensor, part: int = 0) -> None:
        """Read a gradient, or some of it, that the network itself gave; a table's may be sparse."""
        sums, known, outside = self._sums[name], self._seen.setdefault(part, {}), self._rest.setdefault(part, {})
        for index, (_, rows, width, found, _) in enumerate(sums):
            seen = _seen(own, name, rows, width, found)
            kept = seen if width else seen.clone()  # not the gradient itself, which autograd may go on with
            known[name, index] = known[name, index] + seen if (name, index) in known else kept
        rest = _outside(own, [one[1] for one in sums])
        if rest is not None:
            outside[name] = outside[name] + rest if name in outside else rest

    def taken_over(self, seen: Comparison, part: int | None = None) -> bool:
        """Read what another comparison of the same parameters has read, or one part, if it reads in the same way."""
        ways = ([[one[1:3] for one in sums] for sums in each._sums.values()] for each in (self, seen))
        if next(ways) != next(ways):
            return False
        self._seen, self._rest = seen._seen, seen._rest
        if part is not None:
            self._seen, self._rest = {0: seen._seen.get(part, {})}, {0: seen._rest.get(part, {})}
        return True

    def agreements(self) -> dict[str, Agreement]:
        """Say how far apart both sums are, for every parameter.

        What was not read has a gradient of zero, as what no block covers must have.
        """
        agreements = {}
        for name, sums in self._sums.items():
            outside = [part[name] for part in self._rest.values() if name in part]
            rest = float(vector_norm(_added(outside))) if outside else 0.0
            errors, sizes = [rest], [rest]
            for index, (*_, found, squares) in enumerate(sums):
                parts = [part[name, index] for part in self._seen.values() if (name, index) in part]
                true = _added(parts) if parts else None
                error = float(vector_norm(found if true is None else found - true))
                errors.append(torch.inf if math.isnan(error) and bool(found.isfinite().all()) else error)
                sizes.append(max(0.0 if true is None else float(vector_norm(true)) ** 2, squares) ** 0.5)
            agreements[name] = Agreement(_norm(errors), _norm(sizes))
        return agreements


def _added(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack([*parts]).sum(0)


def agreements(
    blocks: Sequence[Block], chosen: Int[Tensor, " m"], weights: Float[Tensor, "m r"], own: dict[str, Tensor | None]
) -> dict[str, Agreement]:
    """Compare weighted sums of the chosen samples' gradients with a known gradient.

    Parameters
    ----------
    blocks, chosen, weights
        As for :class:`Comparison`.
    own : dict of str to Tensor or None
        The network's own gradient of the weighted sum, None where there is no path; a table's may be sparse.

    Returns
    -------
    dict of str to Agreement
        One entry for every name in ``own``; those that no block covers must have a gradient of zero.
    """
    comparison = Comparison(blocks, chosen, weights, own)
    for name, gradient in own.items():
        if gradient is not None:
            comparison.read(name, gradient)
    return comparison.agreements()


def _type(block: Any, default: torch.dtype) -> torch.dtype:
    """Type of a block's numbers: a layer that the model computes in float32 stays so in a float64 network."""
    kinds = (x.dtype for x in vars(block).values() if isinstance(x, Tensor) and x.is_floating_point())
    return next(kinds, default)


def _norm(parts: list[float]) -> float:
    return sum(part * part for part in parts) ** 0.5


_Sum = tuple[str, tuple[int, int] | None, int, Tensor, float]


def _sums(block: Block, weights: Tensor) -> list[_Sum]:
    """(name, rows, width of the projection or 0, sum, sum of squares of its terms) of each parameter of a block."""
    if isinstance(block, TiedBlock):
        return [_tied(block, weights)]
    if isinstance(block, TokenBlock):
        return [_token(block, weights)]
    if isinstance(block, VectorBlock):
        return [_vector(block.weight, block.rows, block.values, weights)]
    delta = _weighted(block.delta, weights)
    found = [_outer(block, delta)]
    if block.bias is not None:
        delta = delta if block.bias_scale == 1.0 else delta * block.bias_scale
        squares = float(delta.square().sum())
        found.append((block.bias, block.bias_rows, 0, delta.sum((0, 1)), squares))
    return found


def _outer(block: OuterBlock, delta: Float[Tensor, "m t o"]) -> _Sum:
    """Sum of a weight's gradients, of output gradients that were multiplied with their weights."""
    groups = block.groups
    delta = delta.unflatten(2, (groups, -1))
    if isinstance(block, ConvBlock) and not block.transposed and len(block.shape) > 1 and block.width:
        width = block.width // groups
        shares = block.windows.projected(block.inputs, direction(block.weight, width, block.inputs))
        return _projected(block, width, delta, shares)
    inputs = block.a.unflatten(2, (groups, -1))
    left, right = (inputs, delta) if block.transposed else (delta, inputs)
    width = right.shape[3]
    if len(block.shape) < 2 or not width:  # a vector, or no entries: nothing to project
        found = torch.einsum("mtgo,mtgi->goi", left, right).flatten()
        squares = float((left.square().sum(3) * right.square().sum(3)).sum())
        return block.weight, block.rows, 0, found, squares
    # As one matrix: of unfolded patches, which are transposed, torch would multiply position by position.
    shares = (right.reshape(-1, width) @ direction(block.weight, width, right)).view(right.shape[:3])
    return _projected(block, width, left, shares)


def _projected(block: OuterBlock, width: int, left: Tensor, shares: Tensor) -> _Sum:
    """Weighted sum of outer products whose right sides were multiplied with one vector, which gives the shares."""
    found = torch.bmm(left.flatten(0, 1).permute(1, 2, 0), shares.flatten(0, 1).T.unsqueeze(2)).flatten()
    squares = float((left.square().sum(3) * shares.square()).sum())
    return block.weight, block.rows, width, found, squares


def can_project(block: OuterBlock, own: Tensor | None) -> bool:
    """Whether a whole matrix can be compared with its own gradient through vectors."""
    dense = own is None or not own.is_sparse
    return dense and len(block.shape) > 1 and block.rows is None and 0 not in (*block.delta.shape, block.width)


def projected_difference(block: OuterBlock, own: Tensor | None, count: int = 4) -> Tensor:
    """Difference of the first sample's first gradient from its own, times a few random vectors.

    Its norm estimates that of the whole difference.
    """
    delta = block.delta[:1, 0].unflatten(2, (block.groups, -1))
    inputs = block.a[:1].unflatten(2, (block.groups, -1))
    left, right = (inputs, delta) if block.transposed else (delta, inputs)
    width = right.shape[3]
    across = _directions(block.weight, width, count, right.dtype, right.device)
    shares = (right.reshape(-1, width) @ across).view(*right.shape[1:3], count)
    found = torch.bmm(left[0].permute(1, 2, 0), shares.transpose(0, 1)).flatten(0, 1)
    return found if own is None else found - own.to(found.dtype).reshape(-1, width) @ across


def _token(block: TokenBlock, weights: Tensor) -> _Sum:
    width = block.delta.shape[3]
    shares = _weighted(block.delta, weights) @ direction(block.weight, width, block.delta)
    shares = shares * (block.ids >= 0)
    found = shares.new_zeros(block.shape[0]).index_add_(0, block.ids.clamp(min=0).flatten(), shares.flatten())
    return block.weight, None, width, found, float(shares.square().sum())


def _vector(name: str, rows: tuple[int, int] | None, values: Tensor, weights: Tensor) -> _Sum:
    terms = _weighted(values, weights)
    return name, rows, 0, terms.sum(0), float(terms.square().sum())


def _tied(block: TiedBlock, weights: Tensor) -> _Sum:
    """Sum over the roles: projected where all of them project alike, else formed."""
    parts = [_sums(role, weights)[0] for role in block.roles]
    if len({(rows, width) for _, rows, width, _, _ in parts}) == 1:
        _, rows, width, _, _ = parts[0]
        return block.weight, rows, width, torch.stack([p[3] for p in parts]).sum(0), sum(p[4] for p in parts)
    terms = []
    for index in range(len(weights)):
        one = block.take(slice(index, index + 1)).gradients()[block.weight][0]
        terms.append(torch.einsum("r...,r->...", one, weights[index]).flatten())
    stacked = torch.stack(terms)
    return block.weight, None, 0, stacked.sum(0), float(stacked.square().sum())


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    """(m, R, ...) summed over the cotangents with their weights."""
    if values.shape[1] == 1:
        return values[:, 0] * weights[:, 0].reshape(-1, *(1,) * (values.ndim - 2))
    return torch.einsum("mr...,mr->m...", values, weights)


def direction(name: str, width: int, like: Tensor) -> Tensor:
    """Gaussian vector of a parameter, the same for its factors and for its own gradient."""
    return _gaussian(name, width, like.dtype, like.device)


@lru_cache(maxsize=1024)
def _gaussian(name: str, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Keep the vectors: every pass needs each of them twice."""
    seeded = torch.Generator().manual_seed(zlib.crc32(f"{name}:{width}".encode()))
    return torch.randn(width, generator=seeded, dtype=torch.float64).to(device, dtype)


@lru_cache(maxsize=256)
def _directions(name: str, width: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Columns of a size that sums their squares to those of a mean; each in one piece: products read rows once."""
    vectors = [_gaussian(f"{name} {index}", width, dtype, device) for index in range(count)]
    return (torch.stack(vectors) * count**-0.5).T


def _seen(own: Tensor, name: str, rows: tuple[int, int] | None, width: int, found: Tensor) -> Tensor:
    """Read a sum off the own gradient: its rows, projected like the sum."""
    if own.is_sparse:
        if width and rows is None and own.sparse_dim() == 1:
            shares = own.values().reshape(-1, width).to(found.dtype) @ direction(name, width, found)
            return torch.zeros_like(found).index_add_(0, own.indices()[0], shares)
        own = own.to_dense()
    part = (own if rows is None else own[slice(*rows)]).to(found.dtype)
    return part.reshape(-1, width) @ direction(name, width, found) if width else part.reshape(-1)


def _outside(own: Tensor, covered: list[tuple[int, int] | None]) -> Tensor | None:
    """Rows of the own gradient that no block covers; None if there are none."""
    if None in covered:
        return None
    own = own.to_dense() if own.is_sparse else own
    if not covered:
        return own.clone()
    left = torch.ones(len(own), dtype=torch.bool, device=own.device)
    for rows in covered:
        left[slice(*rows)] = False  # type: ignore[misc]
    return own[left] if bool(left.any()) else None


def random_weights(
    chosen: Int[Tensor, " m"], rows: Float[Tensor, "b r k"], seeded: torch.Generator
) -> Float[Tensor, "m r"]:
    """Signs times sizes between 1/2 and 3/2, so that no two samples are alike."""
    shape = (len(chosen), rows.shape[1])
    signs = torch.randint(2, shape, generator=seeded) * 2 - 1
    return (signs * (0.5 + torch.rand(shape, generator=seeded))).to(rows.device, rows.dtype)


def least_size(sums: dict[str, Agreement]) -> float:
    """Size by which gradients are measured that are far smaller than the largest one."""
    return LEAST * max((one.size for one in sums.values()), default=0.0)


def relative(sums: dict[str, Agreement], least: float | None = None) -> dict[str, float]:
    """Differences in units of their sizes; what is far smaller than the largest gradient is measured by that."""
    least = least_size(sums) if least is None else least
    return {name: one.error / max(one.size, least, 1e-300) for name, one in sums.items()}


def above(differences: dict[str, float], limit: float) -> dict[str, float]:
    """Differences that are not within the limit."""
    return {name: value for name, value in differences.items() if not value <= limit}
