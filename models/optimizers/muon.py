"""Muon for the weight matrices inside a network, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# The functional form of torch.optim.Muon, which takes tensors of two axes alone, and that optimizer's defaults
from torch.optim._muon import DEFAULT_A, DEFAULT_B, DEFAULT_C, DEFAULT_NS_STEPS, EPS, muon
from torch.optim.adamw import adamw


def hidden_matrices(network: nn.Module) -> list[nn.Parameter]:
    """Trained weights that Muon moves: matrices and filters, but for embeddings and the last layer.

    Parameters
    ----------
    network : nn.Module
        A weight of more than two axes counts as the matrix of its first axis against all others.

    Returns
    -------
    list of nn.Parameter
        In order of registration; a weight that several layers share once, and not at all if one of them is an
        embedding or the last layer.

    Examples
    --------
    >>> from torch import nn
    >>> from models.optimizers import hidden_matrices
    >>> network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> [tuple(weight.shape) for weight in hidden_matrices(network)]
    [(4, 1, 3, 3), (8, 16)]
    """
    found: dict[int, nn.Parameter] = {}
    left_out: set[int] = set()
    last: list[nn.Parameter] = []
    for module in network.modules():
        own = [one for one in module.parameters(recurse=False) if one.ndim >= 2 and 1 not in as_matrix(one).shape]
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            left_out |= {id(one) for one in own}
        elif own:
            last = own
            found |= {id(one): one for one in own if one.requires_grad}
    left_out |= {id(one) for one in last}
    return [one for key, one in found.items() if key not in left_out]


def as_matrix(weight: Tensor) -> Tensor:
    """View a weight as rows x columns without copying it, also where its channels lie last in memory.

    The order of the columns has no influence on an orthogonalized step.
    """
    if weight.ndim == 2:
        return weight
    if weight.ndim == 4 and not weight.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)
    return weight.view(weight.shape[0], -1)


class MuonWithAdamW(torch.optim.Optimizer):
    """Orthogonalized steps for hidden matrices; AdamW for biases, norms, embeddings and the last layer.

    A matrix moves by ``0.2 sqrt(max(rows, columns)) lr O``, where O is the momentum's gradient with its singular values
    brought near 1 by five Newton-Schulz iterations (Jordan et al. 2024); the factor gives a step the size that AdamW's
    would have (Liu et al. 2025, arXiv:2502.16982), so that one rate serves both.

    Parameters
    ----------
    network : nn.Module
        Frozen parameters are left out.
    lr : float
        Of both.
    momentum : float
        Of the matrices, with Nesterov's look ahead.
    weight_decay : float
        Decoupled, of both.

    Raises
    ------
    ValueError
        If the network has no hidden matrix.

    Examples
    --------
    >>> import torch
    >>> from models.optimizers import MuonWithAdamW
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> optimizer = MuonWithAdamW(network, lr=0.01)
    >>> [len(group["params"]) for group in optimizer.param_groups]
    [1, 3]
    """

    def __init__(self, network: nn.Module, *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        matrices = hidden_matrices(network)
        if not matrices:
            raise ValueError(
                "muon moves weight matrices between the input and the last layer, and this network trains none; "
                "choose adamw"
            )
        chosen = {id(one) for one in matrices}
        others = [one for one in network.parameters() if one.requires_grad and id(one) not in chosen]
        groups: list[dict[str, Any]] = [{"params": matrices, "matrices": True}]
        if others:
            groups.append({"params": others, "matrices": False})
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; ``closure`` computes loss and gradients anew."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [one for one in group["params"] if one.grad is not None]
            (self._step_matrices if group["matrices"] else self._step_others)(moved, group)
        return loss

    def _step_matrices(self, weights: Iterable[nn.Parameter], group: dict[str, Any]) -> None:
        sides: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for weight in weights:
            if not (state := self.state[weight]):
                state["momentum_buffer"] = torch.zeros_like(weight)
            gradient = torch.empty_like(weight).copy_(_gradient(weight))  # in the weight's own order in memory
            for side, one in zip(sides, (weight, gradient, state["momentum_buffer"]), strict=True):
                side.append(as_matrix(one))
        orthogonal_steps(*sides, lr=group["lr"], momentum=group["momentum"], weight_decay=group["weight_decay"])

    def _step_others(self, weights: list[nn.Parameter], group: dict[str, Any]) -> None:
        for weight in weights:
            if not (state := self.state[weight]):
                state["step"] = torch.tensor(0.0)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        states = [self.state[weight] for weight in weights]
        adamw(
            params=list(weights),
            grads=[_gradient(weight) for weight in weights],
            exp_avgs=[state["exp_avg"] for state in states],
            exp_avg_sqs=[state["exp_avg_sq"] for state in states],
            max_exp_avg_sqs=[],
            state_steps=[state["step"] for state in states],
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def _gradient(weight: nn.Parameter) -> Tensor:
    assert weight.grad is not None
    return weight.grad


def orthogonal_steps(
    weights: list[Tensor],
    gradients: list[Tensor],
    momenta: list[Tensor],
    *,
    lr: float,
    momentum: float,
    weight_decay: float = 0.0,
) -> None:
    """Move matrices in place by one step of Muon, and advance their momenta.

    Parameters
    ----------
    weights, gradients, momenta : list of Tensor
        Matrices of equal shapes, place by place.
    lr, momentum, weight_decay : float
        See :class:`MuonWithAdamW`.
    """
    muon(
        weights,
        gradients,
        momenta,
        lr=lr,
        weight_decay=weight_decay,
        momentum=momentum,
        nesterov=True,
        adjust_lr_fn="match_rms_adamw",
        has_complex=False,
        ns_coefficients=(DEFAULT_A, DEFAULT_B, DEFAULT_C),
        ns_steps=DEFAULT_NS_STEPS,
        eps=EPS,
    )
