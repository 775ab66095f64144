"""Stage ``outputs``: logits that another framework wrote, in the form of a training's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.logits import predicted_class
from models.losses import loss_named
from pipeline.config.data import DataConfig
from pipeline.data.errors import DataError
from pipeline.data.labels import refuse_names, whole_numbers
from pipeline.data.sources.output_files import OutputFile, read_outputs
from pipeline.engine.build import Build
from pipeline.machine.content_digest import content_of
from pipeline.training.networks import LOGITS

SPLIT = "test"
_SUM_TOLERANCE = 1e-3


def outputs_identity(config: DataConfig) -> dict[str, Any]:
    """Name the content of a run's files of outputs and labels."""
    named = {"logits": config.path.logits, "labels": config.path.labels}
    return {name: None if file is None else content_of(Path(file).expanduser()) for name, file in named.items()}


def outputs(build: Build) -> dict[str, Any]:
    """Read a run's outputs and labels and write ``logits.safetensors`` as a training does.

    Raises
    ------
    DataError
        If the outputs are no table of one row per example, are not finite, or do not fit the labels; if they are
        probabilities and called logits, or the other way round.
    """
    config = build.config
    data = config.data
    before = outputs_identity(data)
    assert data.path.logits is not None
    file = Path(data.path.logits).expanduser()
    found = read_outputs(file, config.seed)
    values = _log_scores(found.outputs, file, data.path.outputs)
    if data.path.labels is not None:
        label_file = Path(data.path.labels).expanduser()
        given = read_outputs(label_file, config.seed, labels=True)
        labels, ids = given.labels, given.ids if found.ids is None else found.ids
        _refuse_two_orders(file, found, label_file, given)
    else:
        label_file, labels, ids = file, found.labels, found.ids
    if labels is None:
        raise DataError(
            f"{file} holds no labels; name the file that does by data.path.labels, such as data.path.labels=labels.npy."
        )
    checked = whole_numbers(_numbered(labels, data.class_names or found.classes, label_file), str(label_file))
    if len(checked) != len(values):
        raise DataError(
            f"{file} has outputs for {len(values)} examples and {label_file} has {len(checked)} labels; give outputs "
            "and labels of the same examples in the same order."
        )
    classes = max(2, values.shape[1])
    if checked.min() < 0 or checked.max() >= classes:
        odd = int(np.flatnonzero((checked < 0) | (checked >= classes))[0])
        raise DataError(
            f"{label_file}, row {odd}: label {checked[odd]} is none of the {classes} classes that {file} has outputs "
            "for; labels count from 0."
        )
    if data.class_names:
        refuse_names(list(range(classes)), data.class_names, [])
    if outputs_identity(data) != before:
        raise DataError(f"{file} changed while it was read; run the same command again.")
    logits = torch.from_numpy(values)
    truth = torch.from_numpy(checked)
    numbers = np.arange(len(values)) if ids is None else np.asarray(ids)
    if numbers.dtype.kind not in "iu" or numbers.shape != (len(values),):
        raise DataError(f"{file}: ids of examples are whole numbers, one per row; number them, or leave them out.")
    build.write_tensors(
        LOGITS,
        {
            f"{SPLIT}.logits": logits.float(),
            f"{SPLIT}.labels": truth,
            f"{SPLIT}.ids": torch.from_numpy(numbers.astype(np.int64)),
        },
    )
    loss = loss_named("bce" if values.shape[1] == 1 else "cross_entropy")
    return {
        f"{SPLIT}_accuracy": float((predicted_class(logits) == truth).double().mean()),
        f"{SPLIT}_loss": float(loss(logits, truth)),
        f"{SPLIT}_n": len(values),
    }


def _refuse_two_orders(file: Path, found: OutputFile, label_file: Path, given: OutputFile) -> None:
    """Refuse outputs and labels that are of other examples by what both files say."""
    for what, one, other in (("ids", found.ids, given.ids), ("labels", found.labels, given.labels)):
        if one is not None and other is not None and not np.array_equal(np.ravel(one), np.ravel(other)):
            raise DataError(
                f"{file} and {label_file} hold different {what}; bring both into one order, or leave the {what} "
                "out of one of them."
            )


def _numbered(labels: np.ndarray, classes: Sequence[str], file: Path) -> np.ndarray:
    """Turn labels that are words into numbers by the names of the classes; false and true are 0 and 1."""
    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "OUS" or not all(isinstance(word, str) for word in labels.tolist()):
        return labels
    place = {name: number for number, name in enumerate(classes)}
    odd = next((row for row, word in enumerate(labels.tolist()) if word not in place), None)
    if odd is not None:
        raise DataError(
            f"{file}, row {odd}: label {str(labels[odd])!r} is the name of no class; name the classes in the order of "
            "the outputs, such as 'data.class_names=[cat,dog]', or write whole numbers from 0."
        )
    return np.array([place[word] for word in labels.tolist()], dtype=np.int64)


def _log_scores(values: np.ndarray, file: Path, kind: str) -> np.ndarray:
    """Check a table of outputs, and take logarithms of probabilities."""
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or 0 in values.shape:
        raise DataError(f"{file} holds outputs of shape {values.shape}; one row per example and one column per class.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        raise DataError(f"{file}, row {row}: {values[row].tolist()} is not finite; a run that diverged has no outputs.")
    single = values.shape[1] == 1
    within = bool(((values >= 0) & (values <= 1)).all())
    like = within and (single or bool((abs(values.sum(1) - 1) < _SUM_TOLERANCE).all()))
    if kind == "probabilities":
        if not like:
            raise DataError(
                f"{file} does not hold probabilities (rows in [0, 1] that sum to 1); set data.path.outputs=logits."
            )
        floor = np.finfo(np.float32).tiny
        if single:
            return np.log(np.clip(values, floor, 1)) - np.log(np.clip(1 - values, floor, 1))
        return np.log(np.clip(values, floor, 1))
    if single and bool((values == np.trunc(values)).all()):
        raise DataError(
            f"{file} holds whole numbers alone, as decisions are; outputs are a logit or a probability per row, or a "
            "column per class."
        )
    if like:
        sums = "" if single else " and sums to 1"
        raise DataError(f"Every row of {file} lies in [0, 1]{sums}: set data.path.outputs=probabilities.")
    return values
