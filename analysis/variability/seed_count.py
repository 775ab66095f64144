"""How many seeds: the distance of an M-run consensus to the expected distribution, and when to stop training more.

For fixed inputs E sup|G_M - G| <= sqrt(pi/(2M)), exceeded by t with probability <= exp(-2 M t^2); in practice the
distance is about c/sqrt(M) with c one to two times the largest spread of the runs' distributions. Seeds never cure a
small test set: the number of examples sets the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from analysis.trimming.distributions import Real, Rows, SortedRuns, StepReference, as_float_tensor, sort_values
from analysis.trimming.level import check_delta
from analysis.trimming.references import (
    check_kinds,
    check_runs,
    consensus_reference,
    disjoint_halves,
    reference_distance,
)
from analysis.trimming.solver import Tolerance, solve_levels
from kernels.arguments import checked_arguments


@dataclass(frozen=True)
class SeedCount:
    """What the stopping rule was decided on.

    Attributes
    ----------
    rungs : ndarray of int, shape (r,)
        Numbers of runs that were tried: 10, 20, 40, ... up to the number of runs.
    distance, distance_sd : ndarray, shape (r,)
        Mean and standard deviation over splits of the distance between two disjoint halves of M/2 runs.
    threshold : float
        delta/4; a half's distance is about twice the full mixture's error, hence delta/8 for the whole.
    recommended : int or None
        First number of runs at which two rungs running stayed below the threshold; None if there was none.
    planned : int
        Plan from the pilot, (z sd_max / (kappa delta))^2.
    sd_max : float
        Largest standard deviation over runs of F_w(t).
    """

    rungs: np.ndarray
    distance: Float[np.ndarray, " r"]
    distance_sd: Float[np.ndarray, " r"]
    threshold: float
    recommended: int | None
    planned: int
    sd_max: float

    def describe(self) -> str:
        """Say the recommendation in one line."""
        if self.recommended is None:
            return (
                f"no stop within {int(self.rungs[-1])} runs (half-to-half distance {self.distance[-1]:.4f}, wanted "
                f"below {self.threshold:.4f} twice running); the pilot's spread asks for about {self.planned} runs"
            )
        return (
            f"recommended M = {self.recommended}: half-to-half distance below {self.threshold:.4f} on two rungs "
            f"running (plan from the spread of the runs: {self.planned})"
        )


def distribution_spread(gaps: Rows, *, points: int = 512) -> float:
    """Largest standard deviation over runs of their distributions, max_t sd_w F_w(t), on pooled quantiles t."""
    runs = sort_values(as_float_tensor(gaps, "gaps"))
    check_runs(len(runs), "candidate")
    pooled = sort_values(runs.reshape(-1))
    grid = pooled[torch.linspace(0, len(pooled) - 1, points, device=pooled.device).long()]
    shares = torch.searchsorted(runs, grid.expand(len(runs), -1).contiguous(), right=True) / runs.shape[1]
    return float(shares.to(torch.float64).std(dim=0).max())


def planned_runs(spread: Real, *, delta: Real, z: Real = 3.0, kappa: Real = 0.5) -> int:
    """Plan the runs for which the mixture's error stays below ``kappa * delta``, M >= (z spread / (kappa delta))^2.

    Parameters
    ----------
    spread : float
        ``distribution_spread`` of a pilot of about 10 runs.
    delta : float
        Tolerance.
    z : float
        Quantile factor: 95 % of distances are below 1.8 to 3.2 spreads over sqrt(M).
    kappa : float
        Share of delta that the reference may be wrong by.

    Examples
    --------
    >>> from analysis.variability import planned_runs
    >>> planned_runs(0.1, delta=0.05)
    145
    """
    check_delta(delta)
    if delta == 0 or kappa <= 0:
        raise ValueError("planning needs delta > 0 and kappa > 0")
    return max(2, math.ceil((z * spread / (kappa * delta)) ** 2))


def split_half_distances(
    gaps: Float[Tensor, "m n"], runs: int, *, kind: str, splits: int, rng: np.random.Generator
) -> Float[np.ndarray, " s"]:
    """KS distances between the consensus of two disjoint random halves of ``runs`` runs."""
    found = np.empty(splits)
    for split in range(splits):
        taken = rng.permutation(len(gaps))[:runs]
        first, second = disjoint_halves(runs, rng)
        sides = [consensus_reference(gaps[torch.from_numpy(taken[half])], kind) for half in (first, second)]
        found[split] = reference_distance(*sides)
    return found


@checked_arguments
def recommend_seed_count(
    gaps: Rows,
    *,
    delta: Real,
    rng: np.random.Generator,
    kind: str = "mixture",
    first: int = 10,
    splits: int = 20,
) -> SeedCount:
    """Apply the stopping rule to the available runs.

    Parameters
    ----------
    gaps : array, shape (m, n)
        All runs on the same examples.
    delta : float
        Tolerance that the levels will use.
    rng : numpy.random.Generator
        Source of the splits.
    kind : str
        Reference; for the means, distances between halves show self-convergence only.
    first : int
        First rung; each one doubles.
    splits : int
        Random splits at each rung.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import recommend_seed_count
    >>> rng = np.random.default_rng(0)
    >>> gaps = rng.normal(size=500) + rng.normal(0, 0.1, size=(80, 1)) + 0.3 * rng.normal(size=(80, 500))
    >>> recommend_seed_count(gaps, delta=0.1, rng=rng, splits=5).recommended
    40
    """
    check_delta(delta)
    check_kinds([kind])
    runs = as_float_tensor(gaps, "gaps")
    if first < 1:
        raise ValueError(f"first={first} must be at least 1, such as first=10.")
    if len(runs) < max(4, first):
        raise ValueError(
            f"the stopping rule starts at {max(4, first)} runs, got {len(runs)}: train more, or lower first"
        )
    rungs = [first * 2**k for k in range(int(math.log2(len(runs) / first)) + 1)]
    means, spreads = [], []
    for rung in rungs:
        distances = split_half_distances(runs, rung, kind=kind, splits=splits, rng=rng)
        means.append(distances.mean())
        spreads.append(distances.std(ddof=1) if splits > 1 else 0.0)
    below = np.array(means) < delta / 4
    twice = np.flatnonzero(below[1:] & below[:-1])
    spread = distribution_spread(runs)
    return SeedCount(
        rungs=np.array(rungs),
        distance=np.array(means),
        distance_sd=np.array(spreads),
        threshold=float(delta / 4),
        recommended=rungs[twice[0] + 1] if len(twice) else None,
        planned=planned_runs(spread, delta=delta),
        sd_max=spread,
    )


@dataclass(frozen=True)
class EnsembleCurve:
    """Distance of the consensus of M runs to the mixture of disjoint runs, for random subsets of each size.

    Attributes
    ----------
    sizes : ndarray of int, shape (s,)
        Numbers of runs M.
    ks : ndarray, shape (s, b)
        KS distance of each of b subsets.
    level : ndarray, shape (s, b)
        Trimming level of the consensus at ``delta``.
    delta : float
        Tolerance of the levels.
    kind : str
        Consensus that was measured.
    """

    sizes: np.ndarray
    ks: Float[np.ndarray, "s b"]
    level: Float[np.ndarray, "s b"]
    delta: float
    kind: str


def ensemble_curve(
    gaps: Rows,
    reference_gaps: Rows,
    *,
    sizes: Sequence[int],
    delta: Real,
    rng: np.random.Generator,
    kind: str = "mixture",
    subsets: int = 20,
) -> EnsembleCurve:
    """Measure how the consensus of M runs approaches the expected distribution, estimated by disjoint runs.

    Parameters
    ----------
    gaps : array, shape (m, n)
        Runs from which subsets are drawn without replacement.
    reference_gaps : array, shape (k, n)
        Disjoint runs whose mixture stands for the expected distribution.
    sizes : sequence of int
        Numbers of runs, each at most m.
    delta : float
        Tolerance of the levels.
    rng : numpy.random.Generator
        Source of the subsets.
    kind : str
        Consensus of each subset.
    subsets : int
        Random subsets of each size.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import ensemble_curve
    >>> rng = np.random.default_rng(0)
    >>> gaps = rng.normal(size=200) + rng.normal(0, 0.4, size=(60, 1))
    >>> curve = ensemble_curve(gaps[:30], gaps[30:], sizes=[1, 4, 16], delta=0.1, rng=rng, subsets=5)
    >>> curve.ks.mean(axis=1).round(2)  # the distance falls with the number of runs
    array([0.16, 0.09, 0.03])
    """
    check_delta(delta)
    check_kinds([kind])
    runs, others = as_float_tensor(gaps, "gaps"), as_float_tensor(reference_gaps, "reference_gaps")
    check_runs(len(others), "reference")
    if min(sizes) < 1 or max(sizes) > len(runs):
        raise ValueError(f"sizes {list(sizes)} must be in 1..{len(runs)}, the number of runs")
    expected = consensus_reference(others, "mixture")
    ks, level = np.empty((len(sizes), subsets)), np.empty((len(sizes), subsets))
    for row, size in enumerate(sizes):
        for column in range(subsets):
            taken = torch.from_numpy(rng.permutation(len(runs))[:size])
            ensemble: StepReference = consensus_reference(runs[taken], kind)
            result = solve_levels(SortedRuns(ensemble.atoms), expected, [Tolerance(delta)])[0]
            ks[row, column], level[row, column] = result.ks[0], result.level[0]
    return EnsembleCurve(np.array(sizes), ks, level, float(delta), kind)
