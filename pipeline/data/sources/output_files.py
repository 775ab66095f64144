"""Tables of numbers that another framework wrote: outputs and labels in npy, npz, csv, parquet, safetensors or pt."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.errors import DataError
from pipeline.data.labels import is_number
from pipeline.data.sources.tables import delimiter_of

FORMATS = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".safetensors", ".pt", ".pth")
OUTPUTS = ("logits", "outputs", "probabilities", "probs", "predictions", "scores")
LABELS = ("labels", "label", "targets", "target", "y")
IDS = ("ids", "id", "index")
"""Names of arrays and columns that are taken for outputs, labels and numbers of examples."""
NO_CLASSES = ("prediction", "predictions", "predicted", "pred", "loss", "epoch", "correct")
"""Names of columns of numbers that are no class's outputs."""


@dataclass(frozen=True)
class OutputFile:
    """What a file holds.

    Attributes
    ----------
    outputs : ndarray, shape (n, classes) or (n,)
        Empty where only labels were asked for.
    labels, ids : ndarray of shape (n,), or None
        Where the file has them.
    classes : list of str
        Names of the columns of outputs; empty where the file gives none.
    """

    outputs: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray | None
    classes: list[str] = field(default_factory=list)


def read_outputs(file: Path, run: int, labels: bool = False) -> OutputFile:
    """Read one run's outputs, or labels.

    Parameters
    ----------
    file : Path
        One array, or arrays or columns with names; other columns of a table are the classes in their order.
    run : int
        Which run of an array (runs, n, classes).
    labels : bool
        Whether a single array, or a single column, holds the labels.

    Raises
    ------
    DataError
        If the format is not read, or it is not clear what is what.
    """
    end = file.suffix.lower()
    if end not in FORMATS:
        raise DataError(f"{file}: outputs are read from {', '.join(FORMATS)}; write one of them.")
    arrays, is_table = _arrays(file, end)
    found = {kind: _named(arrays, names) for kind, names in (("labels", LABELS), ("ids", IDS), ("outputs", OUTPUTS))}
    rest = {name: value for name, value in arrays.items() if name.lower() not in (*LABELS, *IDS)}
    if labels:
        truth = found["labels"]
        if truth is None and len(rest) == 1:
            truth = next(iter(rest.values()))
        if truth is None:
            raise DataError(f"{file} holds {_listed(arrays)}; call the labels {LABELS[0]!r}.")
        return OutputFile(np.empty(0), truth, found["ids"])
    outputs, classes = found["outputs"], []
    if is_table and (outputs is None or len(rest) > 1):
        outputs, classes = _columns(rest, file), list(rest)
    elif outputs is None and len(rest) == 1:
        outputs = next(iter(rest.values()))
    if outputs is None:
        raise DataError(f"{file} holds {_listed(arrays)}; call the outputs {OUTPUTS[0]!r}.")
    if outputs.ndim == 3:
        if run >= len(outputs):
            raise DataError(
                f"{file} holds {len(outputs)} runs, counted from 0, and none for seed {run}; choose seeds below "
                f"{len(outputs)}, such as 'cells.seed=0:{len(outputs)}'."
            )
        outputs = outputs[run]
    if outputs.dtype.kind not in "fiu":
        raise DataError(f"{file}: outputs have type {outputs.dtype}; numbers are needed.")
    return OutputFile(outputs, found["labels"], found["ids"], classes)


def _arrays(file: Path, end: str) -> tuple[dict[str, np.ndarray], bool]:
    """Everything in a file by name, and whether these are columns of a table."""
    try:
        if end == ".npy":
            return {"": np.load(file, mmap_mode="r", allow_pickle=False)}, False
        if end == ".npz":
            with np.load(file, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}, False
        if end == ".safetensors":
            from safetensors.torch import load_file

            return _plain(load_file(file)), False
        if end in (".pt", ".pth"):
            return _torch_arrays(file), False
        frame = _parquet(file) if end == ".parquet" else _text_table(file)
    except (OSError, DataError):
        raise
    except Exception as error:  # each reader has errors of its own
        raise DataError(f"{file} cannot be read as {end[1:]} ({' '.join(str(error).split())[:200]}).") from error
    listed = {str(name): column for name, column in frame.items()}
    return {
        name: np.array(column.tolist()) if column.dtype == object else column.to_numpy()
        for name, column in listed.items()
    }, True


def _torch_arrays(file: Path) -> dict[str, np.ndarray]:
    import torch

    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{file} holds more than tensors, which only running its code could read; save tensors."
        ) from error
    return _plain(content if isinstance(content, Mapping) else {"": content})


def _plain(named: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """Tensors as arrays; NumPy has no bfloat16."""
    import torch

    return {
        str(name): (value.detach().float() if value.dtype == torch.bfloat16 else value.detach()).numpy()
        for name, value in named.items()
        if isinstance(value, torch.Tensor)
    }


def _parquet(file: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(file)


def _text_table(file: Path) -> Any:
    """Read a table of text, with or without a line of names; a column without a name is the numbers of its rows."""
    import pandas as pd

    with file.open("rb") as stream:
        start = stream.read(2**20)
    delimiter = delimiter_of(start)
    first = start.decode("utf-8-sig", "replace").lstrip("\r\n").partition("\n")[0].rstrip("\r")
    names = [name.strip().strip('"') for name in first.split(delimiter)]
    counted = names[names[0] == "" :] == [str(number) for number in range(len(names) - (names[0] == ""))]
    if names == ["0"]:
        raise DataError(
            f"{file}: its first line, 0, may be a name or a number; write {LABELS[1]} in its place where it is a name, "
            "else a line above it."
        )
    numbers = all(map(is_number, names)) and not counted
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the line of names
        frame = pd.read_csv(file, sep=delimiter, header=None if numbers else 0, index_col=False)
    if not numbers and names[0] == "":
        frame = frame.rename(columns={frame.columns[0]: IDS[0]})
    return frame


def _named(arrays: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    by_name = {name.lower(): value for name, value in arrays.items()}
    return next((by_name[name] for name in names if name in by_name), None)


def _columns(columns: Mapping[str, np.ndarray], file: Path) -> np.ndarray:
    """Put the columns of a table side by side: a class each."""
    odd = [name for name, values in columns.items() if values.dtype.kind not in "fiu" or values.ndim > 1]
    other = [name for name in columns if name.lower() in NO_CLASSES]
    if odd or other or not columns:
        what = f"column {odd[0]!r} holds no numbers" if odd else "there is no column of outputs"
        what = f"column {other[0]!r} is no class" if other and not odd else what
        raise DataError(f"{file}: {what}; keep a column per class, and label and id besides.")
    return np.column_stack(list(columns.values()))


def _listed(arrays: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name or 'an array'} {value.shape}" for name, value in arrays.items()) or "no arrays"
