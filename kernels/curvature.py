r"""Hessian and Gauss-Newton matrix of a loss over a data set, from products alone: top eigenvalues and density.

With outputs f(x_i; w), a loss :math:`L(w) = \frac1n \sum_i \ell(f(x_i; w), y_i)` and the Jacobian J of all outputs,

.. math:: \nabla^2 L = \underbrace{\tfrac1n \sum_i J_i^T (\partial^2 \ell_i / \partial f^2) J_i}_{G} +
    \tfrac1n \sum_i \sum_c \frac{\partial \ell_i}{\partial f_c} \nabla^2 f_c(x_i).

For squared error, :math:`\partial^2 \ell / \partial f^2 = h I`, the nonzero eigenvalues of G are those of the tangent
kernel :math:`J J^T` times h / n. Products with the Hessian differentiate the gradient once more (Pearlmutter 1994,
Neural Computation 6), those with G are one push and one pull (Schraudolph 2002, Neural Computation 14).
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.inputs.samples import NotFiniteError, Samples
from kernels.machine.memory import parse_memory, show_bytes
from kernels.operator.certificate import Certificate, certify
from kernels.operator.jacobian import Jacobian
from kernels.operator.lanczos import Eigenpairs, SpectralDensity, block_density, top_eigenpairs

MATRICES = ("hessian", "gauss_newton")
ROWS = 256
"""Samples of a pass."""
_ROUNDING = 1e-12
"""Relative error of a product in float64."""
_SYMMETRIC = 1e-8
"""Difference of u'Hv and v'Hu that rounding may make, in units of their size."""
_COPIES = 4
"""Arrays of the size of a Lanczos basis that exist at once: the basis, its images, and both while they grow."""


class LossCurvature:
    """Second derivatives of a mean loss by a network's parameters, as products with vectors.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; a float64 copy is used, and parameters that need no gradient take no part.
    data : Tensor, mapping of tensors, or DataLoader
        The n samples, as for :func:`kernels.kernel_matrix`.
    loss : callable
        From the logits (b, C) of some samples and their places among all (a slice) to the mean loss of these samples.

    Raises
    ------
    ValueError
        If no parameter needs a gradient, the samples of a batch depend on each other, or the loss is not one number.

    Attributes
    ----------
    certificate : Certificate
        What was checked against samples alone.

    Examples
    --------
    >>> import torch
    >>> from kernels import LossCurvature
    >>> model, x, y = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.ones(2, 1)
    >>> curvature = LossCurvature(model, x, lambda f, rows: ((f - y[rows]) ** 2).mean())
    >>> curvature.hessian(torch.eye(2))  # 2 XᵀX / n
    tensor([[1., 0.],
            [0., 4.]], dtype=torch.float64)
    """

    def __init__(self, model: nn.Module, data: Any, loss: Callable[[Tensor, slice], Tensor]) -> None:
        if not callable(loss):
            raise ValueError(
                f"loss={loss!r} is no function: write one such as lambda f, rows: cross_entropy(f, y[rows])"
            )
        _require_two_arguments(loss)
        network = copy.deepcopy(model).double().eval()
        parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        if not parameters:
            raise ValueError("no parameter needs a gradient, so that the loss has no curvature: unfreeze one")
        self.loss = loss
        self.jacobian = Jacobian(network, parameters, Samples(data, None, "train"), None, torch.float64, ROWS)
        self.certificate = Certificate()
        certify(self.jacobian, self.certificate, np.random.default_rng([0, *b"certificate"]))
        self._slopes: tuple[Tensor | None, ...] | None = None

    @property
    def width(self) -> int:
        """Number of parameters."""
        return self.jacobian.width

    def hessian(self, vectors: Float[Tensor, "m p"]) -> Float[Tensor, "m p"]:
        """Each row times the Hessian."""
        found = torch.zeros(len(vectors), self.width, dtype=torch.float64, device=self.jacobian.device)
        vectors = self._rows(vectors).to(found)
        one_batch = self.jacobian.samples.count <= ROWS
        with self.jacobian.prepared(), torch.enable_grad():
            for rows in self.jacobian.cuts():
                slopes = self._slopes if one_batch and self._slopes is not None else self._gradient(rows)
                if one_batch:  # the gradient and its graph serve all products
                    self._slopes = slopes
                self._differentiate(slopes, vectors, found, keep=one_batch)
        return found

    def gauss_newton(self, vectors: Float[Tensor, "m p"]) -> Float[Tensor, "m p"]:
        """Each row times the Gauss-Newton matrix."""
        curved: dict[int, Tensor] = {}

        def keep(rows: slice, logits: Tensor, tangents: Tensor) -> None:
            curved[rows.start] = self._curved(rows, logits, tangents)

        self.jacobian.push(self._rows(vectors).to(self.jacobian.device, torch.float64), keep)
        return self.jacobian.pull(lambda rows, logits: curved[rows.start], len(vectors))

    def product(self, matrix: str) -> Callable[[Float[np.ndarray, "p k"]], Float[np.ndarray, "p k"]]:
        """Give the product with columns of NumPy, as Lanczos takes it.

        Raises
        ------
        ValueError
            If ``matrix`` is neither "hessian" nor "gauss_newton", or torch's second derivatives are missing or wrong.
        """
        if matrix not in MATRICES:
            raise ValueError(f"matrix={matrix!r}: use one of {', '.join(MATRICES)}")
        if matrix == "hessian":
            self._require_symmetry()
        times = self.hessian if matrix == "hessian" else self.gauss_newton
        return lambda columns: times(torch.from_numpy(np.ascontiguousarray(columns.T))).cpu().numpy().T

    def _require_symmetry(self) -> None:
        """Refuse a Hessian that is none: torch differentiates some operations twice wrongly, such as weight norm."""
        generator = torch.Generator().manual_seed(0)
        pair = torch.randn(2, self.width, generator=generator, dtype=torch.float64).to(self.jacobian.device)
        images = self.hessian(pair)
        one, other = float(pair[0] @ images[1]), float(pair[1] @ images[0])
        scale = float(images.norm() * pair[0].norm()) or 1.0
        if not abs(one - other) <= _SYMMETRIC * scale:
            raise ValueError(
                f"products with the Hessian are not symmetric (relative difference {abs(one - other) / scale:.1e}): "
                "torch differentiates an operation of this network twice wrongly, as it does weight_norm; take "
                "gauss_newton alone, or write the operation out"
            )

    def _rows(self, vectors: Tensor) -> Tensor:
        if vectors.ndim != 2 or vectors.shape[1] != self.width:
            raise ValueError(f"vectors of shape {tuple(vectors.shape)} must be rows of {self.width} parameters")
        return vectors

    def _loss(self, logits: Tensor, rows: slice) -> Tensor:
        """Part that these samples have in the loss."""
        value = self.loss(logits, rows)
        if not isinstance(value, Tensor) or value.numel() != 1:
            given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ValueError(f"the loss of samples {rows.start} to {rows.stop - 1} is {given}: it must be one number")
        return value.reshape(()) * ((rows.stop - rows.start) / self.jacobian.samples.count)

    def _gradient(self, rows: slice) -> tuple[Tensor | None, ...]:
        """Gradient of these samples' part of the loss, with its graph."""
        value = self._loss(self.jacobian.logits(self.jacobian.batch(rows)), rows)
        if not bool(value.detach().isfinite()):
            raise NotFiniteError(f"the loss of samples {rows.start} to {rows.stop - 1} is NaN or infinite")
        return torch.autograd.grad(value, list(self.jacobian.parameters.values()), create_graph=True, allow_unused=True)

    def _differentiate(self, slopes: tuple[Tensor | None, ...], vectors: Tensor, found: Tensor, *, keep: bool) -> None:
        own, sizes = list(self.jacobian.parameters.values()), self.jacobian.sizes
        for index, vector in enumerate(vectors):
            parts = [
                (slope, part.view_as(p))
                for slope, p, part in zip(slopes, own, vector.split(sizes), strict=True)
                if slope is not None and slope.requires_grad
            ]
            if not parts:
                continue
            ends, directions = zip(*parts, strict=True)
            again = keep or index + 1 < len(vectors)
            try:
                seconds = torch.autograd.grad(ends, own, directions, retain_graph=again, allow_unused=True)
            except NotImplementedError as error:
                raise ValueError(
                    f"torch has no second derivative of an operation of this network ({error}): take gauss_newton alone"
                ) from error
            for target, second in zip(found[index].split(sizes), seconds, strict=True):
                if second is not None:
                    target += second.reshape(-1)

    def _curved(self, rows: slice, logits: Tensor, tangents: Float[Tensor, "m b c"]) -> Float[Tensor, "m b c"]:
        """Tangents of the logits times the loss's second derivative by them."""
        with torch.enable_grad():
            free = logits.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self._loss(free, rows), free, create_graph=True)
            if not slope.requires_grad:
                return torch.zeros_like(tangents)
            seconds = [torch.autograd.grad(slope, free, one, retain_graph=True)[0] for one in tangents]
        return torch.stack(seconds)


