"""Outputs of a network on whole splits, and the scores that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.classifier_module import ClassifierModule
from models.logits import predicted_class, targets_of
from pipeline.data.batches import EvaluationBatches, TrainingData
from pipeline.training.outputs_underway import OutputsUnderway


@torch.no_grad()
def split_outputs(
    module: ClassifierModule,
    data: TrainingData,
    splits: Sequence[str],
    *,
    network: nn.Module | None = None,
    memory_format: str = "contiguous",
    underway: OutputsUnderway | None = None,
    rows: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Run a network over splits in evaluation mode.

    Parameters
    ----------
    module : ClassifierModule
        Knows whether outputs are centered.
    data : TrainingData
        Rows, in stored order.
    splits : sequence of str
        Which splits; empty ones are left out.
    network : nn.Module, optional
        A copy to run in place of ``module.model``; it is put into evaluation mode.
    memory_format : str
        ``contiguous`` or ``channels_last``.
    underway : OutputsUnderway, optional
        Where finished rows are kept meanwhile; those that a killed attempt has kept are taken.
    rows : mapping of str to Tensor of int64, optional
        Positions inside a split, for splits of which few rows are wanted; all of the others.

    Returns
    -------
    dict
        ``SPLIT.logits`` float32 (n, c), ``SPLIT.labels`` int64 (n,) (``SPLIT.targets`` float for regression)
        and ``SPLIT.ids`` int64 (n,), on the CPU.
    """
    network = module.model if network is None else network
    parameter = next(network.parameters())
    training = network.training
    network.eval()
    module.align_initial()
    arrays: dict[str, Tensor] = {}
    try:
        for split in splits:
            wanted = torch.arange(data.size(split)) if rows is None or split not in rows else rows[split]
            if (size := len(wanted)) == 0:
                continue
            known = {} if underway is None else underway.known(split, size)
            outputs, targets, ids = ([known[name]] if known else [] for name in ("outputs", "targets", "ids"))
            done = len(known.get("ids", ()))
            for batch in EvaluationBatches(data, split, parameter.dtype, memory_format, rows=wanted[done:]):
                here = {name: value.to(parameter.device) for name, value in batch.items()}
                outputs.append(module.outputs_of(network, here).float().cpu())
                targets.append(targets_of(batch))
                ids.append(batch["id"])
                if underway is not None:
                    underway.note(split, size, {"outputs": outputs, "targets": targets, "ids": ids})
            arrays[f"{split}.logits"] = torch.cat(outputs)
            arrays[f"{split}.{'targets' if module.is_regression else 'labels'}"] = torch.cat(targets)
            arrays[f"{split}.ids"] = torch.cat(ids)
    finally:
        network.train(training)
    return arrays


def scores(module: ClassifierModule, arrays: dict[str, Tensor]) -> dict[str, Any]:
    """Loss and accuracy (or root mean square error) of every split, from its stored outputs in float64."""
    found: dict[str, Any] = {}
    for name, outputs in arrays.items():
        split, _, column = name.rpartition(".")
        if column != "logits":
            continue
        wide = outputs.double()
        if module.is_regression:
            loss = float(module.loss(wide, arrays[f"{split}.targets"]))
            found[f"{split}_rmse"] = loss**0.5
        else:
            labels = arrays[f"{split}.labels"]
            if bool((labels < 0).any()):  # texts without labels have no score
                continue
            loss = float(module.loss(wide, labels))
            found[f"{split}_accuracy"] = float((predicted_class(outputs) == labels).double().mean())
        found[f"{split}_loss"] = loss
        found[f"{split}_n"] = len(outputs)
    return found
