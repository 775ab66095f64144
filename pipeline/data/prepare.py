"""Load a data set from its source, check every row, and write the canonical artifact payload."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.data import DataConfig, ReadConfig
from pipeline.config.run import RunConfig
from pipeline.data.errors import DataError, refuse_unfit
from pipeline.data.labels import check_classes
from pipeline.data.outputs import refuse_outputs
from pipeline.data.records import (
    KINDS,
    UNLABELED,
    Columns,
    Records,
    fingerprint,
    label_histogram,
    n_rows,
    read_description,
    save_records,
    take,
)
from pipeline.data.sources.pictures import same_channels
from pipeline.engine.build import Build
from pipeline.engine.graph import Graph
from pipeline.machine.folders import user_path
from pipeline.machine.progress import say

OWN = ("path", "hub")
"""Sources of rows that this project has not seen before."""
_NAMED = 10
"""Rows that a note lists."""


def prepare(build: Build) -> dict[str, Any]:
    """Run stage ``prepare``: rows of a data set in one canonical form.

    Parameters
    ----------
    build : Build
        The artifact under construction.

    Returns
    -------
    dict
        Counts, label histogram, drops per rule and the content fingerprint.

    Raises
    ------
    DataError
        If the source cannot deliver, its rows break the schema, or its files changed while they were read.
    """
    config = build.config
    metrics = prepare_dataset(config.data, build.folder, user_path(config.paths.cache))
    _refuse_outputs(config, build.folder, metrics["labels"])
    if Graph().resolve("prepare", config).key != build.node.key:
        raise DataError(
            f"The files of data={config.data.name} changed while they were read, so that the rows would be "
            "stored under the address of others. Run the same command again."
        )
    return metrics


def _refuse_outputs(config: RunConfig, folder: Path, labels: dict[str, dict[str, int]]) -> None:
    """Hold a number of outputs that is set against the classes that a view of the rows has."""
    found = {int(label) for counts in labels.values() for label in counts} - {UNLABELED}
    if not found:
        return
    stored = config.data.class_names or read_description(folder)["class_names"]
    names = stored or [str(label) for label in range(max(found) + 1)]
    chosen = config.data.subset.classes
    if chosen is not None and max(chosen) < len(names):
        names = [names[label] for label in chosen]
    refuse_outputs(config.model, len(names), names)


def prepare_dataset(config: DataConfig, folder: Path, cache: Path) -> dict[str, Any]:
    """Make the canonical rows of a data set in an existing folder.

    Parameters
    ----------
    config : DataConfig
        Only ``name``, ``kind`` and the locating sections count; the view comes later.
    folder : Path
        The artifact folder under construction; it receives the rows and ``dataset.json``.
    cache : Path
        Archives and hub files land here.

    Returns
    -------
    dict
        ``fingerprint``, ``licence``, ``source``, and per split ``rows`` and ``labels``; ``drops`` per rule.

    Raises
    ------
    DataError
        If the source cannot deliver, or its rows break the schema.
    """
    records = load_source(config, cache)
    if records.kind != config.kind:
        raise DataError(f"data={config.name} holds {records.kind} rows, but data.kind={config.kind}.")
    empty = {f"empty text ({split})": _blank_rows(columns) for split, columns in records.splits.items()}
    records = check_records(records)
    if config.source in OWN:
        check_classes(records, config.class_names, config.source)
        for rule, rows in records.drops.items():
            named = f", {_few(empty[rule])}" if rule in empty else ""
            say(f"note: {rows} row{'s' * (rows != 1)} dropped: {rule}{named}")
    metrics = {
        "name": config.name,
        "source": records.source,
        "licence": records.licence,
        "fingerprint": fingerprint(records),
        "rows": records.counts(),
        "labels": {split: label_histogram(columns) for split, columns in records.splits.items()},
        "drops": records.drops,
    }
    described = {"kind": records.kind, "splits": list(records.splits), "class_names": records.class_names}
    save_records(records, folder, {**metrics, **described})
    return metrics


def load_source(config: DataConfig, cache: Path) -> Records:
    """Read the rows of the configured source, renamed and with mapped labels, otherwise as delivered."""
    refuse_unfit("data", config)
    if config.source not in OWN and config.read != ReadConfig():
        raise DataError(f"data.read is for data.source=path and hub; data.source={config.source} has its own rows.")
    if config.read.resize is not None and len(config.read.resize) != 2:
        raise DataError(f"data.read.resize={config.read.resize} needs two numbers, height and width.")
    read = config.read
    if config.kind != "image" and dataclasses.replace(read, labels="numbers") != ReadConfig():
        raise DataError(
            f"data.read.resize, white, background, to_rgb and profiles are for images, but data.kind={config.kind}."
        )
    if config.source == "logits":
        raise DataError("data=logits holds outputs and no rows; choose stage=statistics, or data with rows.")
    if config.source == "packaged":
        from pipeline.data.sources.packaged import load_packaged

        return load_packaged(config.packaged.name, cache)
    if config.source == "path":
        from pipeline.data.sources.files import load_path

        return load_path(config.path, config.kind, config.read, config.columns)
    if config.source == "hub":
        from pipeline.data.sources.hub import load_hub

        return load_hub(config.hub, config.kind, cache, config.read, config.columns)
    from pipeline.data.sources.synthetic import load_synthetic

    return load_synthetic(config.synthetic)


def check_records(records: Records) -> Records:
    """Hold rows against the schema: empty texts are dropped and counted, everything else wrong is refused.

    Raises
    ------
    DataError
        Naming the split, the rule and the counts.
    """
    if records.kind not in KINDS:
        raise DataError(f"kind {records.kind!r} is not one of {', '.join(KINDS)}")
    splits, drops = {}, dict(records.drops)
    for split, columns in records.splits.items():
        if records.kind == "text":
            if blank := _blank_rows(columns):
                drops[f"empty text ({split})"] = len(blank)
                columns = take(columns, np.setdiff1d(np.arange(n_rows(columns)), blank))
        _check_split(records.kind, split, columns)
        splits[split] = columns
    if records.kind == "image":
        images = same_channels([columns["image"] for columns in splits.values()])
        splits = {name: {**splits[name], "image": image} for name, image in zip(splits, images, strict=True)}
    _check_alike(splits)
    return dataclasses.replace(records, splits=splits, drops=drops)


def _blank_rows(columns: Columns) -> list[int]:
    return [row for row, text in enumerate(columns.get("text", ())) if not text.strip()]


def _few(rows: list[int]) -> str:
    listed = ", ".join(map(str, rows[:_NAMED])) + ", ..." * (len(rows) > _NAMED)
    return f"row{'s' * (len(rows) != 1)} {listed} counted from 0"


def _check_split(kind: str, split: str, columns: dict[str, Any]) -> None:
    if n_rows(columns) == 0:
        raise DataError(f"split {split!r} has no rows left.")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"split {split!r} has columns of different lengths: {lengths}.")
    labels = columns.get("label")
    if labels is not None and labels.min() < UNLABELED:
        raise DataError(f"split {split!r} holds label {labels.min()}; labels count from 0 (-1: withheld).")
    if kind == "vector":
        for column in columns.keys() & {"x", "y"}:
            bad = ~np.isfinite(columns[column].reshape(lengths[column], -1)).all(axis=1)
            if bad.any():
                raise DataError(f"split {split!r}, column {column!r}: row {int(bad.argmax())} is not finite.")


def _check_alike(splits: dict[str, Columns]) -> None:
    """Refuse splits that no one network can read; say where groups cannot be held apart."""
    first = next(iter(splits))
    for split, columns in splits.items():
        for name in ("image", "x", "y"):
            if name in columns and name in splits[first] and columns[name].shape[1:] != splits[first][name].shape[1:]:
                ours, theirs = splits[first][name].shape[1:], columns[name].shape[1:]
                way = f" 'data.read.resize=[{ours[1]},{ours[2]}]' scales images to one size." if name == "image" else ""
                raise DataError(
                    f"splits {first!r} and {split!r} differ in column {name!r}: rows of shape {ours} and {theirs}.{way}"
                )
    grouped = [split for split, columns in splits.items() if "group" in columns]
    if grouped and len(grouped) < len(splits):
        others = ", ".join(split for split in splits if split not in grouped)
        say(f"note: {', '.join(grouped)} has the column group, {others} has not: groups are not held apart from there")
