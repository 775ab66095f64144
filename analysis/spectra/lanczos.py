"""Spectral density of kernels too large to diagonalize: Lanczos with stochastic quadrature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal


class KernelTooLargeError(ValueError):
    """A dense kernel would not fit; the message says how large it is and what to do."""


def require_dense_kernel(samples: int, limit_bytes: int, itemsize: int = 8) -> int:
    """Compute the bytes of a dense ``samples`` by ``samples`` kernel, before anything is allocated.

    Raises
    ------
    KernelTooLargeError
        When they exceed ``limit_bytes``.

    Examples
    --------
    >>> from analysis.spectra import require_dense_kernel
    >>> require_dense_kernel(1000, limit_bytes=2**30)  # bytes
    8000000
    >>> require_dense_kernel(50_000, limit_bytes=2**30)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    analysis.spectra.lanczos.KernelTooLargeError: a dense 50000 x 50000 kernel takes 18.63 GiB, more than ...
    """
    size = samples**2 * itemsize
    if size > limit_bytes:
        raise KernelTooLargeError(
            f"a dense {samples} x {samples} kernel takes {size / 2**30:.2f} GiB, more than the "
            f"{limit_bytes / 2**30:.2f} GiB allowed: raise the memory budget, take fewer samples, or use "
            "spectral_density, which needs products with the kernel only"
        )
    return size


@dataclass(frozen=True)
class SpectralDensity:
    """Weighted nodes that approximate a spectrum; the weights sum to one."""

    nodes: Float[np.ndarray, " k"]
    weights: Float[np.ndarray, " k"]

    def cdf(self, x: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Share of the spectrum at or below each point."""
        mass = np.concatenate([[0.0], np.cumsum(self.weights)])
        return mass[np.searchsorted(self.nodes, x, side="right")]


def spectral_density(
    product: Callable[[Float[np.ndarray, " n"]], Float[np.ndarray, " n"]],
    size: int,
    generator: np.random.Generator,
    steps: int = 80,
    probes: int = 10,
) -> SpectralDensity:
    """Estimate the eigenvalue distribution of a symmetric operator from its products alone.

    Parameters
    ----------
    product : callable
        Maps a vector (n,) to ``K @ vector``.
    size : int
        ``n``.
    generator : numpy.random.Generator
        Draws the Rademacher probes.
    steps : int
        Lanczos steps per probe, fully reorthogonalized; extreme eigenvalues converge first.
    probes : int
        Independent probes; the error of the weights falls with their square root.

    References
    ----------
    Ubaru, Chen and Saad (2017), SIAM J. Matrix Anal. Appl. 38, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.spectra import spectral_density
    >>> rng = np.random.default_rng(0)
    >>> factor = rng.standard_normal((2000, 20)) / 2000**0.5  # the 2000 x 2000 kernel is never formed
    >>> found = spectral_density(lambda v: factor @ (factor.T @ v), 2000, rng, steps=25, probes=4)
    >>> float(found.nodes[-1].round(3)), float((np.linalg.norm(factor, 2) ** 2).round(3))
    (1.201, 1.201)
    """
    if size < 1 or steps < 1 or probes < 1:
        raise ValueError(f"size, steps and probes must be positive, got {size}, {steps}, {probes}")
    nodes, weights = [], []
    for _ in range(probes):
        start = generator.choice([-1.0, 1.0], size=size) / np.sqrt(size)
        theta, first = _lanczos(product, start, min(steps, size))
        nodes.append(theta)
        weights.append(first**2 / probes)
    order = np.argsort(flat := np.concatenate(nodes))
    return SpectralDensity(flat[order], np.concatenate(weights)[order])


def _lanczos(
    product: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values and the first components of their vectors."""
    basis = [start]
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    for step in range(steps):
        image = product(basis[-1])
        diagonal.append(float(image @ basis[-1]))
        space = np.stack(basis)
        for _ in range(2):
            image = image - space.T @ (space @ image)
        norm = float(np.linalg.norm(image))
        if step + 1 == steps or norm < 1e-12 * max(1.0, max(abs(entry) for entry in diagonal)):
            break
        off_diagonal.append(norm)
        basis.append(image / norm)
    theta, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off_diagonal))
    return theta, vectors[0]
