"""CountSketch of per-sample gradients: every coordinate goes to one bucket with one sign.

For gradients u, v the variance of (Su)·(Sv) is about a dense sign matrix's, (‖u‖²‖v‖² + (u·v)²)/dim (Charikar, Chen
and Farach-Colton 2002; Weinberger et al., arXiv 0902.2206). It costs one addition per coordinate, but the gradient
has to be formed, which :mod:`~kernels.sketches.tensorsketch` avoids.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.machine.counter_hash import buckets_and_signs
from kernels.sketches.base import CHUNK_BYTES, Sketch


class CountSketch(Sketch):
    """One bucket and one sign per coordinate of each parameter.

    Examples
    --------
    >>> import torch
    >>> from kernels.sketches import CountSketch
    >>> gradient = torch.eye(1, 5)
    >>> CountSketch(dim=3, seed=0).dense("weight", gradient, columns=5).abs().sum()  # one bucket a coordinate
    tensor(1.)
    """

    kind = "countsketch"

    def dense(
        self, name: str, gradient: Float[Tensor, "n p"], columns: int, first_row: int = 0
    ) -> Float[Tensor, "n k"]:
        """See ``Sketch.dense``; hashes are recomputed for each batch, in chunks, rather than stored for all P."""
        n, size = gradient.shape
        out = gradient.new_zeros(n, self.dim)
        step = max(1, CHUNK_BYTES // (8 * max(n, 4)))
        for i in range(0, size, step):
            counters = torch.arange(i, min(i + step, size), device=gradient.device) + first_row * columns
            bucket, sign = buckets_and_signs(self.seed, name, counters, self.dim, dtype=gradient.dtype)
            out.scatter_add_(1, bucket.expand(n, -1), gradient[:, i : i + step] * sign)
        return out

    def rows(self, name: str, index: Int[Tensor, "n t"], values: Float[Tensor, "n t c"]) -> Float[Tensor, "n k"]:
        """See ``Sketch.rows``; only the coordinates that occur are hashed."""
        columns = values.shape[2]
        place = index[:, :, None] * columns + torch.arange(columns, device=index.device)
        bucket, sign = buckets_and_signs(self.seed, name, place, self.dim, dtype=values.dtype)
        out = values.new_zeros(len(values), self.dim)
        return out.scatter_add_(1, bucket.flatten(1), (values * sign).flatten(1))
