"""Does the trimming level say more than accuracy, churn and calibration? The test of claim B2.

Levels and companions are measured on two halves of the test examples, whose noise is independent. What a flexible
learner cannot predict of the level from the companions of the same half counts only where it returns in the other
half: noise does not. Companions are measured with noise too, so that even a level which they determine leaves
something that returns (errors in variables); the same learner on parametric-bootstrap levels, which are made from the
companions, says how much. Their difference is the level's own information.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from analysis.resampling import correlation
from analysis.variability.claims import ClaimFinding
from analysis.verdicts import HOLDS, OPEN, Decided, above

COMPANIONS = ("accuracy", "churn", "ece")
OWN_SHARE, OWN_MARGIN = 0.1, 0.01
"""Smallest own information of interest, as a share of the variance of level ranks, and its margin."""
RELIABLE = 0.3
"""Correlation of the halves below which nothing that levels might say could be seen: the claim cannot fail."""
NEED = 200
"""Runs below which the claim is open: with fewer, three companions are not learned well enough to say what is left."""
_SCALES, _NOISES = (1.0, 2.5), (0.03, 0.3, 3.0)
"""Length scales (in standard deviations of the companions) and noise variances among which a learner chooses."""


def averaged_kernel(
    points: Float[np.ndarray, "p c"],
    others: Float[np.ndarray, "m c"],
    scale: float,
    spread: Float[np.ndarray, "c c"],
    spread_of_others: Float[np.ndarray, "c c"],
) -> Float[np.ndarray, "p m"]:
    """Quadratic + squared-exponential kernel k(x, y), averaged over normal x and y with these means and covariances."""
    products = points @ others.T
    own, others_own = ((points @ spread_of_others) * points).sum(axis=1), ((others @ spread) * others).sum(axis=1)
    squares = products**2 + own[:, None] + others_own + (spread * spread_of_others).sum()
    wide = scale**2 * np.eye(points.shape[1]) + spread + spread_of_others
    root = np.linalg.cholesky(np.linalg.inv(wide))
    left, right = points @ root, others @ root
    apart = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    factor = scale ** points.shape[1] / np.sqrt(np.linalg.det(wide))
    return 100.0 + 10.0 * products + squares + factor * np.exp(-np.maximum(apart, 0.0) / 2)


class CompanionRegression:
    """Gaussian-process regression on standardized companions with leave-one-out residuals in closed form.

    The kernel is quadratic + squared exponential. Length scale and noise are chosen for each target by its own
    leave-one-out error, so that bootstrap levels are learned exactly as the real ones are.

    Parameters
    ----------
    inputs : ndarray, shape (m, c)
        Standardized companions.
    spread : ndarray, shape (c, c), optional
        Covariance of the true companions around `inputs`: the function is then one of the true companions, of which
        each target is the average. Default: `inputs` are exact.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import CompanionRegression
    >>> inputs = np.random.default_rng(0).normal(size=(80, 2))
    >>> targets = np.stack([np.sin(inputs[:, 0]), np.random.default_rng(1).normal(size=80)], axis=1)
    >>> residuals = CompanionRegression(inputs).residuals(targets)
    >>> (residuals**2).mean(axis=0).round(1)  # a function of the inputs is learned, noise is not
    array([0. , 0.8])
    """

    def __init__(self, inputs: Float[np.ndarray, "m c"], spread: Float[np.ndarray, "c c"] | None = None) -> None:
        self.inputs = inputs
        self.spread = np.zeros((inputs.shape[1],) * 2) if spread is None else spread
        grams = [averaged_kernel(inputs, inputs, scale, self.spread, self.spread) for scale in _SCALES]
        eye = np.eye(len(inputs))
        self._inverses = np.stack([np.linalg.inv(gram + noise * eye) for gram in grams for noise in _NOISES])
        self._left_out = self._inverses / self._inverses.diagonal(axis1=1, axis2=2)[:, :, None]

    def residuals(self, targets: Float[np.ndarray, "m b"]) -> Float[np.ndarray, "m b"]:
        """Leave-one-out residuals of each target at its best setting."""
        found, best = self._best(targets)
        return found[best, :, np.arange(targets.shape[1])].T

    def _best(self, targets: Float[np.ndarray, "m b"]) -> tuple[Float[np.ndarray, "s m b"], np.ndarray]:
        found = self._left_out @ targets
        return found, (found**2).sum(axis=1).argmin(axis=0)

    def predict(
        self, targets: Float[np.ndarray, "m b"], points: Float[np.ndarray, "d m c"]
    ) -> Float[np.ndarray, "m b d"]:
        """Value of each target's function at sets of points, at its best setting."""
        _, best = self._best(targets)
        weights = np.stack([self._inverses[one] @ targets[:, place] for place, one in enumerate(best)], axis=1)
        found = np.empty((len(self.inputs), targets.shape[1], len(points)))
        for index, scale in enumerate(_SCALES):
            mine = best // len(_NOISES) == index
            if mine.any():
                exact, flat = np.zeros_like(self.spread), points.reshape(-1, points.shape[-1])
                kernel = averaged_kernel(flat, self.inputs, scale, exact, self.spread)
                values = (kernel @ weights[:, mine]).reshape(len(points), -1, int(mine.sum()))
                found[:, mine] = values.transpose(1, 2, 0)
        return found


