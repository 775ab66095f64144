"""How often a test rejects: under the null (calibration) and under a real or planted shift (power by sample size)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from analysis.shift.permutation import TestResult

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
Test = Callable[..., TestResult]


@dataclass(frozen=True)
class RejectionRate:
    """Rejections over repeated draws.

    Attributes
    ----------
    test : str
    size : int
        Rows a side.
    repeats, rejections : int
    rate, low, high : float
        With the exact (Clopper-Pearson) 95 % interval.
    alpha : float
    """

    test: str
    size: int
    repeats: int
    rejections: int
    rate: float
    low: float
    high: float
    alpha: float


@dataclass(frozen=True)
class Calibration:
    """Null behavior of one test.

    Attributes
    ----------
    rate : RejectionRate
    band : tuple of int
        99 % binomial band of the number of rejections of an exact test at this level.
    calibrated : bool
        Rejections do not exceed the band; a discrete test may stay below it.
    super_uniform_p : float
        One-sided KS p-value against "p-values are stochastically at least uniform".
    p_values : ndarray, shape (repeats,)
    """

    rate: RejectionRate
    band: tuple[int, int]
    calibrated: bool
    super_uniform_p: float
    p_values: Float[np.ndarray, " repeats"]


def rejection_rate(
    name: str,
    test: Test,
    draw: Draw,
    *,
    size: int,
    repeats: int,
    generator: np.random.Generator,
    alpha: float = 0.05,
) -> tuple[RejectionRate, Float[np.ndarray, " repeats"]]:
    """Repeat a test over draws; each repeat has its own child generator, so their order does not matter.

    Parameters
    ----------
    name : str
    test : callable
        ``test(a, b, generator=...)``, for example `mmd_test` with `functools.partial` options.
    draw : callable
        Takes a Generator and returns two samples.
    size : int
        Rows a side, for the table.
    repeats : int
    generator : numpy Generator
    alpha : float

    Returns
    -------
    RejectionRate
    p_values : ndarray, shape (repeats,)
    """
    if repeats < 1:
        raise ValueError("a rejection rate needs at least one repeat.")
    p_values = np.empty(repeats)
    rejections = 0
    for i, child in enumerate(generator.spawn(repeats)):
        result = test(*draw(child), generator=child)
        p_values[i] = result.p_value
        rejections += result.rejects(alpha)
    low, high = stats.binomtest(rejections, repeats).proportion_ci(0.95)
    rate = RejectionRate(name, size, repeats, rejections, rejections / repeats, float(low), float(high), alpha)
    return rate, p_values


def power_curve(
    reference: Float[np.ndarray, "n d"],
    sample: Float[np.ndarray, "m d"],
    sizes: Sequence[int],
    tests: Mapping[str, Test],
    *,
    repeats: int,
    generator: np.random.Generator,
    alpha: float = 0.05,
) -> list[dict[str, object]]:
    """Rejection rate by sample size: subsets of both sources, without replacement.

    Parameters
    ----------
    reference, sample : ndarray, shape (n, d) and (m, d)
    sizes : sequence of int
        Rows a side.
    tests : dict of name to callable
    repeats : int
    generator : numpy Generator
    alpha : float

    Returns
    -------
    list of dict
        `RejectionRate` rows.

    Examples
    --------
    >>> import numpy as np
    >>> from functools import partial
    >>> from analysis.shift import mmd_test, power_curve
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.standard_normal((200, 3)), rng.standard_normal((200, 3)) + 0.5
    >>> rows = power_curve(a, b, [10, 40], {"MMD": partial(mmd_test, draws=19)}, repeats=20, generator=rng)
    >>> [(row["size"], row["rate"]) for row in rows]
    [(10, 0.2), (40, 0.85)]
    """
    limit = min(len(reference), len(sample))
    if max(sizes) > limit:
        raise ValueError(f"{max(sizes)} rows a side requested, the smaller source has {limit}.")
    rows = []
    for size in sizes:

        def draw(child: np.random.Generator, size: int = size) -> tuple[np.ndarray, np.ndarray]:
            left = child.choice(len(reference), size, replace=False)
            right = child.choice(len(sample), size, replace=False)
            return reference[left], sample[right]

        for name, test in tests.items():
            rate, _ = rejection_rate(name, test, draw, size=size, repeats=repeats, generator=generator, alpha=alpha)
            rows.append(asdict(rate))
    return rows


def null_calibration(
    source: Float[np.ndarray, "n d"],
    tests: Mapping[str, Test],
    *,
    size: int,
    repeats: int,
    generator: np.random.Generator,
    alpha: float = 0.05,
) -> dict[str, Calibration]:
    """Reject rates over disjoint pairs of draws from one source: every rejection is false.

    Parameters
    ----------
    source : ndarray, shape (n, d)
    tests : dict of name to callable
    size : int
        Rows a side; 2·size rows are needed.
    repeats : int
    generator : numpy Generator
    alpha : float

    Returns
    -------
    dict of name to Calibration

    Examples
    --------
    >>> import numpy as np
    >>> from functools import partial
    >>> from analysis.shift import mmd_test, null_calibration
    >>> rng = np.random.default_rng(0)
    >>> found = null_calibration(
    ...     rng.standard_normal((200, 3)), {"MMD": partial(mmd_test, draws=19)}, size=20, repeats=40, generator=rng
    ... )
    >>> found["MMD"].rate.rejections, found["MMD"].band, found["MMD"].calibrated
    (2, (0, 6), True)
    """
    if 2 * size > len(source):
        raise ValueError(f"two disjoint draws of {size} rows need {2 * size}, the source has {len(source)}.")

    def draw(child: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        rows = child.choice(len(source), 2 * size, replace=False)
        return source[rows[:size]], source[rows[size:]]

    low, high = (int(stats.binom.ppf(q, repeats, alpha)) for q in (0.005, 0.995))
    out = {}
    for name, test in tests.items():
        rate, p_values = rejection_rate(name, test, draw, size=size, repeats=repeats, generator=generator, alpha=alpha)
        # "greater": the empirical distribution is above the uniform one, so p-values are too small
        fit = stats.kstest(p_values, "uniform", alternative="greater")
        out[name] = Calibration(rate, (low, high), rate.rejections <= high, float(fit.pvalue), p_values)
    return out


def planted_mean_shift(
    rows: Float[np.ndarray, "n d"], effect: float, generator: np.random.Generator
) -> Float[np.ndarray, "n d"]:
    """Move every row along one random direction by `effect` standard deviations of the rows along it."""
    direction: np.ndarray = np.asarray(generator.standard_normal(rows.shape[1]))
    direction = direction / np.linalg.norm(direction)
    moved: np.ndarray = rows + effect * float((rows @ direction).std()) * direction
    return moved
