"""Optimizer steps as functions of state and gradient, and their vector-Jacobian products, derived by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

RULES = ("sgd", "nesterov", "adam", "adamw")
"""Optimizers whose step is a smooth function of state and gradient."""

State = list[Tensor]
"""Weights θ (p,), then the momentum b, or Adam's moments m and v."""


@dataclass(frozen=True)
class OptimizerRule:
    """One optimizer of :func:`models.make_optimizer` on a flat vector of weights.

    Attributes
    ----------
    name : {"sgd", "nesterov", "adam", "adamw"}
    momentum, weight_decay : float
        ``momentum`` is for the first two.
    betas, eps
        Of Adam.

    Examples
    --------
    >>> import torch
    >>> from analysis.attribution.optimizer_steps import OptimizerRule
    >>> rule = OptimizerRule("sgd", momentum=0.9)
    >>> state = rule.step(rule.initial(torch.ones(2)), torch.tensor([1.0, 0.0]), rate=0.1, index=0)
    >>> state[0], rule.pull(state, torch.zeros(2), [torch.ones(1, 2), torch.zeros(1, 2)], rate=0.1, index=1)[1]
    (tensor([0.9000, 1.0000]), tensor([[-0.1000, -0.1000]]))
    """

    name: str
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        """Refuse an optimizer whose step has no derivative here."""
        if self.name not in RULES:
            raise ValueError(f"the step of {self.name!r} has no derivative here; train with one of {', '.join(RULES)}")
        if not 0 <= self.momentum < 1 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"momentum={self.momentum:g} and betas={self.betas} must be at least 0 and below 1")
        if not 0 <= self.weight_decay < math.inf or not self.eps > 0:
            raise ValueError(f"weight_decay={self.weight_decay:g} must be at least 0, and eps={self.eps:g} above 0")

    def initial(self, weights: Float[Tensor, " p"]) -> State:
        """State before the first step."""
        empty = 2 if self.name.startswith("adam") else 1
        return [weights, *(weights.new_zeros(weights.shape) for _ in range(empty))]

    def step(self, state: State, gradient: Float[Tensor, "*s p"], rate: float, index: int) -> State:
        """Take step ``index`` (0 for the first) with a learning rate, as PyTorch does, of one training or several."""
        decay = self.weight_decay
        if not self.name.startswith("adam"):
            weights, buffer = state
            slope = gradient + decay * weights
            moved = self.momentum * buffer + slope
            direction = slope + self.momentum * moved if self.name == "nesterov" else moved
            return [weights - rate * direction, moved]
        weights, first, second = state
        if self.name == "adamw":
            weights, slope = weights * (1 - rate * decay), gradient
        else:
            slope = gradient + decay * weights
        first = self.betas[0] * first + (1 - self.betas[0]) * slope
        second = self.betas[1] * second + (1 - self.betas[1]) * slope**2
        c1, c2 = self._corrections(index)
        return [weights - rate / c1 * first / (second.sqrt() / c2**0.5 + self.eps), first, second]

    def pull(
        self, state: State, gradient: Float[Tensor, " p"], adjoint: State, rate: float, index: int
    ) -> tuple[State, Float[Tensor, "k p"]]:
        """Pull adjoints of the state after a step back to the state before it and to the gradient.

        Parameters
        ----------
        state, gradient
            Before the step.
        adjoint : list of Tensor, shape (k, p)
            Derivatives of k numbers by each part of the state after it.

        Returns
        -------
        state, gradient
            Derivatives by each part of the state before, not counting that the gradient depends on the weights, and by
            the gradient.

        Notes
        -----
        An entry of Adam whose second moment is 0 has first moment 0, and √v stands beside m only as m/√v: its
        derivative counts 0 there, which is the limit.
        """
        decay = self.weight_decay
        if not self.name.startswith("adam"):
            weights, moved = adjoint
            direction = -rate * weights
            nesterov = self.name == "nesterov"
            moved = moved + (self.momentum if nesterov else 1.0) * direction
            slope = moved + direction if nesterov else moved
            return [weights + decay * slope, self.momentum * moved], slope
        b1, b2 = self.betas
        own = gradient if self.name == "adamw" else gradient + decay * state[0]
        first = b1 * state[1] + (1 - b1) * own
        second = b2 * state[2] + (1 - b2) * own**2
        c1, c2 = self._corrections(index)
        root = second.sqrt()
        below = root / c2**0.5 + self.eps
        weights, of_first, of_second = adjoint
        of_first = of_first - rate / c1 * weights / below
        bend = rate / c1 * first / below**2 / (2 * c2**0.5) / root.where(root > 0, 1.0) * (root > 0)
        of_second = of_second + weights * bend
        slope = (1 - b1) * of_first + 2 * (1 - b2) * own * of_second
        kept = weights * (1 - rate * decay) if self.name == "adamw" else weights + decay * slope
        return [kept, b1 * of_first, b2 * of_second], slope

    def _corrections(self, index: int) -> tuple[float, float]:
        return 1 - self.betas[0] ** (index + 1), 1 - self.betas[1] ** (index + 1)
