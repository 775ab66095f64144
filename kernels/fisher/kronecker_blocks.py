r"""Approximate Fisher matrix of one block of parameters: Kronecker eigenbasis with corrected eigenvalues, or diagonal.

For a weight whose per-sample gradient is :math:`G = \sum_t \delta_t \tilde a_t^T`, with :math:`\tilde a = (a, 1)` where
a bias belongs to it, EK-FAC (arXiv:1806.03884) takes the eigenvectors :math:`U_a, U_\delta` of
:math:`\sum \tilde a \tilde a^T` and :math:`\sum \delta\delta^T` and the exact second moments in that basis,
:math:`\Lambda = E[(U_\delta^T G\, U_a)^2]`. What is not such a product (norms, embeddings, the fallback) has
a diagonal, :math:`\Lambda = E[g^2]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.gradients.blocks import Block, OuterBlock

Change = Callable[[Tensor, Tensor], Tensor]
"""From vectors in a block's eigenbasis and its eigenvalues to the vectors times a function of the matrix."""


def block_key(block: Block) -> str:
    """Name of a block that is the same in every batch: its parameters, with the rows where it covers only some."""
    rows = getattr(block, "rows", None)
    return "+".join(name.replace("+", "++") for name in block.names) + (f"[{rows[0]}:{rows[1]}]" if rows else "")


@dataclass
class KroneckerBlock:
    """EK-FAC of one weight and its bias, in ``g`` independent groups.

    Attributes
    ----------
    outputs : Tensor, shape (g, O, O)
        Output-gradient moment while the basis is gathered, then its eigenvectors in columns.
    inputs : Tensor, shape (g, I, I)
        The same for the inputs; the bias is the last input.
    eigenvalues : Tensor, shape (g, O, I)
        Second moments of the gradient in the basis.
    """

    weight: str
    shape: torch.Size
    transposed: bool
    rows: tuple[int, int] | None
    bias: str | None
    bias_scale: float
    bias_rows: tuple[int, int] | None
    outputs: Float[Tensor, "g o o"]
    inputs: Float[Tensor, "g i i"]
    eigenvalues: Float[Tensor, "g o i"]

    @classmethod
    def like(cls, block: OuterBlock) -> KroneckerBlock:
        """Make an empty accumulator for blocks like this one."""
        groups = block.groups
        o, i = block.delta.shape[3] // groups, block.width // groups + (block.bias is not None)

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=block.delta.device)

        return cls(
            block.weight,
            block.shape,
            block.transposed,
            block.rows,
            block.bias,
            block.bias_scale,
            block.bias_rows,
            zeros(groups, o, o),
            zeros(groups, i, i),
            zeros(groups, o, i),
        )

    def gather_basis(self, block: Any) -> None:
        """Add a batch's factor moments.

        A position without output gradient, such as padding, is no part of a gradient, so its input does not count.
        """
        delta = block.delta.unflatten(3, (block.groups, -1))
        self.outputs += torch.einsum("brtgo,brtgp->gop", delta, delta).double()
        inputs = self._homogeneous(block)
        if delta.shape[2] > 1:
            inputs = inputs * (block.delta != 0).any(3).any(1)[:, :, None, None]
        self.inputs += torch.einsum("btgi,btgj->gij", inputs, inputs).double()

    def finish_basis(self) -> None:
        """Replace the moments by their eigenvectors."""
        self.outputs = torch.linalg.eigh(self.outputs).eigenvectors.contiguous()
        self.inputs = torch.linalg.eigh(self.inputs).eigenvectors.contiguous()

    def gather_eigenvalues(self, block: Any) -> None:
        """Add a batch's squared gradients in the basis."""
        self.eigenvalues += (self.rotate(block) ** 2).sum((0, 1)).double()

    def rotate(self, block: Any) -> Float[Tensor, "b r g o i"]:
        """Gradients of a batch in the basis; the factors are rotated before their product is formed."""
        dtype = block.delta.dtype
        delta = torch.einsum("brtgo,gop->brtgp", block.delta.unflatten(3, (block.groups, -1)), self.outputs.to(dtype))
        inputs = torch.einsum("btgi,gij->btgj", self._homogeneous(block), self.inputs.to(dtype))
        return torch.einsum("brtgo,btgi->brgoi", delta, inputs)

    def _homogeneous(self, block: OuterBlock) -> Float[Tensor, "b t g i"]:
        inputs = block.a.unflatten(2, (block.groups, -1))
        if block.bias is None:
            return inputs
        one = inputs.new_full((*inputs.shape[:3], 1), block.bias_scale)
        return torch.cat([inputs, one], 3)

    def product(self, gradients: Mapping[str, Tensor], change: Change) -> dict[str, Tensor]:
        """Multiply a function of F with vectors by parameter name, shape (n, *parameter); zero outside the block."""
        groups, o, i = self.eigenvalues.shape
        weight = gradients[self.weight]
        dtype, columns = weight.dtype, i - (self.bias is not None)
        rows = slice(*self.rows) if self.rows else slice(None)
        matrix = weight[:, rows].reshape(len(weight), groups, *((columns, o) if self.transposed else (o, columns)))
        matrix = matrix.transpose(2, 3) if self.transposed else matrix
        if self.bias is not None:
            bias_rows = slice(*self.bias_rows) if self.bias_rows else slice(None)
            bias = gradients[self.bias][:, bias_rows].reshape(len(weight), groups, o, 1)
            matrix = torch.cat([matrix, bias], 3)
        outputs, inputs = self.outputs.to(dtype), self.inputs.to(dtype)
        rotated = change(outputs.mT @ matrix @ inputs, self.eigenvalues)
        solved = outputs @ rotated @ inputs.mT
        found = torch.zeros_like(weight)
        body = solved[..., :columns]
        found[:, rows] = (body.mT if self.transposed else body).reshape(found[:, rows].shape)
        result = {self.weight: found}
        if self.bias is not None:
            result[self.bias] = torch.zeros_like(gradients[self.bias])
            result[self.bias][:, bias_rows] = solved[..., columns].reshape(len(weight), -1)
        return result


