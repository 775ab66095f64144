"""Optimizers by name and learning-rate schedules as a factor per optimizer step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from models.optimizers.muon import MuonWithAdamW

SCHEDULES = ("constant", "cosine", "step")
OPTIMIZERS = ("sgd", "nesterov", "adam", "adamw", "muon")


def learning_rate_factor(
    step: int,
    total_steps: int,
    *,
    schedule: str = "constant",
    warmup: float = 0.0,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
) -> float:
    """Multiple of the base rate that optimizer step ``step`` uses.

    Parameters
    ----------
    step : int
        Steps already taken: 0 for the first.
    total_steps : int
        Length of training.
    schedule : {"constant", "cosine", "step"}
        After the warm-up: stay at 1, fall to 0 along half a cosine over the remaining steps, or multiply by
        ``gamma`` at each milestone.
    warmup : float
        Share of all steps in which the rate rises linearly, (step + 1)/warm-up steps, to 1.
    milestones : sequence of float
        Shares of all steps, for ``step``.
    gamma : float
        Factor at each milestone.

    Returns
    -------
    float
        Non-negative factor.

    Raises
    ------
    ValueError
        On an unknown schedule or shares outside [0, 1].

    Examples
    --------
    >>> from models import learning_rate_factor
    >>> [round(learning_rate_factor(step, 100, schedule="cosine", warmup=0.1), 2) for step in (0, 9, 55, 100)]
    [0.1, 1.0, 0.5, 0.0]
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown training.schedule {schedule!r}; choose one of {', '.join(SCHEDULES)}")
    if not 0 <= warmup <= 1 or any(not 0 <= share <= 1 for share in milestones):
        raise ValueError(f"warmup {warmup} and milestones {list(milestones)} are shares of all steps, within 0 and 1")
    rising = round(warmup * total_steps)
    if step < rising:
        return (step + 1) / rising
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total_steps - rising))))
    if schedule == "step":
        return gamma ** sum(step >= round(share * total_steps) for share in milestones)
    return 1.0


def make_optimizer(
    trained: nn.Module | Iterable[nn.Parameter],
    name: str,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> torch.optim.Optimizer:
    """Build an optimizer over the parameters that are trained.

    Parameters
    ----------
    trained : nn.Module or iterable of nn.Parameter
        Frozen parameters are left out. ``muon`` needs the network itself, whose last layer it treats apart.
    name : {"sgd", "nesterov", "adam", "adamw", "muon"}
        ``adam`` puts the decay into the gradient, ``adamw`` decouples it; both use betas 0.9 and 0.999. ``muon`` is
        :class:`models.optimizers.muon.MuonWithAdamW`.
    lr, momentum, weight_decay : float
        ``momentum`` is for the first two and for ``muon``.

    Raises
    ------
    ValueError
        On an unknown name, when every parameter is frozen, or when ``muon`` has no matrix to move.

    Examples
    --------
    >>> import torch
    >>> from models import make_optimizer
    >>> network = torch.nn.Linear(3, 2)
    >>> network.bias.requires_grad = False
    >>> optimizer = make_optimizer(network.parameters(), "adamw", lr=1e-3)
    >>> [len(group["params"]) for group in optimizer.param_groups]  # the frozen bias is left out
    [1]
    """
    parameters = list(trained.parameters() if isinstance(trained, nn.Module) else trained)
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    if not parameters:
        raise ValueError("no parameter is trained: every layer is frozen")
    if name == "sgd":
        return torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=weight_decay)
    if name == "nesterov":
        return torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=weight_decay, nesterov=True)
    if name == "adam":
        return torch.optim.Adam(parameters, lr, weight_decay=weight_decay)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr, weight_decay=weight_decay)
    if name == "muon":
        if not isinstance(trained, nn.Module):
            raise ValueError("muon needs the network, not a list of its parameters: it treats the last layer apart")
        return MuonWithAdamW(trained, lr=lr, momentum=momentum, weight_decay=weight_decay)
    raise ValueError(f"unknown training.optimizer {name!r}; choose one of {', '.join(OPTIMIZERS)}")
