"""TensorSketch of per-sample gradients, straight from the factors (a, δ) of each layer.

For a weight with gradient Σ_t δ_t a_tᵀ: CountSketch δ over the rows and a over the columns, multiply in Fourier
space, sum over the positions t, and transform back once (Pham and Pagh, KDD 2013). The product of transforms is a
circular convolution, so the entry (o, i) goes to bucket h₁(o) + h₂(i) mod dim with sign s₁(o)s₂(i), and the gradient
is never formed.
"""

from __future__ import annotations

from math import log2
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.gradients.blocks import OuterBlock
from kernels.machine.counter_hash import buckets_and_signs
from kernels.sketches.base import CHUNK_BYTES, Sketch, entry_count, in_pieces

Form = Literal["auto", "fourier", "gradient"]


class TensorSketch(Sketch):
    """CountSketch whose hash of a matrix entry is the sum of a row hash and a column hash.

    There are two ways to the same numbers: through Fourier space, T(O + I + dim log dim) per sample, or by forming one
    layer's gradient for a few samples and adding its entries into their buckets, T·O·I + O·I. Many positions over a
    small weight (the first convolutions of a network) are cheaper the second way.

    Parameters
    ----------
    dim, seed : int
        See :class:`~kernels.sketches.base.Sketch`.
    form : {"auto", "fourier", "gradient"}
        ``fourier`` never forms a gradient; ``gradient`` always does; ``auto`` takes the cheaper per layer.

    Notes
    -----
    For rank-one u = δaᵀ and v = δ'a'ᵀ, (Su)·(Sv) has variance ‖u‖²‖v‖²(1 + ρ_δ² + ρ_a² + 3ρ_δ²ρ_a²)/dim to leading
    order, with ρ_δ and ρ_a the cosines of the factors.

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import OuterBlock
    >>> from kernels.sketches import TensorSketch
    >>> block = OuterBlock("weight", torch.Size([3, 2]), torch.ones(1, 1, 4, 3), torch.ones(1, 4, 2))
    >>> TensorSketch(dim=8, seed=0).block(block).shape  # sample, cotangent, features; no gradient was formed
    torch.Size([1, 1, 8])
    """

    kind = "tensorsketch"

    def __init__(self, dim: int, seed: int, form: Form = "auto") -> None:
        super().__init__(dim, seed)
        self.form = form
        self._tables: dict[tuple[str, int, int, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def expected_error(self, classes: int = 1) -> float:
        """Mean absolute error of a cosine entry between orthogonal gradients, at most: sqrt(2) of a dense sketch's.

        Orthogonal means ρ_δρ_a = 0, which leaves 1 + ρ_δ² + ρ_a² ≤ 2: the worst case is one factor shared entirely.
        """
        return 2**0.5 * super().expected_error(classes)

    def _axis(self, name: str, size: int, like: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
        """Buckets and signs along one axis of a weight, kept for the next batch."""
        key = (name, first, size, like.device, like.dtype)
        if key not in self._tables:
            counters = torch.arange(first, first + size, device=like.device)
            self._tables[key] = buckets_and_signs(self.seed, name, counters, self.dim, dtype=like.dtype)
        return self._tables[key]

    def dense(
        self, name: str, gradient: Float[Tensor, "n p"], columns: int, first_row: int = 0
    ) -> Float[Tensor, "n k"]:
        """See ``Sketch.dense``."""
        n, size = gradient.shape
        if not size:  # a parameter without entries
            return gradient.new_zeros(n, self.dim)
        bucket, sign = self._axis(f"{name}/rows", size // columns, gradient, first_row)
        if columns > 1:
            column_bucket, column_sign = self._axis(f"{name}/columns", columns, gradient)
            bucket = ((bucket[:, None] + column_bucket) % self.dim).flatten()
            sign = (sign[:, None] * column_sign).flatten()
        out = gradient.new_zeros(n, self.dim)
        return out.scatter_add_(1, bucket.expand(n, -1), gradient * sign)

    def rows(self, name: str, index: Int[Tensor, "n t"], values: Float[Tensor, "n t c"]) -> Float[Tensor, "n k"]:
        """See ``Sketch.rows``; the transform of a one-hot row is a shift, so no transform is made."""
        bucket, sign = buckets_and_signs(self.seed, f"{name}/rows", index, self.dim, dtype=values.dtype)
        column_bucket, column_sign = self._axis(f"{name}/columns", values.shape[2], values)
        bucket = (bucket[:, :, None] + column_bucket) % self.dim
        signed = values * (sign[:, :, None] * column_sign)
        out = values.new_zeros(len(values), self.dim)
        return out.scatter_add_(1, bucket.flatten(1), signed.flatten(1))

    def outer(self, block: OuterBlock) -> Float[Tensor, "b r k"]:
        """See ``Sketch.outer``; in Fourier space where that is cheaper."""
        _, cotangents, positions, _ = block.delta.shape
        if self._cheaper(positions, block.groups, entry_count(block)) == "gradient":
            return super().outer(block)
        per_position = block.groups * (cotangents + 1) * self.dim * 2
        position_step = max(1, CHUNK_BYTES // (per_position * block.delta.element_size()))
        out = []
        for piece in in_pieces(block, per_position * min(positions, position_step)):
            left, right = piece.delta, piece.a[:, None]
            if block.transposed:
                left, right = right, left
            total = torch.zeros((), dtype=left.dtype, device=left.device)
            for t in range(0, positions, position_step):
                here = slice(t, t + position_step)
                total = total + self._spectrum(block, left[:, :, here], right[:, :, here])
            out.append(torch.fft.irfft(total, n=self.dim))
        return torch.cat(out)

    def _cheaper(self, positions: int, groups: int, weight_entries: int) -> Form:
        """Choose a form. Costs in ns on one CPU core: transform 0.44, multiply-add 0.02, scattered add 2."""
        if self.form != "auto":
            return self.form
        fourier = 0.44 * positions * groups * self.dim * log2(self.dim + 1)
        return "gradient" if (0.02 * positions + 2.0) * weight_entries < fourier else "fourier"

    def _spectrum(self, block: OuterBlock, left: Tensor, right: Tensor) -> Tensor:
        """(b, r, dim//2 + 1): transforms of both factors, multiplied and summed over positions and groups."""
        first = block.rows[0] if block.rows else 0
        left, right = (factor.unflatten(3, (block.groups, -1)) for factor in (left, right))
        bucket, sign = self._axis(f"{block.weight}/rows", left.shape[3] * left.shape[4], left, first)
        product = self._transform(left, bucket.view(block.groups, -1), sign.view(block.groups, -1))
        product = product * self._transform(right, *self._axis(f"{block.weight}/columns", right.shape[4], right))
        return product.sum((2, 3))

    def _transform(self, factor: Tensor, bucket: Tensor, sign: Tensor) -> Tensor:
        """(b, r, t, g, dim//2 + 1): transform of the CountSketch of the last axis."""
        counts = factor.new_zeros(*factor.shape[:4], self.dim)
        counts.scatter_add_(4, bucket.expand(factor.shape), factor * sign)
        return torch.fft.rfft(counts)
