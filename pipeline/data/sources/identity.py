"""What the rows of a data set are, said without reading them: key material for the artifact store."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pipeline.config.data import DataConfig, PathConfig
from pipeline.data.errors import DataError, refuse_unfit
from pipeline.data.sources.content_format import file_format
from pipeline.data.sources.pins import ARCHIVES, packaged_set
from pipeline.data.sources.sizes import refuse_hollow
from pipeline.machine.content_digest import cached_sha256, content_of
from pipeline.machine.folders import user_path
from pipeline.machine.hub_commits import settled_commit

READER = {"packaged": 1, "path": 2, "hub": 2, "synthetic": 1}
"""Version of the loaders of a source, and of the canonical form; part of its identities."""


def source_identity(config: DataConfig) -> dict[str, Any]:
    """Name the content that a data configuration points at, cheaply and without torch.

    Parameters
    ----------
    config : DataConfig
        Only the locating sections count (``source`` and the section of that name), not the view.

    Returns
    -------
    dict
        Plain JSON values: pinned archive hashes (packaged), the SHA-256 of the files or folders (path), id and commit
        or, for a folder, its content (hub), or the generator's parameters (synthetic). Two configurations with one
        identity have the same rows.

    Raises
    ------
    DataError
        If the source is unknown, incomplete, or a file is missing.
    """
    refuse_unfit("data", config)
    if config.source == "packaged":
        return {"source": "packaged", "reader": READER["packaged"], **_packaged(config.packaged.name)}
    if config.source == "path":
        found = split_files(config.path)
        read = {split: [one for path in paths for one in _read(path, config.path)] for split, paths in found.items()}
        files = {split: [_digest(path) for path in paths] for split, paths in read.items()}
        formats = {split: [file_format(path, config.path) for path in paths] for split, paths in found.items()}
        kinds = sorted({one for several in formats.values() for one in several})
        how = {
            "format": kinds[0] if len(kinds) == 1 else formats,
            "rename": config.path.rename,
            "label_map": _text_keys(config.path.label_map),
            **({} if config.path.delimiter == "comma" else {"delimiter": config.path.delimiter}),
        }
        return {"source": "path", "reader": READER["path"], "files": files, **how}
    if config.source == "logits":
        raise DataError("data=logits holds outputs and no rows; choose stage=statistics, or data with rows.")
    if config.source == "hub":
        if config.hub.id is None:
            raise DataError("data.source=hub needs data.hub.id, such as data.hub.id=uoft-cs/cifar10.")
        hub = dataclasses.asdict(config.hub)
        if (folder := user_path(config.hub.id)).is_dir():
            hub |= {"id": content_of(folder, deep=True), "revision": None}
        else:
            hub["revision"] = settled_commit(config.hub.id, config.hub.revision, "dataset") or config.hub.revision
        kept = {"val": "as delivered"} if "val" in config.hub.splits else {}  # once it gave way to a share of train
        return {"source": "hub", "reader": READER["hub"], **hub, "label_map": _text_keys(config.hub.label_map), **kept}
    from pipeline.data.sources.synthetic import VERSION

    generated = dataclasses.asdict(config.synthetic)
    return {"source": "synthetic", "reader": READER["synthetic"], "generator": VERSION, **generated}


def idx_labels(path: Path) -> Path:
    """Label file beside an IDX image file; the image file itself where its name does not tell."""
    return path.with_name(path.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1"))


def split_files(config: PathConfig) -> dict[str, list[Path]]:
    """Resolve the files of every configured split; a value may be a glob, whose matches are sorted.

    Raises
    ------
    DataError
        If nothing is configured, a pattern matches nothing, or an extra split hides an official one.
    """
    official = (("train", config.train), ("test", config.test), ("val", config.val))
    named = {split: value for split, value in official if value is not None}
    clash = sorted(set(config.extra) & {"train", "val", "test"})
    if clash:
        raise DataError(f"data.path.extra names {clash}; extra splits need names of their own, such as test_ood.")
    named |= config.extra
    if not named:
        raise DataError(
            "data.source=path needs data.path.train=FILE (and data.path.test=FILE where there is one; folders, for "
            "images in a folder for each class), or, for texts without labels, data.reference=FILE data.sample=FILE."
        )
    return {split: _matches(split, value) for split, value in named.items()}


def _matches(split: str, value: str) -> list[Path]:
    path = user_path(value)
    if path.is_file() or path.is_dir():
        return [path]
    parts = path.parts
    pattern = str(Path(*parts[1:])) if path.is_absolute() else str(path)
    base = Path(path.anchor) if path.is_absolute() else Path()
    found = (
        sorted(match for match in base.glob(pattern) if match.is_file())
        if any("*" in p or "?" in p for p in parts)
        else []
    )
    if not found:
        raise DataError(
            f"data.path, split {split!r}: there is no file {value}, and no folder. Give an existing one, or a glob of "
            "files, or use another data.source (`packaged` works offline where the data set has an archive)."
        )
    return found


def _read(path: Path, config: PathConfig) -> list[Path]:
    """List what is read for one configured file: itself, and the labels beside an IDX file."""
    labels = idx_labels(path)
    return [path, labels] if file_format(path, config) == "idx" and labels != path and labels.exists() else [path]


def _digest(path: Path) -> str:
    if path.is_dir():
        return content_of(path, deep=True)
    refuse_hollow(path)
    return cached_sha256(path)


def _packaged(name: str | None) -> dict[str, Any]:
    entry = packaged_set(name)
    archives = {archive: ARCHIVES[archive].sha256 for archive in entry.archives}
    return {"name": name, "version": entry.version, "archives": archives}


def _text_keys(mapping: dict[int, int]) -> dict[str, int]:
    return {str(old): new for old, new in mapping.items()}
