"""Slow, obvious versions of the random-matrix formulas, in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.integrate import quad


def marchenko_pastur_cdf(x: float, ratio: float, variance: float) -> float:
    low, high = variance * (1 - math.sqrt(ratio)) ** 2, variance * (1 + math.sqrt(ratio)) ** 2

    def density(t: float) -> float:
        return math.sqrt(max(0.0, (high - t) * (t - low))) / (2 * math.pi * ratio * variance * t)

    start = max(low, 1e-14)
    mass = quad(density, start, min(max(x, start), high), limit=500)[0]
    return max(0.0, 1 - 1 / ratio) + mass if x >= 0 else 0.0


def deformed_density(x: float, population: np.ndarray, weights: np.ndarray, ratio: float, smoothing: float) -> float:
    """Damped iteration of m = int dH(t) / (t (1 - q - q z m) - z), one point at a time."""
    z = complex(x, smoothing)
    m = -1 / z
    for _ in range(20_000):
        following = complex(np.sum(weights / (population * (1 - ratio - ratio * z * m) - z)))
        if abs(following - m) < 1e-13:
            break
        m = 0.5 * (m + following)
    return m.imag / math.pi


def power_law_fit(values: np.ndarray, min_tail: int) -> tuple[float, float, float]:
    """Exponent, x_min and KS distance by trying every start with plain loops."""
    ordered = sorted(float(v) for v in values if v > 0)
    best = (math.nan, math.nan, math.inf)
    for start in sorted(set(ordered)):
        tail = [v for v in ordered if v >= start]
        if len(tail) < min_tail:
            break
        total = sum(math.log(v / start) for v in tail)
        if total <= 0:
            continue
        alpha = 1 + len(tail) / total
        distance = 0.0
        for rank, value in enumerate(tail):
            model = 1 - (value / start) ** (1 - alpha)
            distance = max(distance, abs(model - rank / len(tail)), abs(model - (rank + 1) / len(tail)))
        if distance < best[2]:
            best = (alpha, start, distance)
    return best


def wishart_spectrum(rows: int, columns: int, generator: np.random.Generator) -> np.ndarray:
    z = generator.standard_normal((rows, columns))
    return np.linalg.svd(z, compute_uv=False) ** 2 / rows


def tangent_kernel(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Sum over trained parameters of per-sample gradient products, one backward pass per sample."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    rows = []
    for sample in x:
        gradients = torch.autograd.grad(model(sample[None])[0, 0], parameters)
        rows.append(torch.cat([g.reshape(-1) for g in gradients]))
    jacobian = torch.stack(rows)
    return jacobian @ jacobian.T


def kernel_target_alignment(kernel: np.ndarray, targets: np.ndarray) -> float:
    """Frobenius cosine of K and Y Y^T, both formed."""
    y = targets.reshape(len(targets), -1)
    ideal = y @ y.T
    return float(np.trace(kernel @ ideal) / math.sqrt(np.trace(kernel @ kernel) * np.trace(ideal @ ideal)))


def gaussian_equivalent_kernels(
    inputs: np.ndarray,
    width: int,
    slope: float,
    slope_square: float,
    generator: np.random.Generator,
) -> dict[str, np.ndarray]:
    """One draw of the kernels of the Gaussian-equivalent network.

    Features ``s(X W^T / sqrt(d))`` are replaced by ``b X W^T / sqrt(d) + sqrt(1 - b^2) Z``, which has
    the same limiting spectrum; the first layer's tangent kernel by ``b^2 X X^T / d + (a - b^2) I``.

    Returns
    -------
    dict
        ``ck``, ``first_layer`` and their sum ``ntk``, each (n, n).

    References
    ----------
    arXiv:2005.11879 (theorems 3.4 and 3.7); used in arXiv:2211.06506.
    """
    samples, features = inputs.shape
    gram = inputs @ inputs.T / features
    weight = generator.standard_normal((width, features))
    noise = generator.standard_normal((samples, width))
    phi = slope * inputs @ weight.T / math.sqrt(features) + math.sqrt(max(0.0, 1 - slope**2)) * noise
    conjugate = phi @ phi.T / width
    first = slope**2 * gram + (slope_square - slope**2) * np.eye(samples)
    return {"ck": conjugate, "first_layer": first, "ntk": conjugate + first}