def _require_two_arguments(loss: Callable[..., Tensor]) -> None:
    try:
        signature = inspect.signature(loss)
    except ValueError:  # of a function without one
        return
    try:
        signature.bind(None, None)
    except TypeError:
        raise ValueError(
            "loss must take the logits of some samples and their places, a slice: write one such as "
            "lambda f, rows: cross_entropy(f, y[rows])"
        ) from None


@dataclass(frozen=True)
class CurvatureSpectrum:
    """Spectrum of one matrix of second derivatives.

    Attributes
    ----------
    top : Eigenpairs
        Largest eigenvalues with residual bounds.
    density : SpectralDensity
        Weighted nodes of all eigenvalues; the smallest node is near the smallest eigenvalue.
    """

    top: Eigenpairs
    density: SpectralDensity


def lanczos_bytes(parameters: int, products: int, steps: int) -> int:
    """Compute the bytes of the vectors that :func:`curvature_spectrum` keeps at most.

    Examples
    --------
    >>> from kernels.curvature import lanczos_bytes
    >>> lanczos_bytes(parameters=1_000_000, products=100, steps=40) / 1e9
    3.2
    """
    return 8 * parameters * max(_COPIES * min(products, parameters), 2 * min(steps, parameters))


def curvature_spectrum(
    curvature: LossCurvature,
    matrix: str = "hessian",
    *,
    count: int = 10,
    products: int = 100,
    steps: int = 40,
    probes: int = 1,
    tolerance: float = 1e-4,
    seed: int = 0,
    memory: str | int | None = None,
) -> CurvatureSpectrum:
    """Top eigenvalues by Lanczos, and the density of all by stochastic Lanczos quadrature.

    Parameters
    ----------
    curvature : LossCurvature
        Of a network, data and a loss.
    matrix : {"hessian", "gauss_newton"}
        Which.
    count : int
        Top eigenvalues; at most as many as there are parameters.
    products : int
        Most vectors to multiply for them; what has not converged by then keeps its larger error.
    steps, probes : int
        Of the density: Lanczos steps, and random start vectors. Of P parameters one probe sees a share of the spectrum
        with an error of order 1/√P.
    tolerance : float
        Largest residual of an eigenvalue, in units of the largest.
    seed : int
        Of all start vectors.
    memory : str or int, optional
        Budget for Lanczos vectors, such as ``4GiB``.

    Raises
    ------
    ValueError
        If the vectors exceed the budget, with their size, or a number is not possible.

    References
    ----------
    Ghorbani, Krishnan and Xiao (2019), arXiv:1901.10159, section 2 (density of a network's Hessian).

    Examples
    --------
    >>> import torch
    >>> from kernels import LossCurvature, curvature_spectrum
    >>> model, x, y = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.ones(2, 1)
    >>> curvature = LossCurvature(model, x, lambda f, rows: ((f - y[rows]) ** 2).mean())
    >>> curvature_spectrum(curvature, "gauss_newton", count=2).top.values.round(6).tolist()
    [4.0, 1.0]
    """
    for name, value in {"count": count, "products": products, "steps": steps, "probes": probes}.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number from 1")
    require_lanczos_memory(curvature.width, products, steps, memory)
    product, width = curvature.product(matrix), curvature.width
    top = top_eigenpairs(
        product,
        width,
        min(count, width),
        np.random.default_rng([seed, *b"eigenvalues"]),
        tolerance=tolerance,
        products=products,
        rounding=_ROUNDING,
    )
    generator = np.random.default_rng([seed, *b"density"])
    # One after another, so that the vectors of one probe are all that is kept
    parts = [block_density(product, width, generator, steps=steps, probes=1) for _ in range(probes)]
    nodes, weights = np.concatenate([p.nodes for p in parts]), np.concatenate([p.weights for p in parts]) / probes
    order = np.argsort(nodes, kind="stable")
    return CurvatureSpectrum(top, SpectralDensity(nodes[order], weights[order]))


def require_lanczos_memory(parameters: int, products: int, steps: int, memory: str | int | None) -> int:
    """Compute the bytes of the Lanczos vectors, and refuse what is more than the budget.

    Raises
    ------
    ValueError
        With both sizes.
    """
    needed = lanczos_bytes(parameters, products, steps)
    if memory is not None and needed > parse_memory(memory, torch.device("cpu")):
        raise ValueError(
            f"Lanczos vectors of {parameters:,} parameters take up to {show_bytes(needed)}, more than memory={memory}, "
            f"for products={products} and steps={steps}; lower these, or raise the memory"
        )
    return needed
