"""Networks on a line: units matched, weights mixed, batch-norm statistics measured anew, and their activities."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from analysis.interpolation.matching import match_activations, match_weights
from models.logits import Batch, logits_of, model_inputs
from models.unit_groups import NoUnitGroupsError, UnitGroups, permuted, unit_groups
from pipeline.config.statistics import BarriersConfig
from pipeline.errors import UserError

POSITIONS = 4096
"""Places of images that a unit's activity is compared on, over all rows: evenly spaced ones, where there are more."""


def groups_of(network: nn.Module, batch: Batch, model: str) -> UnitGroups:
    """Find which units of a network can be matched.

    Raises
    ------
    UserError
        If there are none that this knows; the sentence says what can be done.
    """
    inputs = model_inputs(batch)
    try:
        if not isinstance(inputs, Tensor):
            raise NoUnitGroupsError("it reads texts")
        return unit_groups(network, inputs[:4])
    except NoUnitGroupsError as error:
        raise UserError(
            "barriers.matching permutes units of plain chains of linear and convolutional layers and of ResNet-18, "
            f"not of model={model}: {error}. Set barriers.matching=[none], or take barriers out of wants."
        ) from error


def matched(
    matching: str, networks: Sequence[nn.Module], groups: UnitGroups, batches: Sequence[Batch], config: BarriersConfig
) -> dict[str, Tensor]:
    """State of the second network with its units in the order of the first one's.

    Parameters
    ----------
    matching : {"weights", "activations"}
        By what.
    networks : sequence of nn.Module
        Both, in evaluation mode.
    groups : UnitGroups
        Of both.
    batches : sequence of mapping
        Rows whose activities are compared.
    config : BarriersConfig
        Has the seed.
    """
    if matching == "weights":
        weights = [{n: p.detach().cpu().numpy() for n, p in network.named_parameters()} for network in networks]
        orders = match_weights(weights[0], weights[1], groups.axes, groups.sizes, config.seed)
    else:
        first, second = (activities(network, groups, batches) for network in networks)
        orders = match_activations(first, second)
    state = {name: value.detach().cpu() for name, value in networks[1].state_dict().items()}
    return permuted(state, groups, {name: torch.from_numpy(order) for name, order in orders.items()})


@torch.no_grad()
def activities(network: nn.Module, groups: UnitGroups, batches: Sequence[Batch]) -> dict[str, np.ndarray]:
    """Collect what every unit of each group gives on some rows, (rows and places of an image, units)."""
    caught: dict[str, list[np.ndarray]] = {group: [] for group in groups.sizes}
    each = max(1, POSITIONS // len(batches))

    def keep(group: str, values: Tensor) -> None:
        flat = values.movedim(1, -1).reshape(-1, values.shape[1])
        step = max(1, len(flat) // each)
        caught[group].append(flat[::step].double().cpu().numpy())

    modules = dict(network.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda _, args, output, group=group: keep(group, output))
        for group, name in groups.seen_at.items()
    ]
    try:
        for batch in batches:
            logits_of(network, batch)
    finally:
        for handle in handles:
            handle.remove()
    return {group: np.concatenate(parts) for group, parts in caught.items()}


def on_the_line(
    network: nn.Module, ends: Sequence[dict[str, Tensor]], places: Sequence[float], batches: Sequence[Batch]
) -> Iterator[nn.Module]:
    """Give the network at each place, in evaluation mode, with batch-norm statistics of its own.

    A mean of two networks' statistics is not the statistics of their mean (Jordan et al. 2023, arXiv:2211.08403), so
    those between the ends are measured anew on the given rows. The ends keep their own.
    """
    mixed = copy.deepcopy(network)
    frozen = getattr(network, "frozen_norm", False)  # its statistics are no averages over data
    norms = [m for m in mixed.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for place in places:
        state = {
            name: torch.lerp(value, ends[1][name].to(value), place) if value.is_floating_point() else value
            for name, value in ((name, value.to(next(mixed.parameters()).device)) for name, value in ends[0].items())
        }
        mixed.load_state_dict(ends[1] if place == 1 else state)
        mixed.eval()
        if norms and not frozen and 0 < place < 1:
            _measure_norms(mixed, norms, batches)
        yield mixed


@torch.no_grad()
def _measure_norms(network: nn.Module, norms: Sequence[_BatchNorm], batches: Sequence[Batch]) -> None:
    """Replace running statistics by their means over batches; nothing else is in training mode."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
        norm.train()
    for batch in batches:
        logits_of(network, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
