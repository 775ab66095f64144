r"""Contraction of embedding gradients, grouped by token.

The gradient of an embedding table is non-zero only in the rows that a sample reads, so :math:`\langle G_i, G_j \rangle
= \sum_v \langle D_{iv}, D_{jv} \rangle` runs over shared tokens only, D_{iv} being the sum of output gradients over the
positions of sample i that read token v. Tokens shared by many samples are multiplied as dense columns, rare ones token
by token. A table that is also the output layer (``wte`` = ``lm_head``) adds the linear role and both cross terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.contraction.factors import Factors
from kernels.contraction.operands import DenseGradients, Operand
from kernels.gradients.blocks import OuterBlock, TiedBlock, TokenBlock
from kernels.machine.precision import product

_SMALL_PENALTY = 20.0  # a multiply-add of a small product, its result scattered, costs about this many of a large one


class _ByToken(NamedTuple):
    """Entries ordered by token: their order, and how many of each token there are and where they begin."""

    order: Tensor
    counts: Tensor
    first: Tensor


def _rounded(counts: Int[Tensor, " v"]) -> Int[Tensor, " v"]:
    """Round sizes up to three binary digits, so that few products hold little padding."""
    step = 2 ** (torch.log2(counts.double()).floor().long() - 2).clamp_(min=0)
    return (counts + step - 1) // step * step


@dataclass
class Tokens(Operand):
    """Embedding gradients of n samples: one entry per (sample, token) that occurs.

    ``owner`` is the sample of each entry, ascending; ``ids`` its token; ``vectors`` its gradient row (E, R, O).
    """

    owner: Int[Tensor, " e"]
    ids: Int[Tensor, " e"]
    vectors: Float[Tensor, "e r o"]
    samples: int
    vocabulary: int

    @property
    def cotangents(self) -> int:  # type: ignore[override]
        """Number of cotangents."""
        return self.vectors.shape[1]

    @classmethod
    def of(cls, block: TokenBlock, dtype: torch.dtype) -> Tokens:
        """Sum a block's output gradients by (sample, token)."""
        samples, vocabulary = block.ids.shape[0], block.shape[0]
        owner = torch.arange(samples, device=block.ids.device)[:, None]
        read = torch.nonzero((block.ids >= 0).flatten()).flatten()
        ordered, order = torch.sort((owner * vocabulary + block.ids).flatten()[read], stable=True)
        codes, lengths = torch.unique_consecutive(ordered, return_counts=True)
        delta = block.delta.transpose(1, 2).flatten(0, 1)[read[order]]  # a fixed order of addition
        if codes.numel():
            delta = torch.segment_reduce(delta, "sum", lengths=lengths, axis=0)
        return cls(codes // vocabulary, codes % vocabulary, delta.to(dtype), samples, vocabulary)

    def take(self, rows: slice) -> Tokens:
        """Return the operand of a contiguous run of samples."""
        start, stop, _ = rows.indices(self.samples)
        inside = (self.owner >= start) & (self.owner < stop)
        return replace(
            self,
            owner=self.owner[inside] - start,
            ids=self.ids[inside],
            vectors=self.vectors[inside],
            samples=stop - start,
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Tokens]) -> Tokens:
        """Stack operands of consecutive batches."""
        starts = [sum(part.samples for part in parts[:k]) for k in range(len(parts))]
        return cls(
            torch.cat([part.owner + start for part, start in zip(parts, starts, strict=True)]),
            torch.cat([part.ids for part in parts]),
            torch.cat([part.vectors for part in parts]),
            sum(part.samples for part in parts),
            parts[0].vocabulary,
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(x.numel() * x.element_size() for x in (self.owner, self.ids, self.vectors))

    def pair_bytes(self, other: Tokens, full: bool) -> float:
        """Scratch bytes per pair of samples; the whole tile is done at once."""
        return 0.0

    def accumulate(self, other: Tokens, out: Tensor, full: bool, symmetric: bool, scratch: float) -> None:
        """Add shared tokens: frequent ones as dense columns, rare ones token by token."""
        ours = torch.bincount(self.ids, minlength=self.vocabulary)
        theirs = torch.bincount(other.ids, minlength=self.vocabulary)
        meetings = ours * theirs
        dense = meetings.double() * _SMALL_PENALTY > self.samples * other.samples
        frequent = torch.nonzero(dense).flatten()
        rows = self.vectors.element_size() * self.vectors.shape[1:].numel() * (self.samples + other.samples)
        step = max(1, int(scratch / rows))
        for start in range(0, frequent.numel(), step):
            chosen = frequent[start : start + step]
            left = self._columns(chosen)
            right = left if self is other else other._columns(chosen)
            DenseGradients(left).accumulate(DenseGradients(right), out, full, symmetric, scratch)
        self._add_rare(other, ~dense, out, full, symmetric, scratch)

    def product(self, other: Tokens, full: bool) -> Tensor:
        """Contribution to a tile."""
        shape = (self.samples, other.samples) + ((self.cotangents,) * 2 if full else ())
        wide = torch.float64 if self.vectors.dtype == torch.float64 else torch.float32
        out = torch.zeros(shape, dtype=wide, device=self.vectors.device)
        self.accumulate(other, out, full, False, 2.0**27)
        return out

    def _columns(self, chosen: Tensor) -> Float[Tensor, "n r d"]:
        """Dense gradient of some tokens' rows, (n, R, tokens * O)."""
        slot = torch.full((self.vocabulary,), -1, dtype=torch.long, device=self.ids.device)
        slot[chosen] = torch.arange(chosen.numel(), device=self.ids.device)
        place = slot[self.ids]
        inside = place >= 0
        cotangents, width = self.vectors.shape[1:]
        table = self.vectors.new_zeros(self.samples, chosen.numel(), cotangents, width)
        table[self.owner[inside], place[inside]] = self.vectors[inside]
        return table.transpose(1, 2).flatten(2)

    def _add_rare(self, other: Tokens, rare: Tensor, out: Tensor, full: bool, symmetric: bool, scratch: float) -> None:
        """Add the entries of each token that is not dense as one small product; those of about equal size together."""
        ours = self._by_token()
        theirs = ours if other is self else other._by_token()
        tokens = torch.nonzero(rare & (ours.counts > 0) & (theirs.counts > 0)).flatten()
        heights, widths = (_rounded(side.counts[tokens]) for side in (ours, theirs))
        beyond = 2 * other.samples + 1  # pairs as numbers: torch finds equal rows by comparing row with row
        kinds, kind = torch.unique(heights * beyond + widths, return_inverse=True)
        numbers = self.cotangents * self.vectors.shape[2]
        for index, (height, width) in enumerate(divmod(one, beyond) for one in kinds.tolist()):
            alike = tokens[kind == index]
            each = (height + width) * numbers + height * width * (self.cotangents**2 if full else 1)
            for chosen in alike.split(max(1, int(scratch / out.element_size() / each))):
                rows, left = self._padded(ours, chosen, height, out.dtype)
                columns, right = (rows, left) if other is self else other._padded(theirs, chosen, width, out.dtype)
                if full:
                    values = torch.einsum("garo,gbso->gabrs", left, right)
                else:
                    values = torch.bmm(left.flatten(2), right.flatten(2).transpose(1, 2))
                out.index_put_((rows[:, :, None], columns[:, None]), values, accumulate=True)

    def _by_token(self) -> _ByToken:
        counts = torch.bincount(self.ids, minlength=self.vocabulary)
        return _ByToken(torch.argsort(self.ids, stable=True), counts, torch.cumsum(counts, 0) - counts)

    def _padded(
        self, by_token: _ByToken, chosen: Tensor, size: int, dtype: torch.dtype
    ) -> tuple[Int[Tensor, "g a"], Float[Tensor, "g a r o"]]:
        """Give samples and gradient rows of some tokens' entries, up to ``size`` each, with rows of zeros behind."""
        at = torch.arange(size, device=chosen.device)
        beyond = at >= by_token.counts[chosen][:, None]
        entries = by_token.order[(by_token.first[chosen][:, None] + at).clamp_(max=len(by_token.order) - 1)]
        rows = self.vectors[entries].to(dtype)
        return self.owner[entries], rows.masked_fill_(beyond[:, :, None, None], 0.0)

    def squared_norms(self, scratch: float) -> Float[Tensor, "n r"]:
        """Squared norm of each cotangent's gradient."""
        wide = self.vectors if self.vectors.dtype == torch.float64 else self.vectors.float()
        norms = wide.square().sum(2)
        return norms.new_zeros(self.samples, self.cotangents).index_put_((self.owner,), norms, accumulate=True)


@dataclass
class TiedTokens(Operand):
    """A table that is both embedding and output layer: K = K_in + K_out + X + X^T."""

    tokens: Tokens
    linear: Factors

    @property
    def samples(self) -> int:  # type: ignore[override]
        """Number of samples."""
        return self.tokens.samples

    @property
    def cotangents(self) -> int:  # type: ignore[override]
        """Number of cotangents."""
        return self.tokens.cotangents

    @staticmethod
    def fits(block: TiedBlock) -> bool:
        """Whether the roles are one embedding and one plain linear map of the same (V, O) table."""
        kinds = [type(role) for role in block.roles]
        if sorted(kind.__name__ for kind in kinds) != ["OuterBlock", "TokenBlock"]:
            return False
        outer = next(role for role in block.roles if isinstance(role, OuterBlock))
        return outer.groups == 1 and not outer.transposed and outer.rows is None and outer.bias is None

    @classmethod
    def of(cls, block: TiedBlock, dtype: torch.dtype) -> TiedTokens:
        """Keep both roles of a tied block."""
        tokens = next(role for role in block.roles if isinstance(role, TokenBlock))
        outer = next(role for role in block.roles if isinstance(role, OuterBlock))
        return cls(Tokens.of(tokens, dtype), Factors.of(outer, "position", dtype))

    def take(self, rows: slice) -> TiedTokens:
        """Return the operand of a contiguous run of samples."""
        return TiedTokens(self.tokens.take(rows), self.linear.take(rows))

    @classmethod
    def concatenate(cls, parts: Sequence[TiedTokens]) -> TiedTokens:
        """Stack operands of consecutive batches."""
        return cls(
            Tokens.concatenate([part.tokens for part in parts]),
            Factors.concatenate([part.linear for part in parts]),  # type: ignore[arg-type]  # not the feature form
        )

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.tokens.nbytes + self.linear.nbytes

    def pair_bytes(self, other: TiedTokens, full: bool) -> float:
        """Scratch bytes per pair of samples."""
        entries = self.tokens.ids.numel() / max(1, self.samples)
        cross = 12.0 * entries * other.linear.extents.mean * self.cotangents
        return self.linear.pair_bytes(other.linear, full) + cross * (self.cotangents if full else 1)

    def product(self, other: TiedTokens, full: bool) -> Tensor:
        """Contribution to a tile: both roles and both cross terms."""
        total = self.linear.product(other.linear, full) + self.tokens.product(other.tokens, full)
        total = total + _cross(self.tokens, other.linear, full)
        back = _cross(other.tokens, self.linear, full)
        return total + (back.permute(1, 0, 3, 2) if full else back.T)

    def squared_norms(self, scratch: float) -> Float[Tensor, "n r"]:
        """Squared norm of each cotangent's gradient."""
        rows = [
            self.take(slice(i, i + 1)).product(self.take(slice(i, i + 1)), True)[0, 0].diagonal()
            for i in range(self.samples)
        ]
        return torch.stack(rows)


def _cross(tokens: Tokens, linear: Factors, full: bool) -> Tensor:
    r"""Inner products of embedding rows with the output layer's gradient.

    :math:`X_{ij} = \sum_v \sum_s \langle D_{iv}, a_{js} \rangle \delta_{js}[v]`, over the tokens v that sample i reads.
    """
    cotangents = tokens.cotangents
    inner = product(tokens.vectors.flatten(0, 1), linear.inputs[:, 0]).unflatten(0, (-1, cotangents))  # (E, R, M)
    picked = linear.delta[:, 0][:, :, tokens.ids].to(inner.dtype).permute(2, 1, 0)  # (E, R, M)
    values = inner[:, :, None] * picked[:, None] if full else (inner * picked).sum(1)
    device = inner.device
    rows = inner.new_zeros(tokens.samples, *values.shape[1:]).index_add_(0, tokens.owner, values)
    sizes = torch.tensor(linear.extents.each(), device=device)
    owner = torch.repeat_interleave(torch.arange(linear.samples, device=device), sizes)
    out = rows.new_zeros(*rows.shape[:-1], linear.samples).index_add_(rows.ndim - 1, owner, rows)
    return out.movedim(-1, 1)
