"""Projected gradient ascent on the loss inside an L∞ ball (PGD, arXiv:1706.06083)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class PixelBall:
    """An L∞ ball given in pixels of [0, 1], in the units of normalized images.

    Attributes
    ----------
    radius, low, high : Tensor, shape (C, 1, 1)
        For each channel: the radius, and the values of black and white.

    Examples
    --------
    >>> from models import PixelBall
    >>> ball = PixelBall.of(8 / 255, channels=1, mean=[0.5], std=[0.25])
    >>> round(float(ball.radius), 4), float(ball.low), float(ball.high)
    (0.1255, -2.0, 2.0)
    """

    radius: Float[Tensor, "c 1 1"]
    low: Float[Tensor, "c 1 1"]
    high: Float[Tensor, "c 1 1"]

    @classmethod
    def of(cls, radius: float, channels: int, mean: Sequence[float] | None, std: Sequence[float] | None) -> PixelBall:
        """Scale a radius by the normalization of the images; None where the images are raw pixels."""
        center = torch.tensor(list(mean or [0.0] * channels), dtype=torch.float64)[:, None, None]
        scale = torch.tensor(list(std or [1.0] * channels), dtype=torch.float64)[:, None, None]
        return cls(radius / scale, -center / scale, (1 - center) / scale)


def projected_gradient_attack(
    scores: Callable[[Tensor], Tensor],
    inputs: Tensor,
    labels: Int[Tensor, " m"],
    *,
    radius: Tensor,
    low: Tensor,
    high: Tensor,
    steps: int,
    generator: torch.Generator,
    rows: int | None = None,
) -> Tensor:
    """Raise each input's cross-entropy without leaving its L∞ ball or the range of valid inputs.

    Parameters
    ----------
    scores : callable
        From inputs (m, ...) to logits (m, C), or (m, 1) for a single logit of class 1. Rows must not depend on
        each other.
    inputs : Tensor, shape (m, ...)
        Clean inputs.
    labels : Tensor of int64, shape (m,)
        True classes, which the attack moves away from.
    radius, low, high : Tensor
        Radius of the ball and valid range in the units of the inputs, broadcast against one of them.
    steps : int
        Ascent steps of 2.5 radius / steps each, from a uniform random start; one step ends in a corner of the
        ball, as FGSM does.
    generator : torch.Generator
        Draws the random start.
    rows : int, optional
        Inputs that are attacked at a time, for networks that fill the memory; all by default.

    Returns
    -------
    Tensor, shape (m, ...)
        Attacked inputs; the clean ones at radius 0.

    Raises
    ------
    ValueError
        If the radius is negative or not finite, or there is no step.

    Examples
    --------
    >>> import torch
    >>> from models import projected_gradient_attack
    >>> pixels, radius = torch.tensor([[0.5, 0.5]]), torch.tensor(0.1)
    >>> def difference(x):  # a single logit: class 1 where the first pixel is the brighter one
    ...     return x[:, :1] - x[:, 1:]
    >>> projected_gradient_attack(difference, pixels, torch.tensor([1]), radius=radius, low=torch.tensor(0.0),
    ...                           high=torch.tensor(1.0), steps=5, generator=torch.Generator().manual_seed(0))
    tensor([[0.4000, 0.6000]])
    """
    if steps < 1:
        raise ValueError(f"An attack needs at least one step, got {steps}.")
    if not bool(torch.isfinite(radius).all()) or bool((radius < 0).any()):
        raise ValueError(f"The radius of an attack must be finite and at least 0, got {radius.tolist()}.")
    start = 2 * torch.rand(inputs.shape, generator=generator, dtype=inputs.dtype) - 1
    floor, ceiling = torch.maximum(inputs - radius, low), torch.minimum(inputs + radius, high)
    moved = (inputs + radius * start.to(inputs.device)).clamp(floor, ceiling)
    for _ in range(steps):
        parts = zip(moved.split(rows or len(moved)), labels.split(rows or len(moved)), strict=True)
        slope = torch.cat([_slope(scores, part, true) for part, true in parts])
        moved = (moved.detach() + 2.5 * radius / steps * slope.sign()).clamp(floor, ceiling)
    return moved


def _slope(scores: Callable[[Tensor], Tensor], points: Tensor, labels: Tensor) -> Tensor:
    points = points.detach().requires_grad_(True)
    outputs = scores(points)
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    return torch.autograd.grad(functional.cross_entropy(outputs, labels, reduction="sum"), points)[0]
