"""Neural collapse of one layer: NC1 to NC4 without ever forming a D x D matrix.

References
----------
Papyan, Han and Donoho, arXiv 2008.08186 (NC1-NC4); Galanti, György and Hutter, arXiv 2112.15121
(class-distance-normalized variance).
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.checks import check_every_class
from analysis.probes.moments import FeatureBlocks, checked_blocks
from kernels.arguments import checked_arguments


class NeuralCollapse(TypedDict):
    """Collapse measures of one layer; all are zero for perfectly collapsed simplex features.

    Attributes
    ----------
    nc1 : float
        tr(Σ_W Σ_B⁺)/C over the directions kept.
    nc1_trace : float
        tr Σ_W / tr Σ_B.
    cdnv : float
        (v_c + v_c') / (2‖μ_c - μ_c'‖²), averaged over pairs of classes.
    nc2_norms : float
        Standard deviation of ‖μ_c - μ_G‖ over its mean.
    nc2_cosines : float
        Standard deviation of the cosines between centered class means.
    nc2_angles : float
        Mean |cos + 1/(C-1)|.
    directions : int
        Between-class directions kept (at most C-1).
    cutoff : float
        Relative cut-off on the singular values of the centered means.
    """

    nc1: float
    nc1_trace: float
    cdnv: float
    nc2_norms: float
    nc2_cosines: float
    nc2_angles: float
    directions: int
    cutoff: float


@checked_arguments
def measure_neural_collapse(
    features: FeatureBlocks, labels: Int[np.ndarray, " n"], classes: int, *, cutoff: float = 1e-8
) -> NeuralCollapse:
    """Measure NC1 and NC2 of a layer in two passes over its rows.

    With B = [μ_c - μ_G]/√C = P diag(s) Qᵀ, NC1 = (1/C) Σ_j p_jᵀ Σ_W p_j / s_j² over s_j > cutoff · s_1: only
    the projections of within-class deviations on at most C-1 directions are needed. Σ_W is the mean of the
    classes' covariances (divisor n_c), μ_G the mean of the class means.

    Parameters
    ----------
    features : FeatureBlocks
        Rows of one layer.
    labels : int ndarray, shape (n,)
        Class codes 0..classes-1 in the order of the rows.
    classes : int
        Number of classes C.
    cutoff : float
        Singular values below this share of the largest are treated as zero. The C-th always is (about 1e-15).

    Returns
    -------
    NeuralCollapse
        NaN everywhere, with `directions=0`, where all class means coincide (a constant layer).

    Raises
    ------
    ValueError
        If a class is missing or there is only one (NC1 is undefined), or features are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from analysis.probes import FeatureBlocks, measure_neural_collapse
    >>> labels, noise = np.arange(90) % 3, torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    >>> for width in (0.5, 0.05):  # rows gather around three orthogonal class means
    ...     features = FeatureBlocks.from_array(torch.eye(3)[labels] + width * noise)
    ...     print(round(measure_neural_collapse(features, labels, classes=3)["nc1"], 4))
    0.3583
    0.0039
    """
    if labels.shape[0] != features.rows:
        raise ValueError(f"{features.layer}: {features.rows} rows but {labels.shape[0]} labels.")
    if classes < 2:
        raise ValueError(f"{features.layer}: NC1 is undefined for a single class.")
    check_every_class(labels, classes, f"{features.layer} (NC1 is undefined)")
    means, codes = _class_sums(features, labels, classes)
    weights = torch.bincount(codes, minlength=classes).to(torch.float64)
    means = means / weights[:, None]
    centered = means - means.mean(dim=0)
    left, spread, _ = torch.linalg.svd(centered.T / classes**0.5, full_matrices=False)
    # equal means leave only the rounding of their subtraction
    floor = max(cutoff * float(spread[0]), 1e-12 * float(means.abs().amax()))
    kept = int((spread[: classes - 1] > floor).sum())
    if kept == 0:
        nan = float("nan")
        return NeuralCollapse(
            nc1=nan,
            nc1_trace=nan,
            cdnv=nan,
            nc2_norms=nan,
            nc2_cosines=nan,
            nc2_angles=nan,
            directions=0,
            cutoff=cutoff,
        )
    inside, variance = _within_class(features, codes, means, weights, left[:, :kept])
    nc1 = float((inside.mean(dim=0) / spread[:kept].square()).sum()) / classes
    norms = centered.norm(dim=1)
    pair = ~torch.eye(classes, dtype=torch.bool, device=means.device)
    cosines = ((centered @ centered.T) / (norms[:, None] * norms))[pair]
    gaps = torch.cdist(means, means).square()
    cdnv = ((variance[:, None] + variance) / 2.0)[pair] / gaps[pair]
    return NeuralCollapse(
        nc1=nc1,
        nc1_trace=float(variance.mean() / spread.square().sum()),
        cdnv=float(cdnv.mean()),
        nc2_norms=float(norms.std(correction=0) / norms.mean()),
        nc2_cosines=float(cosines.std(correction=0)),
        nc2_angles=float((cosines + 1.0 / (classes - 1)).abs().mean()),
        directions=kept,
        cutoff=cutoff,
    )


def self_duality_gap(weight: Float[Tensor, "C d"], means: Float[Tensor, "C d"]) -> float:
    """NC3, ‖W/‖W‖_F - M/‖M‖_F‖_F², between the last layer's weights and the centered class means of its input.

    Parameters
    ----------
    weight : Tensor, shape (C, D)
        Weights of the output layer.
    means : Tensor, shape (C, D)
        Class means of that layer's input, centered here.

    Returns
    -------
    float
        0 for self-dual classifiers, 2 for unrelated ones, 4 for opposite ones.

    Examples
    --------
    >>> import torch
    >>> from analysis.probes import self_duality_gap
    >>> means = torch.eye(4) + 7.0  # class means of the penultimate layer; their common offset does not count
    >>> head = torch.eye(4) - 0.25
    >>> round(self_duality_gap(2.0 * head, means), 6), round(self_duality_gap(-head, means), 6)
    (0.0, 4.0)
    """
    centered = means.to(torch.float64) - means.to(torch.float64).mean(dim=0)
    wide = weight.to(torch.float64)
    if float(wide.norm()) == 0.0 or float(centered.norm()) == 0.0:
        raise ValueError("NC3 is undefined: the output weights or the centered class means are all zero.")
    return float((wide / wide.norm() - centered / centered.norm()).square().sum())


def center_mismatch(nearest_center: Int[np.ndarray, " n"], network: Int[np.ndarray, " m"]) -> float:
    """NC4, the share of samples where the nearest class-center and the network disagree.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.probes import center_mismatch
    >>> center_mismatch(np.array([0, 1, 1, 2]), network=np.array([0, 1, 2, 2]))
    0.25
    """
    if nearest_center.shape != network.shape or network.size == 0:
        raise ValueError(f"NC4 compares equally many predictions, got {nearest_center.shape} and {network.shape}.")
    return float(np.mean(nearest_center != network))


def _class_sums(features: FeatureBlocks, labels: np.ndarray, classes: int) -> tuple[Tensor, Tensor]:
    sums, codes, start = torch.zeros(0), torch.as_tensor(labels), 0
    for block in checked_blocks(features):
        if start == 0:
            sums = torch.zeros(classes, features.width, dtype=torch.float64, device=block.device)
            codes = codes.to(block.device)
        sums.index_add_(0, codes[start : start + block.shape[0]], block.to(torch.float64))
        start += block.shape[0]
    return sums, codes


def _within_class(
    features: FeatureBlocks, codes: Tensor, means: Tensor, counts: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    classes = means.shape[0]
    along = torch.zeros(classes, directions.shape[1], dtype=torch.float64, device=means.device)
    whole = torch.zeros(classes, dtype=torch.float64, device=means.device)
    start = 0
    for block in features.read():
        here = codes[start : start + block.shape[0]]
        deviation = block.to(torch.float64) - means[here]
        along.index_add_(0, here, (deviation @ directions).square())
        whole.index_add_(0, here, deviation.square().sum(dim=1))
        start += block.shape[0]
    return along / counts[:, None], whole / counts
