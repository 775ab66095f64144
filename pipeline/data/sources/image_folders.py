"""Images in a folder with one folder of files for each class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.records import Columns
from pipeline.data.sources.pictures import decode_images
from pipeline.data.sources.reading import Reading
from pipeline.machine.content_digest import is_hidden

SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
"""Names of folders that hold splits, not classes."""


def read_image_folder(path: Path, reading: Reading) -> Columns:
    """Read FOLDER/CLASS/FILE, in the order of class and file; files may lie deeper within the folder of a class.

    Raises
    ------
    DataError
        If there are no folders of classes, one of them is empty, or a file lies beside them.
    """
    where = reading.where(path)
    entries = _entries(path)
    classes = [entry for entry in entries if entry.is_dir()]
    if beside := [entry for entry in entries if not entry.is_dir()]:
        raise DataError(
            f"{where}: {beside[0]} lies beside the folders of the classes; put it into the folder of its class, or "
            "take it out."
            if classes
            else f"{where}: {beside[0]} lies in no folder of a class; sort the files into one folder for each class."
        )
    if not classes:
        raise DataError(f"{where}: the folder is empty; needed is a folder of image files for each class.")
    if {entry.name.casefold() for entry in classes} <= SPLITS:
        meant = next((entry for entry in classes if entry.name.casefold().startswith(reading.split)), classes[0])
        raise DataError(
            f"{where} holds {', '.join(entry.name for entry in classes)}, which are splits and not classes; name them "
            f"one by one, such as by data.path.{reading.split}={meant}."
        )
    files: list[Path] = []
    labels: list[str] = []
    for entry in classes:
        if any("\udc80" <= letter <= "\udcff" for letter in entry.name):
            raise DataError(f"{where}: the name {ascii(entry.name)} of a class is not UTF-8; rename the folder.")
        found = _files(entry)
        if not found:
            raise DataError(f"{where}: the folder of class {entry.name} is empty; fill it, or take it out.")
        files += found
        labels += [entry.name] * len(found)
    label = np.empty(len(labels), dtype=object)
    label[:] = labels
    return {"image": decode_images(files, where, reading.read), "label": label}


def _entries(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))


def _files(folder: Path, above: frozenset[str] = frozenset()) -> list[Path]:
    """List the files below a folder; a link to a folder that holds it is not followed."""
    here = os.path.realpath(folder)
    if here in above:
        return []
    found: list[Path] = []
    for entry in _entries(folder):
        found += _files(entry, above | {here}) if entry.is_dir() else [entry]
    return found
