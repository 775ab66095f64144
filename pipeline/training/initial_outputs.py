"""Outputs of the network at initialization, run once over whole splits for trainings on f(θ) - f(θ₀)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.classifier_module import ClassifierModule
from models.logits import logits_of
from pipeline.data.batches import EvaluationBatches, TrainingData


@torch.no_grad()
def initial_outputs(
    module: ClassifierModule, data: TrainingData, dtype: torch.dtype, memory_format: str = "contiguous"
) -> dict[str, Tensor]:
    """Run f(θ₀) over the training and the validation rows, once for the whole training.

    Parameters
    ----------
    module : ClassifierModule
        With a frozen initial copy if its outputs are centered.
    data : TrainingData
        Rows, in stored order.
    dtype : torch.dtype
        Precision of floating-point inputs.
    memory_format : str
        ``contiguous`` or ``channels_last``.

    Returns
    -------
    dict
        (n, c) by split, on the CPU. Empty where outputs are not centered; without ``train`` where its rows change from
        step to step, by augmentation or an attack.
    """
    if module.initial is None:
        return {}
    fixed = not getattr(data, "augments", True) and module.attack is None
    splits: Sequence[str] = [name for name in ("train", "val") if name in data.splits and data.size(name)]
    module.align_initial()
    device = next(module.initial.parameters()).device
    return {
        split: torch.cat(
            [
                logits_of(module.initial, {name: value.to(device) for name, value in batch.items()}).cpu()
                for batch in EvaluationBatches(data, split, dtype, memory_format)
            ]
        )
        for split in splits
        if fixed or split != "train"
    }