@dataclass
class DiagonalBlock:
    """Second moment of every entry of one parameter (or of some of its rows).

    Attributes
    ----------
    eigenvalues : Tensor, shape of the parameter
        Zero outside ``rows``.
    """

    weight: str
    rows: tuple[int, int] | None
    eigenvalues: Tensor

    @classmethod
    def like(cls, block: Block) -> DiagonalBlock:
        """Make an empty accumulator for blocks like this one."""
        first = next(iter(block.take(slice(0, 1)).gradients().values()))
        zeros = torch.zeros(block.shape, dtype=torch.float64, device=first.device)
        return cls(block.weight, getattr(block, "rows", None), zeros)

    def gather_basis(self, block: Any) -> None:
        """Do nothing: the basis is the parameter's own."""

    def finish_basis(self) -> None:
        """Do nothing: the basis is the parameter's own."""

    def gather_eigenvalues(self, block: Any) -> None:
        """Add a batch's squared gradients."""
        self.eigenvalues += (self.rotate(block) ** 2).sum((0, 1)).double()

    def rotate(self, block: Any) -> Tensor:
        """Gradients of a batch, (B, R, *parameter)."""
        return block.gradients()[self.weight]

    def product(self, gradients: Mapping[str, Tensor], change: Change) -> dict[str, Tensor]:
        """Multiply a function of F with vectors by parameter name, shape (n, *parameter); zero outside the block."""
        vector = gradients[self.weight]
        solved = change(vector, self.eigenvalues)
        if self.rows:
            inside = torch.zeros_like(solved)
            inside[:, self.rows[0] : self.rows[1]] = solved[:, self.rows[0] : self.rows[1]]
            solved = inside
        return {self.weight: solved}


FisherBlock = KroneckerBlock | DiagonalBlock


def empty_fisher(block: Block) -> FisherBlock:
    """Accumulator of the kind that fits a block's gradients."""
    return KroneckerBlock.like(block) if isinstance(block, OuterBlock) else DiagonalBlock.like(block)
