"""The view of a prepared data set that one run sees: subset, split, poison, then drop or keep.

A view is a deterministic function of the stored rows and the ``data`` section; the model seed plays no part.
Everything is held in memory as tensors (texts as lists).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from pipeline.config.data import DataConfig
from pipeline.data.divide import divide, subset
from pipeline.data.errors import DataError
from pipeline.data.images import fit_images
from pipeline.data.labels import refuse_names
from pipeline.data.normalization import Scale, column_scale, pixel_scale
from pipeline.data.poison import TRIGGERED, Poisoned, apply_poison
from pipeline.data.records import UNLABELED, Columns, Records, label_histogram, load_records, n_rows
from pipeline.data.text_rules import normalize_texts

SCORED = ("train", "val", "test")
"""Splits that a model is trained or scored on; they need labels and more than one class."""


@dataclass(frozen=True)
class Split:
    """Rows of one split.

    Attributes
    ----------
    ids : Tensor of int64, shape (n,)
        Row numbers over the N stored rows of all splits; with the fingerprint they name a sample for good. A
        copy that a poison recipe made has its original's number plus N, a triggered test row plus 2N.
    inputs : Tensor or list of str
        uint8 images (n, c, h, w), float64 vectors (n, d), or texts.
    targets : Tensor
        int64 labels (n,) or float64 regression targets (n, k).
    domain : list of str or None
        Where each text comes from.
    group : list of str or None
        What each text's rows share beyond their class: a user, a query.
    injected, clean : Tensor or None
        Mask of poisoned rows, and labels before the poison; None in splits that no recipe touched.
    """

    ids: Int64[Tensor, " n"]
    inputs: Tensor | list[str]
    targets: Tensor
    domain: list[str] | None = None
    injected: Bool[Tensor, " n"] | None = None
    clean: Int64[Tensor, " n"] | None = None
    group: list[str] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)


@dataclass(frozen=True)
class DataView:
    """All splits that a run sees.

    Attributes
    ----------
    kind : str
        ``image``, ``text`` or ``vector``.
    splits : dict of str to Split
        ``train``, ``val`` where a share was cut, ``test``, and extra splits such as ``test_ood``.
    n_classes : int
        0 for regression.
    class_names : list of str
        One per class; numbers where the source has no names.
    fingerprint : str
        Content hash of the stored data set.
    report : dict
        ``rows`` and ``labels`` per split, ``drops`` per rule, ``licence`` and ``source``.
    constants : dict of str to Tensor
        Arrays that belong to no row, such as a teacher's ``directions`` (k, d).
    scale : tuple of two lists of float, or None
        Mean and deviation of each channel or column of the training rows, where ``data.normalize`` asks for them.
        Neither poison, nor rows left out for a retraining (``data.drop``, ``data.keep``), move them.
    """

    kind: str
    splits: dict[str, Split]
    n_classes: int
    class_names: list[str]
    fingerprint: str
    report: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)
    scale: Scale | None = None


def load_view(folder: Path, config: DataConfig) -> DataView:
    """Read a prepared data set and apply the view of a configuration.

    Parameters
    ----------
    folder : Path
        Finished artifact of the prepare stage.
    config : DataConfig
        Everything but the locating sections.

    Returns
    -------
    DataView
        The same for the same folder content and configuration, on any machine.

    Raises
    ------
    DataError
        If a rule cannot be met: a one-class or unlabeled scored split, an unknown class, option or sample id.
    """
    records, described = load_records(folder)
    drops = dict(records.drops)
    n_stored = sum(records.counts().values())
    _check_names(records, config)
    splits = _numbered(records.splits)
    for columns in splits.values():
        if records.kind == "text":
            columns["text"] = normalize_texts(columns["text"], config.text.normalize, config.text.mask)
    splits = divide(subset(splits, config.subset, config.data_seed), config.split, config.data_seed, drops)
    splits = {split: splits[split] for split in sorted(splits, key=_place)}
    scale = _scale(splits, config, records.kind)
    for columns in splits.values():
        if records.kind == "image":
            columns["image"] = fit_images(columns["image"], config.image.pad, config.image.channels)
    names = _class_names(splits, config, records.class_names)
    _check_scored(splits)

    finished = {split: _finish(columns) for split, columns in splits.items()}
    if config.poison.kind != "none":
        for split, poisoned in apply_poison(splits, config.poison, len(names)).items():
            finished[split] = _finish_poisoned(split, poisoned, n_stored)
    if config.drop or config.keep is not None:
        finished["train"] = _select_ids(finished["train"], config.drop, config.keep)
    report = {
        "rows": {split: len(rows) for split, rows in finished.items()},
        "labels": {split: label_histogram({"label": rows.targets.numpy()}) for split, rows in finished.items()}
        if names
        else {},
        "drops": drops,
        "licence": records.licence,
        "source": records.source,
    }
    constants = {name: torch.from_numpy(values) for name, values in records.constants.items()}
    return DataView(records.kind, finished, len(names), names, described["fingerprint"], report, constants, scale)


def _check_names(records: Records, config: DataConfig) -> None:
    """Hold the configured names against the stored labels; ``class_names`` may have changed since they were stored."""
    labels = [np.unique(columns["label"]) for columns in records.splits.values() if "label" in columns]
    found = sorted({int(value) for values in labels for value in values} - {UNLABELED})
    if found:
        refuse_names(found, config.class_names, records.class_names)


def _scale(splits: dict[str, Columns], config: DataConfig, kind: str) -> Scale | None:
    """Mean and deviation of the training rows as they are stored; images are padded later."""
    if config.normalize == "given" or kind == "text":
        return None
    if "train" not in splits:
        raise DataError(
            f"data.normalize=train takes mean and deviation from the training rows, and data={config.name} has none: "
            "set data.normalize=given."
        )
    return pixel_scale(splits["train"]["image"]) if kind == "image" else column_scale(splits["train"]["x"])


def _place(split: str) -> tuple[int, str]:
    """Order of the splits: train, val, test, then the extra ones by name."""
    return (SCORED.index(split) if split in SCORED else len(SCORED), split)


def _numbered(splits: dict[str, Columns]) -> dict[str, Columns]:
    """Give every row its number over all stored splits, in sorted order of the split names."""
    numbered, start = {}, 0
    for split in sorted(splits):
        rows = n_rows(splits[split])
        numbered[split] = {**splits[split], "id": np.arange(start, start + rows, dtype=np.int64)}
        start += rows
    return {split: numbered[split] for split in splits}


def _class_names(splits: dict[str, Columns], config: DataConfig, stored: list[str]) -> list[str]:
    """One name per class of the view; empty for regression."""
    labels = [columns["label"] for columns in splits.values() if "label" in columns]
    if not labels:
        return []
    n_classes = 1 + max(int(values.max()) for values in labels)
    names = config.class_names or stored
    wanted = config.subset.classes
    if not names:
        return [str(value) for value in (wanted or range(n_classes))]
    return [names[value] for value in wanted] if wanted else list(names)


def _check_scored(splits: dict[str, Columns]) -> None:
    """Refuse unlabeled rows and single classes where a model is trained or scored.

    ``val`` may hold one class: it is cut by strata, so that only happens when it has a row or two.
    """
    for split in SCORED:
        columns = splits.get(split)
        if columns is None or "label" not in columns:
            continue
        found = label_histogram(columns)
        if str(UNLABELED) in found:
            raise DataError(
                f"split {split!r} is scored but {found[str(UNLABELED)]} of its rows have label -1 (withheld, as in "
                "GLUE's test splits). Use a labeled split, such as data.hub.splits.test=validation."
            )
        if len(found) == 1 and split != "val":
            raise DataError(
                f"split {split!r} holds one class only: {found}. A file sorted by class and cut off gives this; use "
                "a complete file, or another data.subset.classes."
            )


def _finish(columns: Columns) -> Split:
    """Turn the columns of a split into tensors."""
    inputs = next(columns[name] for name in ("image", "text", "x") if name in columns)
    targets = columns["label"] if "label" in columns else columns["y"]
    return Split(
        ids=torch.from_numpy(columns["id"]),
        inputs=inputs if isinstance(inputs, list) else torch.from_numpy(np.ascontiguousarray(inputs)),
        targets=torch.from_numpy(np.ascontiguousarray(targets)),
        domain=columns.get("domain"),
        group=columns.get("group"),
    )


def _finish_poisoned(split: str, poisoned: Poisoned, n_stored: int) -> Split:
    columns = dict(poisoned.columns)
    _, first = np.unique(columns["id"], return_index=True)
    copied = np.ones(len(columns["id"]), dtype=bool)
    copied[first] = False
    offset = 2 * n_stored if split == TRIGGERED else n_stored * copied
    columns["id"] = columns["id"] + offset
    plain = _finish(columns)
    return Split(
        plain.ids,
        plain.inputs,
        plain.targets,
        plain.domain,
        torch.from_numpy(poisoned.injected),
        torch.from_numpy(poisoned.clean_label),
        plain.group,
    )


def _select_ids(split: Split, drop: list[int], keep: list[int] | None) -> Split:
    """Take sample ids out of the training rows, or leave only some of them.

    Raises
    ------
    DataError
        If an id is not a training row of this view.
    """
    known = set(split.ids.tolist())
    missing = sorted((set(drop) | set(keep or [])) - known)
    if missing:
        raise DataError(
            f"data.drop and data.keep hold {len(missing)} ids that are no training rows of this view, the first being "
            f"{missing[:5]}; ids come from an artifact with the same data section."
        )
    wanted = (known if keep is None else set(keep)) - set(drop)
    if not wanted:
        raise DataError("data.drop and data.keep leave no training row.")
    rows = torch.tensor([row for row, sample in enumerate(split.ids.tolist()) if sample in wanted])
    picked = rows.tolist()
    return Split(
        split.ids[rows],
        split.inputs[rows] if isinstance(split.inputs, Tensor) else [split.inputs[row] for row in picked],
        split.targets[rows],
        None if split.domain is None else [split.domain[row] for row in picked],
        None if split.injected is None else split.injected[rows],
        None if split.clean is None else split.clean[rows],
        None if split.group is None else [split.group[row] for row in picked],
    )
