"""Trace, norm, rank, eigenvalues and alignment of a kernel that can be multiplied with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from kernels.inputs.samples import Labels
from kernels.operator.entropy import spectral_entropy
from kernels.operator.estimates import Estimate, Moments, estimate_moments
from kernels.operator.lanczos import Eigenpairs, SpectralDensity, block_density, top_eigenpairs
from kernels.operator.targets import one_hot, ratio, without_means

MEASURES = ("entropy", "participation", "stable")


@dataclass(frozen=True)
class Facts:
    """Kind, number of logits, labels or None, whether a cosine, and relative rounding error of a product."""

    kind: str
    classes: int
    labels: Labels | None
    normalized: bool
    rounding: float


class SpectralNumbers(ABC):
    """Numbers that describe a kernel's spectrum, each with its stated error, from products alone."""

    def __init__(self) -> None:
        self._moments: dict[tuple[int, int, bool], Moments] = {}

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    @abstractmethod
    def square(self) -> bool:
        """Whether both sides are the training samples."""

    @abstractmethod
    def diagonal(self) -> Float[Tensor, " n"]:
        """Give the exact diagonal of a square kernel."""

    @abstractmethod
    def _times(self, vectors: Float[np.ndarray, "n k"], *, transposed: bool) -> Float[np.ndarray, "m k"]:
        """K @ vectors, or K.T @ vectors, in float64."""

    @property
    @abstractmethod
    def _facts(self) -> Facts:
        """What the numbers need to know of the kernel."""

    def trace(
        self, *, products: int = 48, seed: int = 0, confidence: float = 0.95, method: str = "hutch++"
    ) -> Estimate:
        """Trace of a square kernel.

        Parameters
        ----------
        products : int
            Vectors to multiply; as many as there are rows give the exact trace.
        seed : int
            Of the sketch and the probes, which trace, norm and rank share: their products are taken once.
        confidence : float
            Of the interval.
        method : {"hutch++", "diagonal"}
            Estimate, or the sum of :meth:`diagonal`: exact for the price of one or two products, where the engine's
            per-sample gradients have room.

        Examples
        --------
        >>> import torch
        >>> from kernels import KernelOperator
        >>> op = KernelOperator(torch.nn.Linear(2, 1), torch.eye(2))
        >>> op.trace().value, op.trace(method="diagonal").value
        (4.0, 4.0)
        """
        self._require_square("a trace")
        if method not in ("hutch++", "diagonal"):
            raise ValueError(f"method={method!r}: use 'hutch++' or 'diagonal'")
        if method == "diagonal" or self._facts.normalized:
            value = float(self.diagonal().sum())
            off = value * self._facts.rounding
            return Estimate(value, value - off, value + off, 0, "diagonal", 1.0)
        found = self._estimated(products, seed)
        assert found.trace is not None
        return self._stated(
            found.trace.value, *found.trace.interval(confidence, self._facts.rounding), found, confidence
        )

    def frobenius_norm(self, *, products: int = 48, seed: int = 0, confidence: float = 0.95) -> Estimate:
        """Frobenius norm, from Hutch++ on K^T K; parameters as for :meth:`trace`."""
        found = self._estimated(products, seed)
        low, high = found.square.interval(confidence, 2 * self._facts.rounding)
        return self._stated(found.square.value**0.5, max(low, 0.0) ** 0.5, high**0.5, found, confidence)

    def effective_rank(
        self, measure: str = "entropy", *, products: int = 120, seed: int = 0, confidence: float = 0.95
    ) -> Estimate:
        """Count the directions that carry the spectrum; measures as of :func:`kernels.effective_rank`.

        Parameters
        ----------
        measure : {"entropy", "participation", "stable"}
            exp of the entropy of the spectrum (Lanczos quadrature), squared trace over squared norm, or trace over
            largest eigenvalue.
        products, seed, confidence
            As for :meth:`trace`.
        """
        self._require_square("an effective rank")
        if measure not in MEASURES:
            raise ValueError(f"measure={measure!r}: use one of {', '.join(MEASURES)}")
        _require_whole(products=products)
        _require_share(confidence)
        if measure == "entropy":
            found = spectral_entropy(self._block, self.shape[0], products, _named(seed, "entropy"), confidence)
            low, value, high = np.exp([found.low, found.value, found.high])
            off = 4 * self._facts.rounding * value
            return Estimate(
                float(value), float(low - off), float(high + off), found.products, found.method, found.confidence
            )
        both = 1 - (1 - confidence) / 2  # two intervals hold together with the confidence asked for
        trace = self.trace(products=products, seed=seed, confidence=both)
        if not trace.value > 0:
            raise ValueError("effective rank needs a positive eigenvalue, and this kernel is zero")
        if measure == "participation":
            norm = self.frobenius_norm(products=products, seed=seed, confidence=both)
            return ratio(trace, norm, 2, confidence)
        top = self.eigenvalues(1, seed=seed, products=products)
        value, off = float(top.values[0]), float(top.errors[0])
        largest = Estimate(value, value, value + off, top.products, "Lanczos", 1.0)
        return ratio(trace, largest, 1, confidence)

    def eigenvalues(
        self, k: int = 10, *, tolerance: float = 1e-6, products: int = 300, seed: int = 0, block: int | None = None
    ) -> Eigenpairs:
        """Largest eigenvalues and vectors of a square kernel, with residual bounds.

        Parameters
        ----------
        k : int
            How many.
        tolerance : float
            Largest residual, in units of the largest eigenvalue.
        products : int
            Most vectors to multiply.
        seed : int
            Of the start.
        block : int, optional
            Vectors multiplied at once: the number of logits for ``entk``, whose eigenvalues come in groups, else 1.

        Returns
        -------
        Eigenpairs
            ``values``, ``errors``, ``vectors`` and whether they converged.
        """
        self._require_square("eigenvalues")
        _require_whole(k=k, products=products)
        if not 1 <= k <= self.shape[0]:
            raise ValueError(f"k={k}: a kernel of {self.shape[0]} rows has 1 to {self.shape[0]} eigenvalues")
        start = block or (min(self._facts.classes, 8) if self._facts.kind == "entk" else 1)
        return top_eigenpairs(
            self._block,
            self.shape[0],
            k,
            _named(seed, "eigenvalues"),
            tolerance=max(tolerance, self._facts.rounding),
            products=products,
            block=start,
            rounding=self._facts.rounding,
        )

    def spectral_density(self, *, steps: int = 40, probes: int = 5, seed: int = 0) -> SpectralDensity:
        """Distribution of all eigenvalues of a square kernel: see :func:`kernels.operator.spectral_density`."""
        self._require_square("a spectral density")
        generator = _named(seed, "density")
        return block_density(self._block, self.shape[0], generator, steps=steps, probes=probes)

    def alignment(
        self,
        labels: Labels | None = None,
        *,
        centered: bool = True,
        products: int = 48,
        seed: int = 0,
        confidence: float = 0.95,
    ) -> Estimate:
        """Alignment of a square kernel with the labels' kernel, as :func:`kernels.target_alignment`.

        Parameters
        ----------
        labels : (N,) class indices or (N, C) targets, optional
            By default those of the operator.
        centered : bool
            Center both kernels first.
        products, seed, confidence
            Of the norm of the kernel, as for :meth:`trace`; the inner product with the labels is exact.
        """
        self._require_square("an alignment")
        if self._facts.kind == "entk":
            raise ValueError("alignment with labels needs one row per sample: use kind='trntk' or 'pntk'")
        known = labels if labels is not None else self._facts.labels
        targets = one_hot(known, self.shape[0])
        targets = without_means(targets) if centered else targets
        inner = float(np.sum(targets * self._block(targets)))
        outer = float(np.linalg.norm(targets.T @ targets))
        found = self._estimated(products, seed, centered)
        low, high = (max(end, 0.0) ** 0.5 for end in found.square.interval(confidence, 4 * self._facts.rounding))
        norm = found.square.value**0.5
        if not norm * outer > 0:
            raise ValueError("alignment is undefined for a kernel that is zero (after centering, constant)")
        value, least = inner / (norm * outer), inner / (high * outer)
        most = inner / (low * outer) if low > 0 else 1.0
        return self._stated(value, min(least, most), max(least, most), found, confidence)

    def _block(self, vectors: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "m k"]:
        return self._times(np.ascontiguousarray(vectors, np.float64), transposed=False)

    def _estimated(self, products: int, seed: int, centered: bool = False) -> Moments:
        """Moments of the kernel, or of HKH, from one set of products for each seed."""
        _require_whole(products=products, seed=seed)
        key = (products, seed, centered)
        if key not in self._moments:

            def forward(x: np.ndarray) -> np.ndarray:
                return without_means(self._block(without_means(x))) if centered else self._block(x)

            def backward(x: np.ndarray) -> np.ndarray:
                return forward(x) if self.square else self._times(x, transposed=True)

            self._moments[key] = estimate_moments(
                forward,
                backward,
                self.shape[1],
                products,
                _named(seed, "moments"),
                square=self.square,
                rows=self.shape[0],
            )
        return self._moments[key]

    def _stated(self, value: float, low: float, high: float, found: Moments, confidence: float) -> Estimate:
        _require_share(confidence)
        exact = not len(found.square.probes)
        return Estimate(
            value, low, high, found.products, "all products" if exact else "hutch++", 1.0 if exact else confidence
        )

    def _require_square(self, what: str) -> None:
        if not self.square:
            raise ValueError(f"{what} needs the square train x train kernel: make the operator without test data")


def _require_whole(**given: object) -> None:
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or (name == "seed" and value < 0):
            raise ValueError(f"{name}={value!r} must be a whole number{' from 0' if name == 'seed' else ''}")


def _require_share(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} must lie between 0 and 1, such as 0.95")


def _named(seed: int, name: str) -> np.random.Generator:
    """One random stream for each seed and purpose."""
    return np.random.default_rng([seed, *name.encode()])
