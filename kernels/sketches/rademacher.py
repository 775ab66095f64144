"""Dense sign matrix as a sketch, S = ±1/sqrt(dim): the baseline, 2·P·dim operations a gradient (arXiv 2303.14186)."""

from __future__ import annotations

from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.machine.counter_hash import sign_matrix
from kernels.sketches.base import CHUNK_BYTES, Sketch


class Rademacher(Sketch):
    """Independent signs for every (coordinate, feature) pair, made when needed and never stored.

    With u, v the gradients, (Su)·(Sv) has variance (‖u‖²‖v‖² + (u·v)² - 2Σ_p u_p²v_p²)/dim.

    Examples
    --------
    >>> import torch
    >>> from kernels.sketches import Rademacher
    >>> gradient = torch.eye(1, 5)
    >>> Rademacher(dim=4, seed=0).dense("weight", gradient, columns=5).abs()
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
    """

    kind = "rademacher"

    def dense(
        self, name: str, gradient: Float[Tensor, "n p"], columns: int, first_row: int = 0
    ) -> Float[Tensor, "n k"]:
        """See ``Sketch.dense``."""
        counters = torch.arange(gradient.shape[1], device=gradient.device) + first_row * columns
        return self._project(name, gradient, counters)

    def rows(self, name: str, index: Int[Tensor, "n t"], values: Float[Tensor, "n t c"]) -> Float[Tensor, "n k"]:
        """See ``Sketch.rows``; only table rows that occur in the batch are projected."""
        columns = values.shape[2]
        used, place = index.unique(return_inverse=True)
        table = values.new_zeros(len(values), len(used), columns)
        table.scatter_add_(1, place[:, :, None].expand(values.shape), values)
        counters = used[:, None] * columns + torch.arange(columns, device=index.device)
        return self._project(name, table.flatten(1), counters.flatten())

    def _project(self, name: str, gradient: Float[Tensor, "n p"], counters: Int[Tensor, " p"]) -> Float[Tensor, "n k"]:
        out = gradient.new_zeros(len(gradient), self.dim)
        step = max(1, CHUNK_BYTES // (8 * self.dim))
        for i in range(0, len(counters), step):
            chunk = slice(i, i + step)
            signs = sign_matrix(self.seed, name, counters[chunk], self.dim, dtype=gradient.dtype)
            out += gradient[:, chunk] @ signs
        return out / sqrt(self.dim)