@dataclass(frozen=True)
class OwnInformation:
    """What of the level returns in fresh test examples and is not in the companions.

    Attributes
    ----------
    shared : ndarray, shape (m,)
        Product of the two halves' residuals of each run, in units of the variance of level ranks; its mean is the
        share of that variance which returns and which the learner leaves open.
    null : ndarray, shape (b,)
        That mean for levels made from the companions.
    bias : float
        How much the null falls short where it is known, in worlds in which the companions determine the level: a
        learned function is smoother than the true one.
    reliability : float
        Correlation of the level ranks of the two halves: the largest value that the mean could take.
    """

    shared: Float[np.ndarray, " m"]
    null: Float[np.ndarray, " b"]
    bias: float
    reliability: float

    @property
    def excess(self) -> Float[np.ndarray, " m"]:
        """Per run, what exceeds the mean of the null."""
        return self.shared - self.null.mean() - self.bias


def _ranks(values: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Centered ranks of unit variance; zeros where all values are equal."""
    ranks = stats.rankdata(values)
    spread = ranks.std()
    return (ranks - ranks.mean()) / spread if spread > 0 else np.zeros(len(ranks))


def _psd(matrix: Float[np.ndarray, "c c"], floor: float = 0.0) -> Float[np.ndarray, "c c"]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.maximum(values, floor)) @ vectors.T


class _CompanionWorlds:
    """Levels that the companions determine, made from measured companions and the levels of a study."""

    def __init__(self, companions: Float[np.ndarray, "2 m c"]) -> None:
        spread = companions.mean(axis=0).std(axis=0)
        self.inputs = (companions - companions.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
        self.learners = [CompanionRegression(one) for one in self.inputs]
        self.center, self.apart = self.inputs.mean(axis=0), self.inputs[0] - self.inputs[1]
        count = len(self.center)
        error = self.apart.T @ self.apart / count / 2  # covariance of one half's error
        seen = self.center.T @ self.center / count
        true = _psd(seen - error / 2)
        shrink = np.linalg.solve(_psd(seen, 1e-9), true)
        self.expected = self.center @ shrink
        self.posterior = _psd(true - true @ shrink)
        self.function = CompanionRegression(self.expected, self.posterior)

    def returning(self, halves: Float[np.ndarray, "2 m b"]) -> Float[np.ndarray, "m b"]:
        """Product of the two halves' centered residuals, by run."""
        left = [learner.residuals(half) for learner, half in zip(self.learners, halves, strict=True)]
        return (left[0] - left[0].mean(axis=0)) * (left[1] - left[1].mean(axis=0))

    def made(
        self, halves: Float[np.ndarray, "2 m b"], draws: int, rng: np.random.Generator
    ) -> Float[np.ndarray, "2 m b d"]:
        """Draw levels of both halves that are functions of the true companions, plus noise."""
        change = halves[0] - halves[1]
        link = np.linalg.lstsq(self.apart, change, rcond=None)[0]  # of the level's noise with the companions' noise
        remaining = (change - self.apart @ link).std(axis=0) / np.sqrt(2)
        level = halves.mean(axis=0) - (self.center - self.expected) @ link
        size = (draws, *self.expected.shape)
        root = np.linalg.cholesky(self.posterior + 1e-12 * np.eye(len(self.posterior)))
        latent = self.expected + rng.normal(size=size) @ root.T
        values = self.function.predict(level, latent)
        return np.stack(
            [
                values
                + np.einsum("dmc,cb->mbd", measured - latent, link)
                + remaining[:, None] * rng.normal(size=values.shape)
                for measured in self.inputs
            ]
        )


def own_information(
    levels: Float[np.ndarray, "2 m"],
    companions: Float[np.ndarray, "2 m c"],
    *,
    rng: np.random.Generator,
    draws: int = 50,
    again: int = 4,
) -> OwnInformation:
    """Measure what levels share between halves of the test examples beyond what the companions of each half predict.

    The null keeps the measured companions and draws, for each bootstrap, the true ones given both measurements
    (normal errors with the covariance that the halves' differences show). Levels are the learned function of the true
    companions, plus noise of each half that has the halves' variance and its correlation with the companions' noise.
    The same is done once more from each bootstrap study, which shows how much such a null falls short.

    Parameters
    ----------
    levels : ndarray, shape (2, m)
        Levels of the same runs on two disjoint halves of the test examples.
    companions : ndarray, shape (2, m, c)
        Companions on the same halves.
    rng : numpy.random.Generator
        Source of the bootstrap levels.
    draws, again : int
        Bootstrap studies, and further ones from each of them.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import own_information
    >>> rng = np.random.default_rng(0)
    >>> true, own = rng.normal(size=(200, 3)), rng.normal(size=200)
    >>> companions = true + 0.5 * rng.normal(size=(2, 200, 3))
    >>> noise = 0.3 * rng.normal(size=(2, 200))
    >>> for level in (true[:, 0], true[:, 0] + own):  # a function of the companions, and one with its own part
    ...     print(own_information(level + noise, companions, rng=rng).excess.mean().round(1) + 0)
    0.0
    0.6
    """
    halves = np.stack([_ranks(one) for one in levels])
    worlds = _CompanionWorlds(companions)
    first = worlds.made(halves[:, :, None], draws, rng)[:, :, 0]
    null = worlds.returning(first).mean(axis=0)
    second = worlds.made(first, again, rng)
    repeated = worlds.returning(second.reshape(*first.shape[:2], -1)).mean(axis=0)
    return OwnInformation(
        shared=worlds.returning(halves[:, :, None])[:, 0],
        null=null,
        bias=float(null.mean() - repeated.mean()),
        reliability=correlation(halves[0], halves[1], "pearson"),
    )


def look_alikes(
    levels: Float[np.ndarray, " m"],
    draws: Float[np.ndarray, "b m"],
    companions: Float[np.ndarray, "m c"],
    errors: Float[np.ndarray, " c"],
) -> tuple[int, float]:
    """Pairs of runs alike in every companion but apart in level, and how many noise alone would give.

    Parameters
    ----------
    levels, draws : ndarray, shape (m,) and (b, m)
        Levels of the data and of joint draws.
    companions : ndarray, shape (m, c)
        Competing metrics.
    errors : ndarray, shape (c,)
        Standard error of each.

    Returns
    -------
    found : int
        Pairs within one standard error in each companion and more than two apart in level.
    expected : float
        Mean count where all runs have one level and differ by the draws' deviations.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.variability import look_alikes
    >>> levels = np.array([0.10, 0.11, 0.40])
    >>> draws = levels + 0.02 * np.random.default_rng(0).normal(size=(100, 3))
    >>> accuracy = np.array([[0.90], [0.90], [0.90]])  # equal, so that it cannot tell the runs apart
    >>> found, expected = look_alikes(levels, draws, accuracy, np.array([0.01]))
    >>> found, round(expected, 1)
    (2, 0.1)
    """
    rows, columns = np.triu_indices(len(levels), 1)
    alike = (np.abs(companions[rows] - companions[columns]) <= errors).all(axis=1)
    rows, columns = rows[alike], columns[alike]
    deviations = draws - draws.mean(axis=0)
    apart = 2 * np.array([(deviations[:, i] - deviations[:, j]).std() for i, j in zip(rows, columns, strict=True)])
    found = int((np.abs(levels[rows] - levels[columns]) > apart).sum())
    noise = np.abs(deviations[:, rows] - deviations[:, columns]) > apart
    return found, float(noise.sum(axis=1).mean())


def claim_b2(
    levels: Float[np.ndarray, "2 m"],
    companions: Float[np.ndarray, "2 m c"],
    *,
    rng: np.random.Generator,
    need: int = NEED,
) -> ClaimFinding:
    """B2: the level says more than accuracy, churn and ECE alone.

    It holds where the own information (`own_information`) exceeds that of levels made from the companions by more than
    a tenth of the variance of level ranks, and fails where it is shown to be less although the levels are reliable. The
    unit is the run; the test examples enter by halves.

    Parameters
    ----------
    levels : ndarray, shape (2, m)
        Levels on two halves of the test examples.
    companions : ndarray, shape (2, m, 3)
        Accuracy, churn and ECE on the same halves.
    rng : numpy.random.Generator
        Source of the bootstrap levels.
    need : int
        Runs that a decision needs.
    """
    runs, unit = levels.shape[1], "runs, on two halves of the test examples"
    what = "share of the variance of level ranks that returns and that the companions do not predict, above their null"
    if runs < need:
        return ClaimFinding("B2", Decided(OPEN, f"{what}: n = {runs} {unit}; {need} are needed."))
    found = own_information(levels, companions, rng=rng)
    decided = above(found.excess.tolist(), OWN_SHARE, margin=OWN_MARGIN, what=what, unit=unit)
    if decided.outcome != HOLDS and not found.reliability > RELIABLE:
        evidence = f"{decided.evidence} Levels of the halves correlate by {found.reliability:.2f} only."
        decided = dataclasses.replace(decided, outcome=OPEN, evidence=evidence)
    whole = levels.mean(axis=0)
    details = {
        "unexplained_and_returning": float(found.shared.mean()),
        "null": float(found.null.mean() + found.bias),
        "reliability": found.reliability,
    }
    for column, name in enumerate(COMPANIONS):
        details[f"r_level_{name}"] = correlation(whole, companions[..., column].mean(axis=0))
    return ClaimFinding("B2", decided, details)
