"""Outputs of chosen layers on one split: which layers a pattern names, how positions are pooled."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from kernels import layer_features
from kernels.capture import conjugate_source, module_names
from models.fields import choices_of
from pipeline.config.features import FeaturesConfig
from pipeline.data.datamodule import KernelInputs
from pipeline.errors import UserError

POOLS = choices_of(FeaturesConfig, "pool")
BLOCKS = re.compile(r"(^|.*\.)(layer\d+\.\d+|h\.\d+|layers?\.\d+)$")
"""Names of residual and transformer blocks in the networks of ``models/`` and in transformers."""

OWN_ENTRIES = ("ids", "labels", "logits", "penultimate")
"""What stands beside the layers of a split, under names of its own."""


def layer_choice(network: nn.Module, wanted: list[str]) -> list[str]:
    """Resolve ``blocks``, globs and names to module names, in the network's order.

    Raises
    ------
    UserError
        If a pattern matches no module (some names are listed), or one that is called like an entry of ours.
    """
    names = [name for name, _ in network.named_modules() if name]
    chosen: set[str] = set()
    for pattern in wanted:
        if pattern == "penultimate":
            continue
        matched = [n for n in names if (BLOCKS.match(n) if pattern == "blocks" else fnmatch.fnmatchcase(n, pattern))]
        if not matched:
            raise UserError(f"features.layers: {pattern!r} matches no module. Modules: {', '.join(names[:30])}.")
        taken = next((name for name in matched if name in OWN_ENTRIES), None)
        if taken is not None:
            raise UserError(
                f"features.layers: {pattern!r} matches the module {taken}, whose name is that of another entry of the "
                "features; name other layers, or rename it in the network."
            )
        chosen.update(matched)
    return module_names(network, [name for name in names if name in chosen]) if chosen else []


def split_features(
    network: nn.Module, points: KernelInputs, wanted: list[str], pool: str, head: str | None = None
) -> dict[str, Tensor]:
    """Features of one split by layer, and the logits, all in memory; arguments as of :func:`feature_batches`."""
    collected: dict[str, list[Tensor]] = {}
    for _, found in feature_batches(network, points, wanted, pool, head):
        for name, values in found.items():
            collected.setdefault(name, []).append(values)
    return {name: torch.cat(parts) for name, parts in collected.items()}


def feature_batches(
    network: nn.Module, points: KernelInputs, wanted: list[str], pool: str, head: str | None = None
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """Features of some rows of one split by layer, batch after batch; ``logits`` come with each once.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode.
    points : KernelInputs
        Rows of the split.
    wanted : list of str
        Layers as configured.
    pool : str
        One of :data:`POOLS`; for texts, mean and last count real tokens only.
    head : str, optional
        Module that computes the logits, whose input is the penultimate layer; None finds it.

    Yields
    ------
    slice, dict of str to Tensor
        Which rows, and float32 (rows, d) by layer on the CPU. The penultimate layer comes in a second turn over all
        rows, since it is read otherwise, and then with the logits.

    Raises
    ------
    UserError
        For an unknown pooling or layer.
    ValueError
        If the network is in training mode, where dropout and batch statistics would enter the features.
    """
    if network.training:
        raise ValueError("features are read in evaluation mode: call network.eval() first.")
    if pool not in POOLS:
        raise UserError(f"features.pool={pool} is not one of {', '.join(POOLS)}.")
    names = layer_choice(network, wanted)
    mask = points.inputs["attention_mask"] if isinstance(points.inputs, dict) else None
    if names:
        for batch in layer_features(network, points.inputs, names):
            here = None if mask is None else mask[batch.rows].to(batch.logits.device)
            found = {} if "penultimate" in wanted else {"logits": batch.logits.float().cpu()}
            for name, values in batch.features.items():
                found[name] = pooled(values, pool, here, batch.channels[name], name).float().cpu()
            yield batch.rows, found
    if "penultimate" in wanted:
        yield from _penultimate_batches(network, points, head)


def _penultimate_batches(
    network: nn.Module, points: KernelInputs, head: str | None
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    device, count = next(network.parameters()).device, len(points.ids)
    try:
        few = input_rows(points.inputs, slice(0, min(4, count)), device)
        source = conjugate_source(network, few, head, False, None)
    except ValueError as error:
        raise UserError(
            "features.layers holds penultimate, the input of the layer that gives the logits, and no linear layer "
            "gives them; name that layer by model.head, such as model.head=fc (model=custom), or other layers."
        ) from error
    for start in range(0, count, 256):
        rows = slice(start, min(start + 256, count))
        outputs, (hidden,) = source.blocks(input_rows(points.inputs, rows, device), None, None)
        layer = hidden.gradients()[hidden.names[0]][:, 0]
        yield rows, {"penultimate": layer.float().cpu(), "logits": outputs.float().cpu()}


def input_rows(inputs: Tensor | dict[str, Tensor], rows: Tensor | slice, device: torch.device) -> Any:
    """Take some rows of a network's inputs to a device."""
    if isinstance(inputs, Tensor):
        return inputs[rows].to(device)
    return {name: values[rows].to(device) for name, values in inputs.items()}


def pooled(values: Tensor, pool: str, mask: Tensor | None, channel: int, name: str) -> Tensor:
    """One vector per example from a layer's output (n, ...), whose axis ``channel`` is not one of positions.

    Raises
    ------
    UserError
        If real tokens are to be counted where a layer's positions are no tokens, or the first or last of pixels is
        asked for.
    """
    if values.ndim == 2 or pool == "flatten":
        return values.flatten(1)
    if values.ndim > 3:
        if pool != "mean":
            raise UserError(
                f"features.pool={pool}: the positions of layer {name} are pixels, of which none is {pool}; take "
                "features.pool=mean or flatten."
            )
        return values.movedim(channel, 1).flatten(2).mean(2)
    values = values.movedim(channel, 2)
    if mask is not None and mask.shape != values.shape[:2]:
        raise UserError(
            f"features.pool={pool}: layer {name} has {values.shape[1]} positions for {mask.shape[1]} tokens, so that "
            "padding cannot be told apart; take features.pool=flatten, or another layer."
        )
    weights = torch.ones(values.shape[:2], device=values.device) if mask is None else mask.to(values.dtype)
    if pool == "mean":
        return (values * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
    last = weights.shape[1] - 1 - weights.flip(1).argmax(1)
    position = torch.zeros_like(last) if pool == "first" else last
    return values[torch.arange(len(values)), position]
