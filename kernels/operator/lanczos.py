r"""Eigenvalues and functions of kernels too large to diagonalize: Lanczos with full reorthogonalization.

Top eigenpairs come from Rayleigh-Ritz on the Krylov space, with residuals :math:`\|K v - \theta v\|` that bound the
distance to an eigenvalue. Traces of functions come from quadrature; for those whose derivatives keep their signs,
Gauss's rule and Radau's enclose the integral (Golub and Meurant, Matrices, Moments and Quadrature, 2010, chapter 6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal

Block = Callable[[Float[np.ndarray, "n k"]], Float[np.ndarray, "n k"]]


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
    >>> from kernels.operator.lanczos import require_dense_kernel
    >>> require_dense_kernel(1000, limit_bytes=2**30)  # bytes
    8000000
    >>> require_dense_kernel(50_000, limit_bytes=2**30)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kernels.operator.lanczos.KernelTooLargeError: a dense 50000 x 50000 kernel takes 18.63 GiB, more than ...
    """
    size = samples**2 * itemsize
    if size > limit_bytes:
        raise KernelTooLargeError(
            f"a dense {samples} x {samples} kernel takes {size / 2**30:.2f} GiB, more than the "
            f"{limit_bytes / 2**30:.2f} GiB allowed: raise the memory budget, take fewer samples, or use "
            "kernels.KernelOperator or spectral_density, which need products with the kernel only"
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
    >>> from kernels.operator.lanczos import spectral_density
    >>> rng = np.random.default_rng(0)
    >>> factor = rng.standard_normal((2000, 20)) / 2000**0.5  # the 2000 x 2000 kernel is never formed
    >>> found = spectral_density(lambda v: factor @ (factor.T @ v), 2000, rng, steps=25, probes=4)
    >>> float(found.nodes[-1].round(3)), float((np.linalg.norm(factor, 2) ** 2).round(3))
    (1.201, 1.201)
    """
    return block_density(
        lambda x: np.stack([product(column) for column in x.T], 1), size, generator, steps=steps, probes=probes
    )


def block_density(
    product: Block, size: int, generator: np.random.Generator, *, steps: int, probes: int
) -> SpectralDensity:
    """Do the same with products of several vectors at once."""
    if size < 1 or steps < 1 or probes < 1:
        raise ValueError(f"size, steps and probes must be positive, got {size}, {steps}, {probes}")
    starts = generator.choice([-1.0, 1.0], size=(probes, size)).T / np.sqrt(size)
    nodes, weights = [], []
    for one in tridiagonals(product, starts, min(steps, size)):
        theta, first = one.gauss()
        nodes.append(theta)
        weights.append(first / probes)
    order = np.argsort(flat := np.concatenate(nodes))
    return SpectralDensity(flat[order], np.concatenate(weights)[order])


@dataclass(frozen=True)
class Tridiagonal:
    """Lanczos matrix of one start vector of length one.

    Attributes
    ----------
    diagonal : (m,)
        Rayleigh quotients of the basis.
    off_diagonal : (m - 1,)
        Couplings between neighbors.
    last : float
        Coupling to the next vector, zero where the space is invariant.
    """

    diagonal: Float[np.ndarray, " m"]
    off_diagonal: Float[np.ndarray, " p"]
    last: float

    def gauss(self) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """Nodes and weights of Gauss's rule for the start vector's spectral measure."""
        nodes, vectors = eigh_tridiagonal(self.diagonal, self.off_diagonal)
        return nodes, vectors[0] ** 2

    def radau(self) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """Nodes and weights of the Gauss-Radau rule with one node at zero; Gauss's where that is the whole measure."""
        m = len(self.diagonal)
        nodes, vectors = eigh_tridiagonal(self.diagonal, self.off_diagonal)
        if self.last <= 0 or nodes[0] <= 1e-13 * nodes[-1]:
            return nodes, vectors[0] ** 2
        shift = float(self.last**2 * np.sum(vectors[-1] ** 2 / nodes))  # e_m' T^-1 e_m
        found, extended = eigh_tridiagonal(np.append(self.diagonal, shift), np.append(self.off_diagonal, self.last))
        assert len(found) == m + 1
        return found, extended[0] ** 2


_SECOND_LOOK = 8
"""Steps from a new start before eigenvalues that have converged are believed to be all."""


def tridiagonals(product: Block, starts: Float[np.ndarray, "n p"], steps: int) -> list[Tridiagonal]:
    """Lanczos from several start vectors of length one, whose products are taken together.

    A space that becomes invariant ends early.

    Examples
    --------
    >>> import numpy as np
    >>> from kernels.operator.lanczos import tridiagonals
    >>> kernel = np.diag([3.0, 1.0])
    >>> found = tridiagonals(lambda x: kernel @ x, np.full((2, 1), 0.5**0.5), steps=2)[0]
    >>> [float(node.round(6)) for node in found.gauss()[0]]
    [1.0, 3.0]
    """
    count = starts.shape[1]
    bases: list[list[np.ndarray]] = [[starts[:, p]] for p in range(count)]
    diagonals: list[list[float]] = [[] for _ in range(count)]
    couplings: list[list[float]] = [[] for _ in range(count)]
    open_ones = list(range(count))
    for _ in range(steps):
        if not open_ones:
            break
        images = product(np.stack([bases[p][-1] for p in open_ones], 1))
        for image, p in zip(images.T, tuple(open_ones), strict=True):
            diagonals[p].append(float(image @ bases[p][-1]))
            space = np.stack(bases[p])
            for _ in range(2):
                image = image - space.T @ (space @ image)
            norm = float(np.linalg.norm(image))
            if norm < 1e-12 * max(abs(entry) for entry in (*diagonals[p], *couplings[p])) or norm == 0:
                couplings[p].append(0.0)
                open_ones.remove(p)
                continue
            couplings[p].append(norm)
            bases[p].append(image / norm)
    return [Tridiagonal(np.array(d), np.array(c[:-1]), c[-1]) for d, c in zip(diagonals, couplings, strict=True)]


@dataclass(frozen=True)
class Eigenpairs:
    """Largest eigenvalues with the errors of their approximation.

    Attributes
    ----------
    values : (k,)
        Ritz values, largest first. Each is at most the eigenvalue of the same rank.
    errors : (k,)
        Norms of the residuals K v - value v, rounding of the products included: an eigenvalue lies within each.
    vectors : (n, k)
        Orthonormal Ritz vectors.
    products : int
        Vectors multiplied.
    converged : bool
        Whether every error is within the tolerance.
    """

    values: Float[np.ndarray, " k"]
    errors: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "n k"]
    products: int
    converged: bool

    def __str__(self) -> str:
        """Return one line per eigenvalue."""
        rows = [f"{value:.8g} +- {error:.1e}" for value, error in zip(self.values, self.errors, strict=True)]
        return "\n".join([*rows, f"{self.products} products, {'' if self.converged else 'not '}converged"])


