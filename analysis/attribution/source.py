"""Unrolled training in segments, each with one curvature and one gradient per training point (SOURCE).

Bae, Lin, Lorraine and Grosse (2024), arXiv:2405.12186: where gradient descent runs for the time t_l = Σ η / (1 - μ)
under a curvature H_l, an early push along g_i is forgotten by exp(-t_l H_l), and the pushes of the segment itself add
up to (1 - exp(-t_l H_l)) H_l⁻¹ g_i.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

Vectors = Mapping[str, Tensor]


@runtime_checkable
class Curvature(Protocol):
    """A symmetric matrix whose functions can be applied, such as EK-FAC."""

    def function_product(self, function: Callable[[Tensor], Tensor], vectors: Vectors) -> dict[str, Tensor]:
        """f(H) times vectors."""
        ...


def segment_products(
    measures: Vectors,
    segments: Sequence[tuple[Curvature, Callable[[dict[str, Tensor]], Tensor]]],
    lengths: Sequence[float],
    *,
    decay: float = 0.0,
) -> Float[Tensor, "m n"]:
    """Sum over segments of u_lᵀ (1 - exp(-t_l H_l)) H_l⁻¹ g_i, with u_L = ∇m and u_{l-1} = exp(-t_l H_l) u_l.

    Parameters
    ----------
    measures : mapping of str to Tensor, shape (m, ...)
        Derivative of each test point's measure by the final weights.
    segments : sequence of (Curvature, callable)
        From the first to the last segment: H_l, and from vectors to their products (m, n) with every training point's
        loss gradient there.
    lengths : sequence of float
        t_l.
    decay : float
        Weight decay, added to every eigenvalue.

    Returns
    -------
    Tensor, shape (m, n)
        Minus 1/n times it is the derivative by the weight of a training point in a mean loss over n points.

    Raises
    ------
    ValueError
        If there are no segments or not one length each, or a value is not finite.

    Examples
    --------
    >>> import torch
    >>> from analysis.attribution.source import segment_products
    >>> class Ones:  # a curvature of 1 in every direction
    ...     def function_product(self, function, vectors):
    ...         return {n: v * function(torch.ones_like(v)) for n, v in vectors.items()}
    >>> along = lambda vectors: vectors["w"] @ torch.eye(2)  # two training points, one for each parameter
    >>> segment_products({"w": torch.ones(1, 2)}, [(Ones(), along)], [1.0])  # 1 - 1/e of the way to the minimum
    tensor([[0.6321, 0.6321]])
    """
    if len(segments) != len(lengths):
        raise ValueError(f"{len(segments)} segments for {len(lengths)} lengths: each needs its training time")
    if not all(0 <= length < math.inf for length in lengths) or not 0 <= decay < math.inf:
        raise ValueError(f"lengths={list(lengths)} and decay={decay:g} must be finite and at least 0")
    for name, values in measures.items():
        if not bool(values.isfinite().all()):
            raise ValueError(f"measures[{name!r}] has values that are NaN or infinite")
    held, total = dict(measures), None
    for (curvature, along), length in zip(reversed(segments), reversed(lengths), strict=True):
        push = curvature.function_product(functools.partial(_reached, time=length, decay=decay), held)
        part = along(push)
        total = part if total is None else total + part
        held = curvature.function_product(functools.partial(_kept, time=length, decay=decay), held)
    if total is None:
        raise ValueError("SOURCE needs at least one segment of training")
    return total


def _kept(values: Tensor, time: float, decay: float) -> Tensor:
    """Give the share of a push that is left after the time."""
    return torch.exp(-time * (values + decay))


def _reached(values: Tensor, time: float, decay: float) -> Tensor:
    """(1 - exp(-t x)) / x, which is t at 0."""
    x = values + decay
    curved = x.abs() * time > 1e-12
    return torch.where(curved, -torch.expm1(-time * x) / x.where(curved, torch.ones_like(x)), torch.full_like(x, time))
