"""Principal components of features that are read in blocks: covariance, Gram or randomized.

Only three things are ever needed from a layer: its mean, its leading components and its total variance. The
total variance is a trace and costs one pass, so explained-variance ratios are exact even where only the
leading components are known.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.probes.moments import FeatureBlocks, StreamedMoments, centered_rows, checked_blocks, mean_and_total
from kernels.arguments import checked_arguments

Route = Literal["covariance", "gram", "randomized"]
_log = logging.getLogger(__name__)

POWER_PASSES = 4
OVERSAMPLING = 16
COVARIANCE_WIDTH = 4096


@dataclass(frozen=True)
class PrincipalComponents:
    """Leading principal components of a layer.

    Attributes
    ----------
    mean : Tensor, float64, shape (D,)
    components : Tensor, float64, shape (r, D)
        Orthonormal rows; each row's largest loading in absolute value is positive.
    variances : Tensor, float64, shape (r,)
        Population variances λ_1 ≥ ... ≥ λ_r (s²/n) along the components.
    total_variance : float
        Trace of the population covariance over all D directions.
    route : str
        How they were computed: covariance, gram or randomized.
    """

    mean: Float[Tensor, " d"]
    components: Float[Tensor, "r d"]
    variances: Float[Tensor, " r"]
    total_variance: float
    route: str

    @property
    def degenerate(self) -> bool:
        """Whether the layer is constant over the rows, so that it has no direction at all."""
        return self.variances.numel() == 0

    @property
    def explained_variance(self) -> Float[Tensor, " r"]:
        """Cumulative explained-variance ratio EVR(k) for k = 1..r; empty for a degenerate layer."""
        return self.variances.cumsum(0) / self.total_variance

    def scores(self, features: FeatureBlocks, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "n r"]:
        """Project rows on the components with this (training) mean: z = V(h - m).

        Parameters
        ----------
        features : FeatureBlocks
            Rows of the same width, from any split.
        dtype : torch.dtype
            Precision of the result; centering is done in float64.
        """
        self._check_width(features)
        basis = self.components.T.to(dtype)
        parts = [centered_rows(block, self.mean, dtype) @ basis for block in checked_blocks(features)]
        return torch.cat(parts)

    def centered(self, features: FeatureBlocks, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "n d"]:
        """Rows minus this (training) mean: what "all components" means for distances and affine probes."""
        self._check_width(features)
        return torch.cat([centered_rows(block, self.mean, dtype) for block in checked_blocks(features)])

    def _check_width(self, features: FeatureBlocks) -> None:
        if features.width != self.mean.shape[0]:
            raise ValueError(f"{features.layer}: width {features.width} is not the fitted width {self.mean.shape[0]}.")


def pca_plan(rows: int, width: int, rank: int, *, memory: int = 8 << 30) -> tuple[Route, int]:
    """Choose a route and estimate how many bytes it allocates in addition to the features.

    Covariance up to a width of 4,096, Gram where there are fewer rows than features, else a randomized range
    finder; a route whose workspace exceeds `memory` is replaced by the randomized one.

    Parameters
    ----------
    rows, width, rank : int
        Shape of the training matrix and number of components wanted.
    memory : int
        Budget in bytes.

    Returns
    -------
    route : str
    bytes : int
    """
    # eigh keeps the matrix, its eigenvectors and a workspace of the same size
    needs: dict[Route, int] = {
        "covariance": 3 * 8 * width * width,
        "gram": 3 * 8 * rows * rows + 8 * rank * width,
        "randomized": 3 * 8 * width * (rank + OVERSAMPLING),
    }
    preferred: Route = "covariance" if width <= COVARIANCE_WIDTH else "gram" if width > rows else "randomized"
    if preferred == "covariance" and rows < width // 2:
        preferred = "gram"
    if needs[preferred] > memory:
        _log.warning("%s PCA needs %.2f GB, over budget: randomized instead", preferred, needs[preferred] / 1e9)
        preferred = "randomized"
    return preferred, needs[preferred]


@checked_arguments
def fit_pca(
    features: FeatureBlocks,
    rank: int,
    *,
    route: Route | None = None,
    memory: int = 8 << 30,
    generator: torch.Generator | None = None,
) -> PrincipalComponents:
    """Fit the leading components of a feature matrix that is read in blocks.

    Parameters
    ----------
    features : FeatureBlocks
        Training rows; test rows must never be among them.
    rank : int
        Components wanted. Clipped to the numerical rank, with one warning.
    route : {"covariance", "gram", "randomized"}, optional
        Forces a route; by default the one that `pca_plan` chooses.
    memory : int
        Workspace budget in bytes for the plan.
    generator : torch.Generator, optional
        Starts the randomized route; needed by that route only.

    Returns
    -------
    PrincipalComponents
        Without any component where the layer is constant (`degenerate`).

    Raises
    ------
    ValueError
        For fewer than two rows, non-finite features (layer and row are named), or a missing generator.

    References
    ----------
    Halko, Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4 (randomized subspace iteration).

    Examples
    --------
    >>> import torch
    >>> from analysis.probes import FeatureBlocks, fit_pca
    >>> rows = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([10.0, 1.0, 0.1])
    >>> pca = fit_pca(FeatureBlocks.from_array(rows, block=64), rank=2)
    >>> [round(share, 4) for share in pca.explained_variance.tolist()]
    [0.9903, 0.9999]
    """
    if rank < 1 or features.rows < 2:
        raise ValueError(f"{features.layer}: PCA needs rank ≥ 1 and two rows; got {rank} and {features.rows}.")
    wanted = min(rank, features.rows - 1, features.width)
    planned, size = pca_plan(features.rows, features.width, wanted, memory=memory)
    route = route or planned
    _log.info(
        "%s: %d x %d, %s PCA, %.3f GB workspace",
        features.layer,
        features.rows,
        features.width,
        route,
        size / 1e9,
    )
    if route == "covariance":
        mean, total, variances, components = _by_covariance(features, wanted)
    elif route == "gram":
        mean, total, variances, components = _by_gram(features, wanted)
    else:
        if generator is None:
            raise ValueError("the randomized route draws random directions: pass a torch.Generator.")
        mean, total, variances, components = _by_subspace_iteration(features, wanted, generator)
    # below this a direction is rounding noise: of the products (relative to λ_1), or of subtracting the mean
    dtype = next(features.read()).dtype
    relative = max(features.rows, features.width) * 2.0**-52 if dtype == torch.float64 else 5e-7
    floor = max(relative * float(variances.amax()), float((1e-12 * mean.abs().amax()) ** 2))
    kept = int((variances > floor).sum())
    if kept < rank:
        _log.warning("%s: %d components requested, numerical rank %d: clipped", features.layer, rank, kept)
    components = components[:kept]
    peak = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    return PrincipalComponents(mean, components * peak.sign(), variances[:kept], total, route)


def _by_covariance(features: FeatureBlocks, wanted: int) -> tuple[Tensor, float, Tensor, Tensor]:
    moments: StreamedMoments | None = None
    for block in checked_blocks(features):
        moments = moments or StreamedMoments(features.width, block.device)
        moments.update(block)
    assert moments is not None  # checked_blocks refuses an empty stream
    covariance = moments.covariance
    total = float(covariance.trace())
    values, vectors = torch.linalg.eigh(covariance)
    return (
        moments.mean,
        total,
        values.flip(0)[:wanted].clamp_min(0),
        vectors.flip(1)[:, :wanted].T.contiguous(),
    )


def _by_gram(features: FeatureBlocks, wanted: int) -> tuple[Tensor, float, Tensor, Tensor]:
    mean, total = mean_and_total(features)
    gram = torch.zeros(features.rows, features.rows, dtype=torch.float64, device=mean.device)
    top = 0
    for block in checked_blocks(features):
        rows = centered_rows(block, mean)
        left = 0
        for other in features.read():
            if left > top:
                break
            part = (rows @ centered_rows(other, mean).T).to(torch.float64)
            gram[top : top + part.shape[0], left : left + part.shape[1]] = part
            gram[left : left + part.shape[1], top : top + part.shape[0]] = part.T
            left += part.shape[1]
        top += rows.shape[0]
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0)[:wanted].clamp_min(0), vectors.flip(1)[:, :wanted]
    components = torch.zeros(wanted, features.width, dtype=torch.float64, device=mean.device)
    top = 0
    for block in checked_blocks(features):
        part = vectors[top : top + block.shape[0]].T.to(block.dtype)
        components += (part @ centered_rows(block, mean)).to(torch.float64)
        top += block.shape[0]
    lengths = components.norm(dim=1, keepdim=True)
    components = components / torch.where(lengths > 0, lengths, torch.ones_like(lengths))
    return mean, total, values / features.rows, components


def _by_subspace_iteration(
    features: FeatureBlocks, wanted: int, generator: torch.Generator
) -> tuple[Tensor, float, Tensor, Tensor]:
    mean, total = mean_and_total(features)
    size = min(wanted + OVERSAMPLING, features.width)
    start = torch.randn(features.width, size, generator=generator, dtype=torch.float64, device=generator.device)
    basis = torch.linalg.qr(start.to(mean.device)).Q
    for _ in range(POWER_PASSES):
        image = torch.zeros_like(basis)
        for block in checked_blocks(features):
            rows = centered_rows(block, mean)
            image += (rows.T @ (rows @ basis.to(rows.dtype))).to(torch.float64)
        basis = torch.linalg.qr(image).Q
    small = torch.zeros(size, size, dtype=torch.float64, device=mean.device)
    for block in checked_blocks(features):
        part = centered_rows(block, mean) @ basis.to(block.dtype)
        small += (part.T @ part).to(torch.float64)
    values, vectors = torch.linalg.eigh(small / features.rows)
    order = torch.arange(size - 1, size - 1 - wanted, -1, device=mean.device)
    return mean, total, values[order].clamp_min(0), (basis @ vectors[:, order]).T.contiguous()
