"""Which units of a network may change places: permuting them in one layer and in what reads it keeps every output.

Networks that differ by such permutations alone are one function, so that two networks are compared after the best of
them (Entezari et al. 2022, arXiv:2110.06296; Ainsworth et al. 2023, arXiv:2209.04836).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.resnet18 import BasicBlock, ResNet18

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.PReLU)
_SAME = 1e-9
"""Relative change of outputs in float64 that a permutation may make: rounding of sums in another order."""


class NoUnitGroupsError(ValueError):
    """A network whose units this does not know how to permute."""


@dataclass
class UnitGroups:
    """Groups of units that are permuted together.

    Attributes
    ----------
    sizes : dict of str to int
        Units of each group.
    axes : dict of str to list of (int, str)
        For each entry of the network's state: which axis is in the order of which group. An axis that is a multiple of
        the group, as after flattening images, has blocks of neighbors for each unit.
    seen_at : dict of str to str
        Module whose output shows each group's activity, units on axis 1.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    axes: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    seen_at: dict[str, str] = field(default_factory=dict)


def unit_groups(network: nn.Module, probe: Tensor) -> UnitGroups:
    """Find the groups of a chain of layers or of ResNet-18, and check that permuting them keeps the outputs.

    A chain is a network whose linear and convolutional layers feed each other in the order of registration, with norms,
    activations and poolings between them.

    Parameters
    ----------
    network : nn.Module
        Not changed.
    probe : Tensor
        A few inputs.

    Raises
    ------
    NoUnitGroupsError
        If the network is something else; the message says why.

    Examples
    --------
    >>> import torch
    >>> from models import build_model
    >>> from models.unit_groups import unit_groups
    >>> network = build_model("mlp", input_shape=(4,), n_classes=3, seed=0, widths=[8, 5])
    >>> found = unit_groups(network, torch.randn(2, 4, generator=torch.Generator().manual_seed(0)))
    >>> found.sizes, found.axes["hidden.1.linear.weight"]
    ({'hidden.0.linear': 8, 'hidden.1.linear': 5}, [(0, 'hidden.1.linear'), (1, 'hidden.0.linear')])
    """
    groups = _of_resnet18(network) if isinstance(network, ResNet18) else _of_chain(network)
    if not groups.sizes:
        raise NoUnitGroupsError("it has one layer, and no units between layers")
    twin = copy.deepcopy(network).double().eval()
    generator = torch.Generator().manual_seed(0)
    probe = probe.double()
    with torch.no_grad():
        before = twin(probe)
        twin.load_state_dict(permuted(twin.state_dict(), groups, random_permutations(groups, generator)))
        after = twin(probe)
    if not before.shape == after.shape or not bool(((after - before).abs() <= _SAME * (1 + before.abs())).all()):
        raise NoUnitGroupsError(
            "permuting its units changes its outputs, so that it is no plain chain of layers (or reads neighboring "
            "units together)"
        )
    return groups


def _of_chain(network: nn.Module) -> UnitGroups:
    groups = UnitGroups()
    named = [(name, module) for name, module in network.named_modules() if isinstance(module, LAYERS)]
    if not named:
        raise NoUnitGroupsError("it has no linear or convolutional layer")
    last, current = named[-1][0], ""
    known: set[str] = set()
    for name, module in network.named_modules():
        own = [f"{name}.{key}".lstrip(".") for key in _entries(module)]
        if isinstance(module, LAYERS):
            if getattr(module, "groups", 1) != 1:
                raise NoUnitGroupsError(f"{name} has groups of channels of its own")
            group = "" if name == last else name
            groups.axes[f"{name}.weight"] = [(0, group)] if group else []
            if current:
                _read_by(groups, f"{name}.weight", current, module.weight.shape[1])
            if module.bias is not None:
                groups.axes[f"{name}.bias"] = [(0, group)] if group else []
            if group:
                groups.sizes[group], groups.seen_at[group] = module.weight.shape[0], name
            current = group
        elif isinstance(module, NORMS):
            _norm(groups, name, module, current)
        elif own:
            raise NoUnitGroupsError(f"{own[0]} belongs to no linear or convolutional layer, and to no norm")
        known.update(own)
    absent = set(network.state_dict()) - known
    if absent:
        raise NoUnitGroupsError(f"{sorted(absent)[0]} is shared or made by others")
    return groups


