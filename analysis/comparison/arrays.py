"""Labels, names of runs, and features of layers, of those who call a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from analysis.checks import class_labels
from kernels.arrays import as_array


def as_labels(labels: Any, classes: int, examples: int, what: str = "labels") -> np.ndarray:
    """Bring true classes to integers 0..C-1, one for each example.

    Parameters
    ----------
    labels : array_like
        Class indices or one-hot rows.
    classes, examples : int
        Columns and rows of the outputs that they belong to.
    what : str
        Name in messages.

    Raises
    ------
    ValueError
        For words, another number of labels than examples, and labels that are no class of the outputs.

    Examples
    --------
    >>> from analysis.comparison.arrays import as_labels
    >>> as_labels([0, 2, 1], 3, 3)
    array([0, 2, 1])
    """
    if labels is None:
        raise ValueError(
            f"{what} is None: accuracy, churn and calibration are about the true classes, one per example."
        )
    first = None if hasattr(labels, "detach") else np.asarray(labels, dtype=object).ravel()[:1].tolist()
    if first and isinstance(first[0], (str, bytes)):
        raise ValueError(
            f"{what} are words such as {first[0]!r}, and nothing says which column of the outputs is which: write "
            f"{what}=[names.index(word) for word in {what}] with the class names in the order of the columns."
        )
    values = as_array(labels, what)
    if len(values) != examples:
        raise ValueError(
            f"There are {len(values):,} {what} for {examples:,} examples: give one for each, in one order."
        )
    try:
        return class_labels(values, classes)
    except ValueError as error:
        raise ValueError(f"{what}: {error} The outputs have {classes} classes.") from None


def unique_names(names: Iterable[Any], count: int, what: str = "runs") -> list[str]:
    """Names as texts, each once.

    Raises
    ------
    ValueError
        For another number of names than there are things to name, or a name that stands for two of them.

    Examples
    --------
    >>> from analysis.comparison.arrays import unique_names
    >>> unique_names([0, 1], 2)
    ['0', '1']
    """
    found = [str(name) for name in names]
    if len(found) != count:
        raise ValueError(f"There are {len(found)} names for {count} {what}: give one for each.")
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ValueError(
            f"The name {twice[0]!r} stands for {found.count(twice[0])} {what}: give each a name of its own."
        )
    return found


def named(values: Any, names: Sequence[Any] | None, what: str) -> tuple[list[str], list[Any]]:
    """Split a mapping, a list or an array over runs into names and members.

    Parameters
    ----------
    values : mapping, sequence or array
        Members by name, or along the first axis.
    names : sequence or None
        Names of members that have none; None counts them as "run 0", "run 1", ...
    what : str
        Name in messages.

    Raises
    ------
    ValueError
        If names are given for a mapping, which has its own, or the members cannot be told apart.
    """
    if isinstance(values, Mapping):
        if names is not None:
            raise ValueError(f"{what} is a mapping and has names already: leave names= out.")
        return unique_names(values, len(values)), list(values.values())
    if not isinstance(values, (list, tuple)):
        values = as_array(values, what)
    members = list(values)
    given = [f"run {i}" for i in range(len(members))] if names is None else names
    return unique_names(given, len(members)), members


def check_layers(name: str, layers: Sequence[str], first: str, wanted: Sequence[str]) -> None:
    """Refuse a run that has other layers than the first."""
    if sorted(layers) != sorted(wanted):
        lacking, more = sorted(set(wanted) - set(layers)), sorted(set(layers) - set(wanted))
        said = [f"lacks {', '.join(map(repr, lacking))}"] if lacking else []
        said += [f"has {', '.join(map(repr, more))}, which {first!r} lacks"] if more else []
        raise ValueError(f"features[{name!r}] {' and '.join(said)}: every run needs the same layers.")


def count_examples(name: str, layer: str, values: Any) -> int:
    """Count the examples of a layer; refuses what has no length or cannot be sliced."""
    if not hasattr(values, "__len__") or not hasattr(values, "__getitem__") or isinstance(values, Mapping):
        raise ValueError(
            f"features[{name!r}][{layer!r}] is a {type(values).__name__}: an array (examples, ...) is needed."
        )
    return len(values)


def rows_of(name: str, layer: str, values: Any) -> Shaped[np.ndarray, "b d"]:
    """Features of some examples as they are stored, axes after the first flattened; a view where that can be."""
    array = as_array(values, f"features[{name!r}][{layer!r}]")
    if not array.size:
        raise ValueError(f"features[{name!r}][{layer!r}] is empty (shape {array.shape}).")
    return array.reshape(len(array), -1)


def finite_rows(name: str, layer: str, values: Any, start: int) -> Float[np.ndarray, "b d"]:
    """Features of the examples from ``start`` on in float64; refuses what is NaN or infinite."""
    flat = rows_of(name, layer, values).astype(np.float64)
    bad = ~np.isfinite(flat).all(axis=1)
    if bad.any():
        raise ValueError(f"features[{name!r}][{layer!r}] is NaN or infinite, first in row {start + int(bad.argmax())}.")
    return flat
