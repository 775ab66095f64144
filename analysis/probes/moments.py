"""Feature matrices that are read block by block, and their mean, scatter and total variance.

Blocks are refused where a shape is wrong or a value is not finite, with the layer and the row in the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class FeatureBlocks:
    """A feature matrix (rows x width) that can be read block by block, as often as needed.

    Parameters
    ----------
    rows, width : int
        Shape of the whole matrix.
    read : callable
        Returns a fresh iterator over blocks of consecutive rows, each (b, width), always in the same order.
    layer : str
        Name used in error messages.

    Examples
    --------
    >>> import torch
    >>> from analysis.probes import FeatureBlocks
    >>> features = FeatureBlocks.from_array(torch.arange(12.0).reshape(6, 2), block=4)
    >>> [tuple(block.shape) for block in features.read()]
    [(4, 2), (2, 2)]
    """

    rows: int
    width: int
    read: Callable[[], Iterator[Tensor]]
    layer: str = "features"

    @classmethod
    def from_array(cls, features: Float[Tensor, "n d"], *, block: int = 4096, layer: str = "features") -> FeatureBlocks:
        """Wrap a matrix that fits in memory; blocks are views."""
        rows, width = features.shape
        return cls(rows, width, lambda: iter(features.split(block)), layer)


class StreamedMoments:
    """Mean and scatter matrix of rows that arrive in batches; partial results merge in any order.

    Every batch is centered on its own mean before the product, so a large common offset costs no digits
    (pairwise update of Chan, Golub and LeVeque, 1983).

    Parameters
    ----------
    width : int
        Number of features D.
    device : torch.device or str
        Where the accumulators live.

    Attributes
    ----------
    count : int
        Rows seen.
    mean : Tensor, float64, shape (D,)
    scatter : Tensor, float64, shape (D, D)
        Sum of (x - mean)(x - mean)ᵀ.
    """

    def __init__(self, width: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.mean = torch.zeros(width, dtype=torch.float64, device=device)
        self.scatter = torch.zeros(width, width, dtype=torch.float64, device=device)

    @property
    def covariance(self) -> Float[Tensor, "d d"]:
        """Population covariance (divisor n)."""
        if self.count == 0:
            raise ValueError("StreamedMoments has seen no rows: call update first.")
        return self.scatter / self.count

    def update(self, batch: Float[Tensor, "b d"]) -> StreamedMoments:
        """Add a batch; products run in the batch's own precision, sums in float64."""
        if batch.shape[1] != self.mean.shape[0]:
            raise ValueError(f"batch has width {batch.shape[1]}, moments have width {self.mean.shape[0]}.")
        if batch.shape[0] == 0:
            return self
        wide = batch.to(self.mean.device, torch.float64)
        mean = wide.mean(dim=0)
        centered = (wide - mean).to(batch.dtype)
        return self._combine(batch.shape[0], mean, (centered.T @ centered).to(torch.float64))

    def merge(self, other: StreamedMoments) -> StreamedMoments:
        """Add the rows that another accumulator saw (another shard or rank)."""
        return self._combine(other.count, other.mean.to(self.mean.device), other.scatter.to(self.mean.device))

    def _combine(self, count: int, mean: Tensor, scatter: Tensor) -> StreamedMoments:
        if count == 0:
            return self
        total = self.count + count
        gap = mean - self.mean
        self.scatter += scatter
        self.scatter.addr_(gap, gap, alpha=self.count * count / total)
        self.mean += gap * (count / total)
        self.count = total
        return self


def checked_blocks(features: FeatureBlocks) -> Iterator[Tensor]:
    """Read blocks, refusing wrong shapes and non-finite values (layer and row are named)."""
    start = 0
    for block in features.read():
        if block.ndim != 2 or block.shape[1] != features.width:
            raise ValueError(
                f"{features.layer}: block {tuple(block.shape)} from row {start} is not (b, {features.width})."
            )
        broken = torch.nonzero(~torch.isfinite(block).all(dim=1))
        if broken.numel():
            raise ValueError(f"{features.layer}: non-finite features, first in row {start + int(broken[0])}.")
        start += block.shape[0]
        yield block
    if start != features.rows:
        raise ValueError(f"{features.layer}: {start} rows were read, {features.rows} were expected.")


def centered_rows(block: Tensor, mean: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Rows minus a mean; the difference is taken in float64 and returned in `dtype`, or the block's own."""
    return (block.to(torch.float64) - mean.to(block.device)).to(dtype or block.dtype)


def mean_and_total(features: FeatureBlocks) -> tuple[Tensor, float]:
    """Mean of all rows, float64 of shape (D,), and the trace of their population covariance, in one pass."""
    count, mean, scatter = 0, torch.zeros(1, dtype=torch.float64), 0.0
    for block in checked_blocks(features):
        wide = block.to(torch.float64)
        here = wide.mean(dim=0)
        gap = here - mean.to(here.device)
        total = count + block.shape[0]
        scatter += float((wide - here).square().sum() + gap.square().sum() * count * block.shape[0] / total)
        mean = here - gap * (count / total)
        count = total
    return mean, scatter / count
