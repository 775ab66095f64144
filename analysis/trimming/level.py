r"""Exact trimming levels: how much of a run's output distribution must be trimmed to fit a reference.

For a candidate P_n and a reference G, the robust Kolmogorov-Smirnov distance is

.. math:: D(\alpha) = \min_{P' \in R_\alpha(P_n)} \sup_t |P'(t) - G(t)|,

where R_alpha holds the laws with density at most s = 1/(1 - alpha) against P_n (alpha-trimmings, arXiv
1903.08573). The trimming level is the smallest alpha with D(alpha) <= delta (arXiv 2310.00541, 2406.08307).
Here no grid is searched: with the trimmed distribution eliminated, D is a maximum of lines in s,

.. math:: \max\{\,h_j - s F_j;\; (1-l_i) - s(1-F_i);\; \tfrac12[(h_j-l_i) - s(F_j-F_i)],\, i \le j\,\},

with l, h the range of G in the cells between candidate values and F the candidate's distribution. It is
convex and falls in s, so that Newton's method from s = 1 never overshoots and ends at the exact root after a
few O(n) steps. Everything runs in float64 on PyTorch tensors, on the CPU and on a GPU through the same lines.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from analysis.trimming.distributions import (
    ContinuousReference,
    Real,
    Reference,
    Rows,
    Sample,
    SortedRuns,
    StepReference,
    as_float_tensor,
    build_cells,
    sort_values,
)
from analysis.trimming.solver import Tolerance, TrimmingResult, robust_distance, solve_levels
from kernels.arguments import checked_arguments


@dataclass(frozen=True)
class TrimmingPlan:
    """An optimal trimming of one candidate, for plots.

    Attributes
    ----------
    values : ndarray, shape (k,)
        Distinct candidate values in ascending order.
    kept : ndarray, shape (k,)
        Density of the trimmed law against the candidate at each value, from 0 (dropped) to 1/(1 - alpha).
    trimmed_cdf, candidate_cdf, reference_cdf : ndarray, shape (k,)
        Distributions at the values.
    distance : float
        Supremum distance of the trimmed law to the reference: D(alpha).
    alpha : float
        Share that is trimmed.
    """

    values: Float[np.ndarray, " k"]
    kept: Float[np.ndarray, " k"]
    trimmed_cdf: Float[np.ndarray, " k"]
    candidate_cdf: Float[np.ndarray, " k"]
    reference_cdf: Float[np.ndarray, " k"]
    distance: float
    alpha: float


def as_reference(
    reference: Sample | Rows | Reference | Callable[[Tensor], Tensor],
    *,
    weights: Num[np.ndarray, " _"] | None = None,
    device: str | torch.device | None = None,
) -> Reference:
    """Turn an argument of the public functions into a reference.

    A one-dimensional array is one sample; the rows of a two-dimensional one are pooled (mixture, with the row
    length as sample size); a callable is a known continuous distribution; a reference passes through.
    """
    if isinstance(reference, StepReference | ContinuousReference):
        return reference
    if callable(reference) and not isinstance(reference, Tensor):
        return ContinuousReference(reference)
    values = as_float_tensor(reference, "reference", device)
    if weights is None:
        return StepReference(sort_values(values.reshape(1, -1)), size=float(values.shape[-1]))
    atoms, prefix = _weighted(values, weights, "reference_weights")
    return StepReference(atoms, float(values.shape[-1]), prefix)


def _weighted(values: Tensor, weights: Num[np.ndarray, " _"], name: str) -> tuple[Tensor, Tensor]:
    mass = as_float_tensor(weights, name, values.device).to(torch.float64)
    if mass.shape != values.shape or bool((mass < 0).any()) or not bool(mass.sum() > 0):
        raise ValueError(f"{name} must be non-negative, not all zero, and of shape {tuple(values.shape)}")
    ordered, order = torch.sort(values[None], dim=1)
    return ordered, torch.nn.functional.pad(torch.cumsum(mass[order], dim=1), (1, 0))


def _candidate(values: Sample, weights: Num[np.ndarray, " _"] | None) -> SortedRuns:
    tensor = as_float_tensor(values, "candidate")
    if weights is None:
        return SortedRuns(sort_values(tensor[None]))
    ordered, prefix = _weighted(tensor, weights, "candidate_weights")
    return SortedRuns(ordered, prefix=prefix)


def check_delta(delta: Real) -> None:
    """Refuse tolerances that decide nothing.

    Raises
    ------
    ValueError
        Unless 0 <= delta < 1.
    """
    if not 0 <= delta < 1:
        why = "nothing can be rejected at delta >= 1" if delta >= 1 else "it must be a number"
        raise ValueError(f"delta = {delta} is outside [0, 1): {why}; a DKW delta below 1 needs larger samples")
    if delta >= 0.5:
        warnings.warn(f"delta = {delta:.3g} is so wide that few candidates can be rejected", UserWarning, stacklevel=3)


def check_alpha(alpha: Real) -> None:
    """Refuse trimming shares outside [0, 1)."""
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha = {alpha} is outside [0, 1): it is the share of the candidate that may be trimmed")


@checked_arguments
def trimming_level(
    candidate: Sample,
    reference: Sample | Reference | Callable[[Tensor], Tensor],
    *,
    delta: Real,
    candidate_weights: Num[np.ndarray, " _"] | None = None,
    reference_weights: Num[np.ndarray, " _"] | None = None,
) -> float:
    """Smallest share of the candidate to trim until it is within ``delta`` of the reference.

    Parameters
    ----------
    candidate : array, shape (n,)
        One run's values; only the candidate is trimmed.
    reference : array, shape (k,), Reference, or callable
        Sample, prepared reference, or known continuous distribution function.
    delta : float
        Tolerance on the Kolmogorov-Smirnov scale, in [0, 1).
    candidate_weights, reference_weights : array, optional
        Non-negative weights of the values.

    Returns
    -------
    float
        Level in [0, 1]; 1 where no trimming suffices (``trimming_results`` flags it).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import trimming_level
    >>> reference = np.linspace(0, 1, 100)
    >>> candidate = np.append(reference, np.full(25, 9.0))  # a fifth of the run's values are outliers
    >>> round(trimming_level(candidate, reference, delta=0.05), 3)
    0.158
    """
    check_delta(delta)
    runs = _candidate(candidate, candidate_weights)
    prepared = as_reference(reference, weights=reference_weights, device=runs.values.device)
    return float(solve_levels(runs, prepared, [Tolerance(delta)])[0].level[0])


def robust_ks_distance(
    candidate: Sample,
    reference: Sample | Reference | Callable[[Tensor], Tensor],
    *,
    alpha: Real,
    candidate_weights: Num[np.ndarray, " _"] | None = None,
    reference_weights: Num[np.ndarray, " _"] | None = None,
) -> float:
    """Kolmogorov-Smirnov distance to the reference after the best trimming of a share ``alpha``.

    Parameters are those of `trimming_level`; ``alpha`` is in [0, 1), and 0 gives the two-sample KS
    statistic.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import robust_ks_distance
    >>> reference = np.linspace(0, 1, 100)
    >>> candidate = np.append(reference, np.full(25, 9.0))  # a fifth of the run's values are outliers
    >>> [round(robust_ks_distance(candidate, reference, alpha=alpha), 3) for alpha in (0.0, 0.1, 0.2)]
    [0.2, 0.111, 0.0]
    """
    check_alpha(alpha)
    runs = _candidate(candidate, candidate_weights)
    prepared = as_reference(reference, weights=reference_weights, device=runs.values.device)
    return float(robust_distance(build_cells(runs, prepared), 1 / (1 - alpha))[0])


def trimming_results(
    gaps: Rows,
    reference: Sample | Rows | Reference | Callable[[Tensor], Tensor],
    *,
    deltas: Sequence[Real],
    device: str | torch.device | None = None,
    memory: int = 2**31,
) -> list[TrimmingResult]:
    """Levels, flags, KS distances and floors of many runs at several tolerances.

    Parameters
    ----------
    gaps : array, shape (m, n)
        One run per row.
    reference : array, Reference, or callable
        See `as_reference`.
    deltas : sequence of float
        Tolerances, each in [0, 1).
    device : str or torch.device, optional
        Where to compute; default: the device of the data.
    memory : int
        Budget in bytes for work arrays (copies of the input are not counted).
    """
    for delta in deltas:
        check_delta(delta)
    values = as_float_tensor(gaps, "gaps", device)
    prepared = as_reference(reference, device=values.device)
    return solve_levels(SortedRuns.of(values), prepared, [Tolerance(delta) for delta in deltas], memory=memory)


def trimming_levels(
    gaps: Rows,
    reference: Sample | Rows | Reference | Callable[[Tensor], Tensor],
    *,
    delta: Real,
    device: str | torch.device | None = None,
    memory: int = 2**31,
) -> Float[np.ndarray, " m"]:
    """Trimming level of every row; see `trimming_results` for parameters, flags and companions.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import trimming_levels
    >>> rng = np.random.default_rng(0)
    >>> runs = rng.normal([[0.0], [0.5], [1.0]], 1.0, size=(3, 400))
    >>> trimming_levels(runs, rng.normal(size=4000), delta=0.1).round(2)
    array([0.  , 0.3 , 0.79])
    """
    return trimming_results(gaps, reference, deltas=[delta], device=device, memory=memory)[0].level


def robust_ks_curves(
    gaps: Rows,
    reference: Sample | Rows | Reference | Callable[[Tensor], Tensor],
    *,
    alphas: Sequence[Real],
    device: str | torch.device | None = None,
) -> Float[np.ndarray, "a m"]:
    """D(alpha) of every run on a grid of trimming shares, for plots.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import robust_ks_curves
    >>> reference = np.linspace(0, 1, 100)
    >>> runs = np.stack([reference, np.where(reference < 0.8, reference, 9.0)])  # a fifth are outliers
    >>> robust_ks_curves(runs, reference, alphas=[0.0, 0.1, 0.2]).round(2)
    array([[0.  , 0.2 ],
           [0.  , 0.11],
           [0.  , 0.1 ]])
    """
    for alpha in alphas:
        check_alpha(alpha)
    values = as_float_tensor(gaps, "gaps", device)
    cells = build_cells(SortedRuns.of(values), as_reference(reference, device=values.device))
    return torch.stack([robust_distance(cells, 1 / (1 - alpha)) for alpha in alphas]).cpu().numpy()


def optimal_trimming(candidate: Sample, reference: Sample | Reference, *, alpha: Real) -> TrimmingPlan:
    """Density of an optimal trimming at each candidate value, for strips and shaded distributions.

    The trimmed distribution is H = g + sF with g the mid-point between the running extremes of hi - sF (from
    the right) and lo - sF (from the left), clipped to [1 - s, 0]; it attains D(alpha).

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.trimming import optimal_trimming
    >>> plan = optimal_trimming(np.array([0.0, 1.0, 2.0, 9.0]), np.array([0.0, 1.0, 2.0]), alpha=0.25)
    >>> plan.kept.round(2)  # the outlier is dropped and the others gain its weight
    array([1.33, 1.33, 1.33, 0.  ])
    >>> round(plan.distance, 3)
    0.0
    """
    check_alpha(alpha)
    runs = _candidate(candidate, None)
    cells = build_cells(runs, as_reference(reference, device=runs.values.device))
    s = 1 / (1 - alpha)
    scaled = cells.mass * s
    least = torch.cummin(cells.lo - scaled, dim=1).values
    greatest = torch.cummax((cells.hi - scaled).flip(1), dim=1).values.flip(1)
    slack = ((least + greatest) / 2).clamp(1 - s, 0)
    slack[:, 0], slack[:, -1] = 0, 1 - s
    used = torch.isfinite(cells.lo)
    trimmed, mass = (slack + scaled)[used], cells.mass.expand_as(used)[used]
    gap = torch.maximum(cells.hi[used] - trimmed, trimmed - cells.lo[used]).max()
    kept = (trimmed.diff() / mass.diff()).clamp(0, s)
    distinct = runs.values[used[:, 1:]]
    return TrimmingPlan(
        values=distinct.to(torch.float64).cpu().numpy(),
        kept=kept.cpu().numpy(),
        trimmed_cdf=trimmed[1:].cpu().numpy(),
        candidate_cdf=mass[1:].cpu().numpy(),
        reference_cdf=cells.lo[used][1:].cpu().numpy(),
        distance=float(gap),
        alpha=float(alpha),
    )