def top_eigenpairs(
    product: Block,
    size: int,
    count: int,
    generator: np.random.Generator,
    *,
    tolerance: float = 1e-6,
    products: int = 300,
    block: int = 1,
    rounding: float = 0.0,
) -> Eigenpairs:
    """Largest eigenvalues of a symmetric operator by (block) Lanczos with full reorthogonalization.

    Parameters
    ----------
    product : callable
        Maps (n, k) to ``K @ x``.
    size, count : int
        ``n``, and how many eigenvalues.
    generator : numpy.random.Generator
        Draws the start.
    tolerance : float
        Largest residual, in units of the largest eigenvalue.
    products : int
        Most vectors multiplied; what has not converged by then keeps its larger error.
    block : int
        Start vectors. Copies of a repeated eigenvalue are looked for from further starts, this many at once.
    rounding : float
        Relative rounding error of a product, which is added to the errors.

    Examples
    --------
    >>> import numpy as np
    >>> from kernels.operator.lanczos import top_eigenpairs
    >>> kernel = np.diag(np.arange(1.0, 101.0))
    >>> found = top_eigenpairs(lambda x: kernel @ x, 100, 2, np.random.default_rng(0))
    >>> found.values.round(4).tolist(), found.converged
    ([100.0, 99.0], True)
    """
    block = min(max(block, 1), size)
    fresh = np.linalg.qr(generator.standard_normal((size, block)))[0]
    basis, images = np.empty((size, 0)), np.empty((size, 0))
    accepted, due = np.full(count, np.inf), 0
    while True:
        basis, images = np.concatenate([basis, fresh], 1), np.concatenate([images, product(fresh)], 1)
        used = basis.shape[1]
        projected = basis.T @ images
        theta, mix = np.linalg.eigh((projected + projected.T) / 2)
        theta, mix = theta[::-1][:count], mix[:, ::-1][:, :count]
        residuals = np.linalg.norm(images @ mix - (basis @ mix) * theta, axis=0)
        largest = max(float(np.abs(theta[0])), np.finfo(np.float64).tiny)
        found = len(theta) == count and bool((residuals <= tolerance * largest).all())
        if used >= min(size, max(products, count)):
            break
        candidates: np.ndarray | None = images[:, -fresh.shape[1] :]
        if found and used >= due:
            if np.abs(theta - accepted).max() <= tolerance * largest:
                break
            # The space of one start holds one vector of a repeated eigenvalue: look again from another start
            accepted, due, candidates = theta, used + _SECOND_LOOK * block, None
        fresh = _orthogonal(candidates, basis, generator, min(block, size - used), largest)
    return Eigenpairs(theta, residuals + rounding * largest, basis @ mix, used, found)


def _orthogonal(
    candidates: np.ndarray | None, basis: np.ndarray, generator: np.random.Generator, count: int, scale: float
) -> np.ndarray:
    """Orthonormal vectors orthogonal to a basis: new directions of the candidates, and random ones where these end."""
    given = [] if candidates is None else list(candidates.T)
    found: list[np.ndarray] = []
    while len(found) < count:
        vector, size = (given.pop(0), scale) if given else (generator.standard_normal(len(basis)), 1.0)
        space = np.concatenate([basis, *(other[:, None] for other in found)], 1)
        norm = 0.0
        for _ in range(3):
            vector = vector - space @ (space.T @ vector)
            norm = float(np.linalg.norm(vector))
            if norm <= 1e-12 * size:
                break
            vector, size = vector / norm, 1.0
        if norm > 1e-12 * size:
            found.append(vector)
    return np.stack(found, 1)
