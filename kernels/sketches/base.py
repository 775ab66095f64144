"""Base of the sketches of per-sample gradients: a linear map R^P -> R^dim fixed by (kind, dim, seed)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from math import pi, sqrt
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.gradients.blocks import Block, OuterBlock, TiedBlock, TokenBlock, VectorBlock
from kernels.machine.counter_hash import HASH_VERSION

CHUNK_BYTES = 64 * 2**20
"""Largest intermediate that a sketch makes at a time, unless one sample or coordinate alone is larger."""


class Sketch(ABC):
    """A random linear map S with E[SᵀS] = I (the scale is built in) that knows each parameter by its name.

    A gradient is accepted in the form in which a layer has it: factors, rows of a table or plain numbers give the
    same features. Since the map depends on the parameter's name and not on the module, the roles of a tied weight add
    up, and so do the features of different parameters.

    Parameters
    ----------
    dim : int
        Number of features; at least 1.
    seed : int
        Any integer.

    Raises
    ------
    ValueError
        If ``dim`` is below 1.

    Examples
    --------
    >>> from kernels.sketches.countsketch import CountSketch
    >>> CountSketch(dim=1024, seed=0).description
    {'sketch': 'countsketch', 'dim': '1024', 'seed': '0', 'version': '1'}
    """

    kind: ClassVar[str]

    def __init__(self, dim: int, seed: int) -> None:
        if dim < 1:
            raise ValueError(f"a sketch needs at least one dimension, got dim={dim}")
        self.dim = dim
        self.seed = seed

    @property
    def description(self) -> dict[str, str]:
        """What determines the map; features of two data sets are comparable only where these agree."""
        return {"sketch": self.kind, "dim": str(self.dim), "seed": str(self.seed), "version": str(HASH_VERSION)}

    def expected_error(self, classes: int = 1) -> float:
        """Mean absolute error of a cosine entry between orthogonal gradients.

        Half-normal with standard deviation 1/sqrt(C dim), for C sketched gradients a sample that are close to
        orthogonal: sqrt(2/pi)/sqrt(C dim). Entries of cosine rho have (1 - rho²) of it.
        """
        return sqrt(2 / pi / (classes * self.dim))

    def block(self, block: Block) -> Float[Tensor, "b r k"]:
        """Features of one block of per-sample gradients, to be added to those of the other blocks.

        Parameters
        ----------
        block : Block
            Factors or gradients of B samples and R cotangents.
        """
        if isinstance(block, TiedBlock):
            return torch.stack([self.block(role) for role in block.roles]).sum(0)
        if isinstance(block, TokenBlock):
            index = block.ids.clamp(min=0)[:, None].expand(block.delta.shape[:3]).flatten(0, 1)
            return self.rows(block.weight, index, block.delta.flatten(0, 1)).unflatten(0, block.delta.shape[:2])
        if isinstance(block, VectorBlock):
            return self._dense(block.weight, block.values, block.shape, block.rows)
        features = self.outer(block)
        if block.bias is not None:
            features += self._dense(block.bias, block.bias_vector(), block.bias_shape, block.bias_rows)
        return features

    def _dense(
        self, name: str, values: Float[Tensor, "b r d"], shape: torch.Size, rows: tuple[int, int] | None
    ) -> Float[Tensor, "b r k"]:
        first = rows[0] if rows else 0
        return self.dense(name, values.flatten(0, 1), shape[1:].numel(), first).unflatten(0, values.shape[:2])

    @abstractmethod
    def dense(
        self, name: str, gradient: Float[Tensor, "n p"], columns: int, first_row: int = 0
    ) -> Float[Tensor, "n k"]:
        """Features of gradients that are given as plain numbers.

        Parameters
        ----------
        name : str
            The parameter's name.
        gradient : Tensor, shape (n, p)
            One row per sample, in the parameter's own order.
        columns : int
            Product of the parameter's axes after the first; 1 for vectors.
        first_row : int
            Where along the parameter's first axis the gradient begins.
        """

    @abstractmethod
    def rows(self, name: str, index: Int[Tensor, "n t"], values: Float[Tensor, "n t c"]) -> Float[Tensor, "n k"]:
        """Features of a table's gradient, whose row v is the sum of ``values`` where ``index`` is v.

        Parameters
        ----------
        name : str
            The parameter's name.
        index : Tensor, shape (n, t)
            Row looked up at each position.
        values : Tensor, shape (n, t, c)
            Output gradient there; zero for what the table does not receive, such as padding.
        """

    def outer(self, block: OuterBlock) -> Float[Tensor, "b r k"]:
        """Features of a weight's gradient Σ_t δ_t a_tᵀ, formed for a few samples at a time.

        Parameters
        ----------
        block : OuterBlock
            Factors of the weight; its bias is left out.
        """
        cotangents = block.delta.shape[1]
        first = block.rows[0] if block.rows else 0
        parts = []
        for piece in in_pieces(block, entry_count(block) * cotangents):
            gradient = piece.outer()
            if block.transposed:
                gradient = gradient.transpose(3, 4)
            columns = gradient.shape[4]
            features = self.dense(block.weight, gradient.flatten(2).flatten(0, 1), columns, first)
            parts.append(features.unflatten(0, (-1, cotangents)))
        return torch.cat(parts)


def entry_count(block: OuterBlock) -> int:
    """Count the entries of the (part of the) weight that a block covers."""
    return block.delta.shape[3] * block.width // block.groups


def in_pieces(block: OuterBlock, numbers_per_sample: int) -> Iterator[OuterBlock]:
    """Slices of the batch whose intermediates stay within ``CHUNK_BYTES``."""
    step = max(1, CHUNK_BYTES // max(1, numbers_per_sample * block.delta.element_size()))
    for i in range(0, len(block.delta), step):
        yield block.take(slice(i, i + step))
