"""Tables of numbers that another framework wrote: outputs and labels in npy, npz, csv, parquet, safetensors or pt."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.errors import DataError

FORMATS = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".safetensors", ".pt", ".pth")
OUTPUTS = ("logits", "outputs", "probabilities", "probs", "predictions", "scores")
LABELS = ("labels", "label", "targets", "target", "y")
IDS = ("ids", "id", "index")
"""Names of arrays and columns that are taken for outputs, labels and numbers of examples."""


@dataclass(frozen=True)
class OutputFile:
    """What a file holds.

    Attributes
    ----------
    outputs : ndarray, shape (n, classes) or (n,)
        Empty where only labels were asked for.
    labels, ids : ndarray of shape (n,), or None
        Where the file has them.
    """

    outputs: np.ndarray
    labels: np.ndarray | None
    ids: np.ndarray | None


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
    outputs = found["outputs"]
    if outputs is None and is_table:
        outputs = _columns(rest, file)
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
    return OutputFile(outputs, found["labels"], found["ids"])


def _arrays(file: Path, end: str) -> tuple[dict[str, np.ndarray], bool]:
    """Everything in a file by name, and whether these are columns of a table."""
    try:
        if end == ".npy":
            return {"": np.load(file, mmap_mode="r", allow_pickle=False)}, False
        if end == ".npz":
            with np.load(file, allow_pickle=False) as content:
                return {name: content[name] for name in content.files}, False
        if end == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(file), False
        if end in (".pt", ".pth"):
            return _torch_arrays(file), False
        import pandas as pd

        frame = pd.read_parquet(file) if end == ".parquet" else pd.read_csv(file, sep="\t" if end == ".tsv" else ",")
    except OSError:
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
    named = content if isinstance(content, Mapping) else {"": content}
    return {
        str(name): value.detach().float().numpy() if value.is_floating_point() else value.numpy()
        for name, value in named.items()
        if isinstance(value, torch.Tensor)
    }


def _named(arrays: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray | None:
    by_name = {name.lower(): value for name, value in arrays.items()}
    return next((by_name[name] for name in names if name in by_name), None)


def _columns(columns: Mapping[str, np.ndarray], file: Path) -> np.ndarray:
    """Put the columns of a table side by side: a class each."""
    odd = [name for name, values in columns.items() if values.dtype.kind not in "fiu"]
    if odd or not columns:
        what = f"column {odd[0]!r} holds no numbers" if odd else "there is no column of outputs"
        raise DataError(f"{file}: {what}; keep a column per class, and label and id besides.")
    return np.column_stack(list(columns.values()))


def _listed(arrays: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name or 'an array'} {value.shape}" for name, value in arrays.items()) or "no arrays"
