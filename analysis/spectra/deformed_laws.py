"""Limit laws of conjugate and neural tangent kernels of a two-layer net at linear width.

Notation: ``n`` samples of dimension ``d``, width ``h``, activation with ``E s = 0``, ``E s^2 = 1``,
``b = E s'`` and ``a = E s'^2`` under a standard Gaussian. The conjugate kernel ``Phi Phi^T / h`` has the
Marchenko-Pastur law of ratio ``q = n / h`` deformed by ``H``, the law of ``(1-b^2) + b^2 spec(X X^T / d)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Complex, Float
from scipy.optimize import brentq

from analysis.spectra.marchenko_pastur import MarchenkoPastur, TracyWidomEdge


@dataclass(frozen=True, eq=False)
class DeformedMarchenkoPastur:
    """Law of the eigenvalues of a sample covariance with population spectrum ``H``.

    Parameters
    ----------
    population : ndarray (k,)
        Atoms of ``H``, positive.
    weights : ndarray (k,)
        Their masses; they sum to one.
    ratio : float
        ``q`` = dimension / number of samples (for a conjugate kernel ``n / h``). Above one there is an
        atom ``1 - 1/q`` at zero.

    References
    ----------
    Silverstein (1995) for the equation; arXiv:2211.06506 and arXiv:2005.11879 for kernels.
    """

    population: Float[np.ndarray, " k"]
    weights: Float[np.ndarray, " k"]
    ratio: float

    def __post_init__(self) -> None:
        """Check that ``H`` is a probability law on positive numbers."""
        if np.any(self.population <= 0) or abs(float(self.weights.sum()) - 1.0) > 1e-6:
            raise ValueError("population eigenvalues must be positive and their weights must sum to one")
        if not (math.isfinite(self.ratio) and self.ratio > 0):
            raise ValueError(f"ratio must be a positive number (dimension / samples), got {self.ratio}")

    @property
    def atom(self) -> float:
        """Mass at zero."""
        return max(0.0, 1.0 - 1.0 / self.ratio)

    @cached_property
    def _edge_point(self) -> float:
        """Stationary point ``m`` in (-1/t_max, 0) of the inverse companion transform."""
        top = float(self.population.max())

        def slope(m: float) -> float:
            return 1 / m**2 - self.ratio * float(
                np.sum(self.weights * (self.population / (1 + self.population * m)) ** 2)
            )

        return float(brentq(slope, -(1 - 1e-9) / top, -1e-9 / top, xtol=1e-15))

    @cached_property
    def upper_edge(self) -> float:
        """Right end of the support."""
        m = self._edge_point
        return -1 / m + self.ratio * float(np.sum(self.weights * self.population / (1 + self.population * m)))

    def edge(self, dimension: int) -> TracyWidomEdge:
        """Center and Tracy-Widom scale of the largest eigenvalue at a finite dimension.

        Parameters
        ----------
        dimension : int
            Size of the matrix (``n`` for a conjugate kernel). Fluctuations of ``H`` itself are not
            included, so a margin above the usual four scales is wise when ``H`` comes from few samples.

        References
        ----------
        El Karoui (2007), Annals of Probability 35, theorem 1.
        """
        c = -self._edge_point
        samples = dimension / self.ratio
        tilted = (self.population * c / (1 - self.population * c)) ** 3
        cubed = (1 + self.ratio * float(np.sum(self.weights * tilted))) / c**3
        return TracyWidomEdge(self.upper_edge, cubed ** (1 / 3) * samples ** (-2 / 3))

    def companion(self, z: Complex[np.ndarray, " m"]) -> Complex[np.ndarray, " m"]:
        """Companion Stieltjes transform at points of the upper half plane.

        Solves ``z = -1/m + q * sum_k w_k t_k / (1 + t_k m)`` by Newton steps while the imaginary part
        comes down from a height where the solution is ``-1/z``.

        Raises
        ------
        ArithmeticError
            When a point did not converge.
        """
        if np.any(z.imag <= 0):
            raise ValueError("the transform is evaluated above the real axis: give Im z > 0")
        t, w = self.population[None], self.weights[None]
        height = 20.0 * max(self.upper_edge, float(np.max(np.abs(z.real))))
        floor = z.imag
        levels = max(2, int(np.ceil(np.log(height / floor.min()) / np.log(3.0))))
        m = -1 / (z.real + 1j * height)
        for level in range(levels + 1):
            target = z.real + 1j * np.maximum(floor, height * (floor.min() / height) ** (level / levels))
            for _ in range(3 if level < levels else 12):
                ratio = t / (1 + t * m[:, None])
                residual = -1 / m + self.ratio * (w * ratio).sum(1) - target
                step = residual / (1 / m**2 - self.ratio * (w * ratio**2).sum(1))
                following = m - step
                m = np.where(following.imag > 0, following, m - 0.1 * step)
        ratio = t / (1 + t * m[:, None])
        gap = np.abs(-1 / m + self.ratio * (w * ratio).sum(1) - z) / np.abs(z)
        if np.any(gap > 1e-6) or np.any(m.imag < 0):
            raise ArithmeticError(
                f"the Stieltjes transform did not converge at z = {z[int(np.argmax(gap))]:.6g}: "
                "raise the imaginary part"
            )
        return m

    def density(self, x: Float[np.ndarray, " m"], smoothing: float = 1e-4) -> Float[np.ndarray, " m"]:
        """Density of the continuous part, blurred over ``smoothing`` times the upper edge."""
        z = x + 1j * smoothing * self.upper_edge
        without_atom = self.companion(z) + max(0.0, 1.0 - self.ratio) / z  # the companion's own zeros
        return without_atom.imag / (np.pi * self.ratio)

    @cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """Grid, dense towards both ends, and the distribution function on it."""
        angle = np.linspace(0, np.pi, 601)
        grid = 0.5 * self.upper_edge * 1.002 * (1 - np.cos(angle))
        grid[0] = 1e-6 * self.upper_edge
        density = self.density(grid)
        mass = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
        return grid, self.atom + (1.0 - self.atom) * mass / mass[-1]

    def cdf(self, x: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Distribution function, atom included, interpolated on a grid of 601 points."""
        grid, values = self._table
        return np.where(x < 0, 0.0, np.interp(x, grid, values, left=self.atom, right=1.0))

    def quantile(self, p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Inverse of `cdf`; zero inside the atom."""
        grid, values = self._table
        return np.where(p <= self.atom, 0.0, np.interp(p, values, grid))


def conjugate_kernel_law(
    samples: int, features: int, width: int, slope: float, atoms: int = 400
) -> DeformedMarchenkoPastur:
    """Limit law of ``Phi Phi^T / h`` for Gaussian inputs and a normalized activation.

    Parameters
    ----------
    samples, features, width : int
        ``n``, ``d`` and ``h``.
    slope : float
        ``b = E s'`` in [0, 1] for an activation with zero mean and unit variance.
    atoms : int
        Number of equal-mass atoms that approximate ``H``.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import conjugate_kernel_law
    >>> law = conjugate_kernel_law(samples=100, features=50, width=80, slope=0.96, atoms=50)
    >>> round(law.atom, 2), round(law.upper_edge, 1)  # share of zeros, and the end of the bulk
    (0.2, 8.9)
    """
    if not 0 <= abs(slope) <= 1 + 1e-9:
        raise ValueError(
            f"slope is {slope:.4f} but an activation with E s = 0 and E s^2 = 1 has |E s'| <= 1: "
            "normalize the activation first"
        )
    inputs = MarchenkoPastur(samples / features)
    spectrum = inputs.quantile((np.arange(atoms) + 0.5) / atoms)
    population = np.maximum(1 - slope**2 + slope**2 * spectrum, 1e-12)
    return DeformedMarchenkoPastur(population, np.full(atoms, 1.0 / atoms), samples / width)


def deformed_law_of_inputs(inputs: Float[np.ndarray, "n d"], width: int, slope: float) -> DeformedMarchenkoPastur:
    """Like `conjugate_kernel_law` with ``H`` from the Gram matrix of given inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import conjugate_kernel_law, deformed_law_of_inputs
    >>> inputs = np.random.default_rng(0).standard_normal((100, 50)) * np.geomspace(3, 0.3, 50)
    >>> inputs /= inputs.std()  # some features carry a hundred times the variance of others
    >>> found, isotropic = deformed_law_of_inputs(inputs, 80, slope=0.96), conjugate_kernel_law(100, 50, 80, slope=0.96)
    >>> round(found.upper_edge / isotropic.upper_edge, 1)  # the inputs alone push the edge out
    1.7
    """
    samples, features = inputs.shape
    gram = np.linalg.eigvalsh(inputs @ inputs.T / features)
    population = np.maximum(1 - slope**2 + slope**2 * np.maximum(gram, 0.0), 1e-12).astype(np.float64)
    return DeformedMarchenkoPastur(population, np.full(samples, 1.0 / samples), samples / width)
