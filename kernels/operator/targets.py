"""What an operator is multiplied with and compared with: vectors in any array type, labels, and ratios of estimates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kernels.operator.estimates import Estimate


def read_vectors(v: Any, size: int, what: str) -> tuple[Float[np.ndarray, "n k"], Callable[[np.ndarray], Any]]:
    """Bring a vector or block to float64 columns; the second result turns a product into the type that was given.

    Raises
    ------
    TypeError, ValueError
        For another type, length, or numbers that are not finite.
    """
    if isinstance(v, Tensor):
        kind, floating = str(v.dtype).removeprefix("torch."), v.dtype.is_floating_point
        array = v.detach().cpu().double().numpy() if floating else np.empty(0)
        shape = tuple(v.shape)
    else:
        given = np.asarray(v)
        kind, shape, floating = str(given.dtype), given.shape, np.issubdtype(given.dtype, np.floating)
        array = given.astype(np.float64) if floating else np.empty(0)
    if not floating:
        raise TypeError(f"the vector is {kind}: convert it to floating point, for example with v.astype('float64')")
    if len(shape) not in (1, 2) or shape[0] != size:
        raise ValueError(
            f"the vector has shape {shape}, and the kernel {size} {what}: pass ({size},), or ({size}, k) for k vectors"
        )
    columns = array.reshape(size, -1) if len(shape) == 2 else array[:, None]
    bad = np.flatnonzero(~np.isfinite(columns).all(1))
    if len(bad):
        raise ValueError(f"the vector has NaN or infinity in row {bad[0]}")

    def back(found: np.ndarray) -> Any:
        found = found if len(shape) == 2 else found[:, 0]
        if isinstance(v, Tensor):
            kept = v.dtype if v.dtype in (torch.float32, torch.float64) else torch.float32
            return torch.from_numpy(np.ascontiguousarray(found)).to(v.device, kept)
        return found.astype(np.result_type(given.dtype, np.float32), copy=False)

    return np.ascontiguousarray(columns), back


def one_hot(labels: Any, samples: int) -> Float[np.ndarray, "n c"]:
    """Targets in float64: class indices one-hot, target vectors as they are.

    Raises
    ------
    ValueError
        Without labels, for another number of them, or for class indices below zero.
    """
    if labels is None:
        raise ValueError("alignment needs labels: pass them, or labels= of the operator, or data that holds them")
    found = torch.as_tensor(labels).detach().cpu()
    if len(found) != samples:
        raise ValueError(f"{len(found)} labels for {samples} samples")
    if found.ndim != 1:
        return found.double().reshape(samples, -1).numpy()
    if found.is_floating_point():
        raise ValueError("labels are floating point: pass class indices, or target vectors of shape (N, C)")
    if int(found.min()) < 0:
        raise ValueError(f"label {int(found.min())} of sample {int(found.argmin())} is below zero: leave it out")
    return torch.nn.functional.one_hot(found.long()).double().numpy()


def without_means(x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Take the mean out of every column."""
    return x - x.mean(0)


def ratio(upper: Estimate, lower: Estimate, power: int, confidence: float) -> Estimate:
    """(upper / lower)^power of two positive estimates whose intervals hold together with a confidence."""
    value = (upper.value / lower.value) ** power
    low = (max(upper.low, 0.0) / lower.high) ** power
    high = (upper.high / lower.low) ** power if lower.low > 0 else float("inf")
    exact = upper.confidence == lower.confidence == 1.0
    products = max(upper.products, lower.products) if upper.method == lower.method else upper.products + lower.products
    method = upper.method if upper.method == lower.method else f"{upper.method}, {lower.method}"
    return Estimate(value, low, high, products, method, 1.0 if exact else confidence)