def _read_by(groups: UnitGroups, entry: str, group: str, width: int) -> None:
    """Note that axis 1 of a weight reads a group, each unit through a block of neighbors."""
    if width % groups.sizes[group]:
        raise NoUnitGroupsError(f"{entry} reads {width} values, no multiple of the {groups.sizes[group]} units before")
    groups.axes[entry].append((1, group))


def _norm(groups: UnitGroups, name: str, module: nn.Module, group: str) -> None:
    """Let a norm's entries follow the units that it normalizes."""
    entries = _entries(module)
    if isinstance(module, nn.GroupNorm) and module.num_groups not in (1, module.num_channels):
        raise NoUnitGroupsError(f"{name} normalizes groups of channels")
    for key, value in entries.items():
        if value.ndim != 1 or len(value) == 1:  # a count of batches, or one slope for all
            continue
        if not group:
            continue  # before the first layer, or after the last: nothing is permuted there
        if len(value) % groups.sizes[group]:
            raise NoUnitGroupsError(f"{name} has {len(value)} values for {groups.sizes[group]} units")
        groups.axes[f"{name}.{key}"] = [(0, group)]
    if group and isinstance(module, nn.modules.batchnorm._BatchNorm):
        groups.seen_at[group] = name


def _entries(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}


def _of_resnet18(network: ResNet18) -> UnitGroups:
    groups = UnitGroups()
    stream = "conv1"

    def convolution(name: str, module: nn.Module, reads: str, group: str) -> None:
        assert isinstance(module, nn.Conv2d)
        groups.sizes[group] = module.weight.shape[0]
        groups.axes[f"{name}.weight"] = [(0, group), (1, reads)] if reads else [(0, group)]

    convolution("conv1", network.conv1, "", stream)
    _norm(groups, "bn1", network.bn1, stream)
    for name, block in network.named_modules():
        if not isinstance(block, BasicBlock):
            continue
        inside = f"{name}.conv1"
        after = stream if isinstance(block.downsample, nn.Identity) else name
        convolution(inside, block.conv1, stream, inside)
        _norm(groups, f"{name}.bn1", block.bn1, inside)
        convolution(f"{name}.conv2", block.conv2, inside, after)
        _norm(groups, f"{name}.bn2", block.bn2, after)
        if isinstance(block.downsample, nn.Sequential):
            convolution(f"{name}.downsample.0", block.downsample[0], stream, after)
            _norm(groups, f"{name}.downsample.1", block.downsample[1], after)
        stream = after
        groups.seen_at[stream] = name  # the last block of a stream has seen all that was added to it
    groups.axes["fc.weight"], groups.axes["fc.bias"] = [(1, stream)], []
    return groups


def random_permutations(groups: UnitGroups, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw an order of the units of every group."""
    return {name: torch.randperm(size, generator=generator) for name, size in groups.sizes.items()}


def permuted(state: Mapping[str, Tensor], groups: UnitGroups, orders: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put the units of a network's state into other orders: unit i becomes what unit ``order[i]`` was.

    Parameters
    ----------
    state : mapping of str to Tensor
        As of ``state_dict``.
    groups : UnitGroups
        Of the network.
    orders : mapping of str to Tensor of int
        Permutation of each group; groups that it lacks stay as they are.

    Examples
    --------
    >>> import torch
    >>> from models.unit_groups import UnitGroups, permuted
    >>> groups = UnitGroups({"a": 2}, {"b.weight": [(1, "a")]})
    >>> permuted({"b.weight": torch.tensor([[1, 2, 3, 4]])}, groups, {"a": torch.tensor([1, 0])})["b.weight"]
    tensor([[3, 4, 1, 2]])
    """
    found = dict(state)
    for entry, axes in groups.axes.items():
        for axis, group in axes:
            if group in orders:
                places = blocks(orders[group], found[entry].shape[axis]).to(found[entry].device)
                found[entry] = found[entry].index_select(axis, places)
    return found


def blocks(order: Tensor, width: int) -> Tensor:
    """Places along an axis on which each unit has a block of neighbors."""
    size = width // len(order)
    return (order[:, None] * size + torch.arange(size)).reshape(-1)
