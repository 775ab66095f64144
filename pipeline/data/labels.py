"""What a label is, and which classes there are: the rules of every source, in one place.

=====================================  =====================================================================
whole numbers 0, 1, ..., K-1           classes
-1                                     a row whose class is withheld
1, 2, 3, or with gaps, or identifiers  refused with the values, and the map or setting that numbers them
words, true and false                  refused, or numbered in sorted order by ``data.read.labels=sorted`` or ``auto``
1.0                                    1, also as written in a text table
words that differ in blanks alone      refused; those that differ in case are two classes, with a note
0.5, NaN, infinite, missing            refused with the row
one label per row                      refused: an identifier
below -1, or beyond 64 bits            refused with the row
a class that the training rows lack    refused where the test rows have it
other names than classes               refused: more, fewer, or not those that the file itself gives
=====================================  =====================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from pipeline.data.errors import DataError
from pipeline.data.records import UNLABELED, Columns, Records, take
from pipeline.machine.progress import say

SORTED_WAY = "data.read.labels=sorted numbers them in sorted order and names the classes by them"
NO_CLASS = "numbers that are no classes are y in data.columns, and not label"
FEW = 12
"""Labels that a message spells out."""
ENOUGH_ROWS = 20
"""Training rows from which on a label of nearly every row is taken for an identifier."""


def whole_numbers(values: np.ndarray, where: str, way: str = "") -> Int64[np.ndarray, " n"]:
    """Check that labels are whole numbers, one per row.

    Parameters
    ----------
    values : ndarray
        Labels as delivered.
    where : str
        File and split, for messages.
    way : str
        What helps where they are fractions.

    Raises
    ------
    DataError
        If they are one-hot, fractional, missing, too large or no numbers, with the first such row.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"{where}: labels have shape {values.shape}; one whole number per row is needed.")
    if values.dtype.kind == "b" or values.dtype.kind in "OUS":
        for row, value in enumerate(values.tolist()):
            if isinstance(value, bool) or not isinstance(value, int):
                way = f"; {SORTED_WAY}" * (isinstance(value, (str, bool)) and value != "")
                raise DataError(f"{where}, row {row}: label {_short(value)} is no whole number{way}.")
        row = next(row for row, value in enumerate(values.tolist()) if not -(2**63) <= value < 2**63)
        raise DataError(f"{where}, row {row}: label {_short(values[row])} is beyond 64 bits.")
    if values.dtype.kind not in "iuf":
        raise DataError(f"{where}: labels have type {values.dtype}; whole numbers are needed.")
    for unfit, problem in (
        (~np.isfinite(values) | (np.trunc(values) != values), f"is not an integer{way}"),
        (values < UNLABELED, "is negative; labels count from 0 (-1: withheld)"),
        (values > 2.0**63 - 1024 if values.dtype.kind == "f" else values > np.iinfo(np.int64).max, "is beyond 64 bits"),
    ):
        if unfit.any():
            row = int(unfit.argmax())
            raise DataError(f"{where}, row {row}: label {values[row]} {problem}.")
    return values.astype(np.int64)


def read_labels(values: Sequence[object] | np.ndarray, how: str, where: str) -> np.ndarray:
    """Labels of one file: checked whole numbers, or, to be numbered later, words, truth values or whole numbers.

    Parameters
    ----------
    values : sequence
        As delivered, one entry per row.
    how : {"numbers", "sorted", "auto"}
        ``data.read.labels``.
    where : str
        File and split, for messages.

    Returns
    -------
    ndarray
        int64, or for ``sorted`` and ``auto`` objects of one type.
    """
    delivered = values if isinstance(values, np.ndarray) else _array(values)
    if how == "numbers" or delivered.dtype.kind in "iuf" or delivered.ndim != 1:
        return whole_numbers(delivered, where, f"; {NO_CLASS}")
    entries = delivered.tolist()
    kinds = {type(entry) for entry in entries}
    if not kinds & {str, bool, int}:
        raise DataError(f"{where}, row 0: label {_short(entries[0])} is neither a word nor a whole number.")
    if len(kinds) > 1 or not kinds <= {str, bool, int}:
        odd = next(row for row, entry in enumerate(entries) if type(entry) is not type(entries[0]))
        raise DataError(
            f"{where}, row {odd}: label {_short(entries[odd])} is of another type than {_short(entries[0])} of row 0; "
            "labels need one type."
        )
    if kinds == {str}:
        for row, entry in enumerate(entries):
            if not entry.strip() or (how == "auto" and is_missing(entry)):
                raise DataError(f"{where}, row {row}: {no_label(entry)}.")
    result = np.empty(len(entries), dtype=object)
    result[:] = entries
    return result


def _array(values: Sequence[object]) -> np.ndarray:
    """Values of a column as an array that keeps their type; numpy alone would turn 1 and "1" into two words."""
    kinds = {type(value) for value in values}
    if kinds <= {int} and all(-(2**63) <= value < 2**63 for value in values):  # type: ignore[operator]
        return np.array(values, dtype=np.int64)
    if float in kinds and kinds <= {int, float}:
        return np.array(values, dtype=np.float64)
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def parse_whole(
    values: Iterable[str], lines: Sequence[int], name: str, way: str = SORTED_WAY
) -> Int64[np.ndarray, " n"]:
    """Convert labels read as text, naming the line of the first one that is no whole number of 64 bits.

    Whole numbers may be written with a point (``1.0``), as pandas does in a column that once missed a value. ``way``
    is what helps where labels are words.
    """
    parsed = []
    for value, line in zip(values, lines, strict=True):
        word = value.strip()
        if is_missing(word):
            raise DataError(f"{name}, line {line}: {no_label(word)}.")
        if not re.fullmatch(r"[+-]?[0-9]+(\.0*)?", word):
            helps = f"; {NO_CLASS if is_number(word) else way}" * bool(way)
            raise DataError(f"{name}, line {line}: label {_short(value)} is not an integer{helps}.")
        word = word.partition(".")[0]
        if len(word) > 19 or not -(2**63) <= int(word) < 2**63:
            raise DataError(f"{name}, line {line}: label {word[:20]}{'...' * (len(word) > 20)} is beyond 64 bits.")
        if int(word) < UNLABELED:
            raise DataError(f"{name}, line {line}: label {word} is negative; labels count from 0 (-1: withheld).")
        parsed.append(int(word))
    return whole_numbers(np.array(parsed, dtype=np.int64), name)


def is_missing(word: str) -> bool:
    """Whether a label is none: nothing, or what pandas writes for nothing."""
    return word.strip().casefold() in ("", "nan")


def no_label(word: str) -> str:
    """Say that a row lacks its label."""
    return f"no label{f' ({_short(word)})' * bool(word.strip())}; fill it in, or leave the row out"


def is_number(word: str) -> bool:
    """Whether a cell holds a number, NaN and infinity included."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def map_labels(columns: Columns, label_map: Mapping[int, int], split: str, drops: dict[str, int]) -> Columns:
    """Replace labels; rows whose label is not in the map are dropped and counted, never remapped.

    An empty map keeps everything.
    """
    if not label_map or "label" not in columns:
        return columns
    if columns["label"].dtype == object:
        raise DataError(f"split {split!r}: label_map takes whole numbers, but the labels are words.")
    known = np.isin(columns["label"], list(label_map))
    if not known.all():
        drops[f"label outside the map ({split})"] = int((~known).sum())
        columns = take(columns, np.flatnonzero(known))
    mapped = [label_map[label] for label in columns["label"].tolist()]
    return {**columns, "label": np.array(mapped, dtype=np.int64)}


def number_words(splits: dict[str, Columns], how: str) -> list[str]:
    """Replace the labels of all splits by numbers as ``data.read.labels`` asks, in place: ``auto`` counts words alone.

    Returns
    -------
    list of str
        Names of the classes; empty where labels are whole numbers already.
    """
    words = any("label" in columns and columns["label"].dtype == object for columns in splits.values())
    if how == "sorted" or words:
        return number_sorted(splits, natural=how != "sorted")
    return []


def number_sorted(splits: dict[str, Columns], natural: bool = False) -> list[str]:
    """Replace the labels of all splits by their rank among all values, in place; -1 stays withheld.

    With ``natural``, words that are all whole numbers are in the order of these: 2 comes before 10.

    Returns
    -------
    list of str
        The values in sorted order: names of the classes.

    Raises
    ------
    DataError
        If one split has words and another numbers.
    """
    labeled = {split: columns["label"] for split, columns in splits.items() if "label" in columns}
    values = {value for labels in labeled.values() for value in labels.tolist()} - {UNLABELED}
    kinds = {type(value) for value in values}
    if len(kinds) > 1:
        held = " in one file and ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(f"Labels are {held} in another; write them alike in all files.")
    _refuse_like_words([value for value in values if isinstance(value, str)])
    counted = natural and all(isinstance(value, str) and value.isascii() and value.isdecimal() for value in values)
    in_order = sorted(values, key=lambda value: (int(value), value)) if counted else sorted(values)
    rank = {value: number for number, value in enumerate(in_order)}
    for split, labels in labeled.items():
        numbered = [rank.get(value, UNLABELED) for value in labels.tolist()]
        splits[split] = {**splits[split], "label": np.array(numbered, dtype=np.int64)}
    return [str(value) for value in rank]


def _refuse_like_words(words: Sequence[str]) -> None:
    """Refuse labels that differ in blanks alone; say which differ in case alone."""
    seen: dict[str, str] = {}
    for word in sorted(words):
        plain = word.strip()
        if plain in seen:
            raise DataError(
                f"The labels {_short(seen[plain])} and {_short(word)} differ in blanks alone; write them alike."
            )
        seen[plain] = word
    folded: dict[str, str] = {}
    for word in seen:
        if word.casefold() in folded:
            other = _short(folded[word.casefold()])
            say(f"note: the labels {other} and {_short(word)} differ in case alone and are two classes")
        folded[word.casefold()] = word


def check_classes(records: Records, given: Sequence[str] | None, source: str) -> None:
    """Hold the labels of a user's own rows, and the names of their classes, against the rules of this module.

    Parameters
    ----------
    records : Records
        After label mapping; its names are those that the files themselves give.
    given : sequence of str or None
        ``data.class_names``.
    source : str
        ``path`` or ``hub``, for the settings that messages name.

    Raises
    ------
    DataError
        Naming the labels and the map or setting that helps.
    """
    labeled = {split: columns["label"] for split, columns in records.splits.items() if "label" in columns}
    found = sorted({int(value) for labels in labeled.values() for value in np.unique(labels)} - {UNLABELED})
    if not found:
        return
    refuse_names(found, given, records.class_names)
    train = labeled.get("train")
    absent = [name for label, name in enumerate(records.class_names) if label not in set(found)]
    if absent:
        say(f"note: no row has the class {_listed(absent)}, which the data set names")
    if not absent and train is not None and len(train) >= ENOUGH_ROWS and len(np.unique(train)) > len(train) / 2:
        shown = [records.class_names[label] if records.class_names else int(label) for label in train[:3]]
        raise DataError(
            f"{len(np.unique(train))} of {len(train)} training rows have labels of their own, such as "
            f"{_listed(shown)}: an identifier or a measured number is no class. Name the "
            f"column of the classes, such as by 'data.columns={{label: kind}}'."
        )
    if not records.class_names and found != list(range(len(found))):
        raise DataError(_with_gaps(found, source))
    trained = set() if train is None else {*train.tolist(), UNLABELED}
    for split in ("test", "val"):
        untrained = sorted({*labeled[split].tolist()} - trained) if trained and split in labeled else []
        if untrained:
            names = [records.class_names[label] for label in untrained] if records.class_names else untrained
            rows = f"{'validation' if split == 'val' else split} rows"
            raise DataError(
                f"Label {_listed(names)} occurs in the {rows} but in no training row, so that no network learns "
                f"it; add such training rows, or take it out of the {rows}"
                + f", such as with data.{source}.label_map" * (not records.class_names)
                + "."
            )


def refuse_names(found: Sequence[int], given: Sequence[str] | None, stored: Sequence[str]) -> None:
    """Refuse names of classes that do not belong to these labels.

    Raises
    ------
    DataError
        If there are fewer or more names than classes, or others than the data set itself gives.
    """
    if given and stored and [_plain(name) for name in given] != [_plain(name) for name in stored]:
        raise DataError(
            f"data.class_names names {len(given)} classes, {_listed(given)}, but the data set itself names "
            f"{len(stored)}, {_listed(stored)}. data.class_names=null takes the names of the data set."
        )
    names = given or stored
    if names and found[-1] >= len(names):
        raise DataError(f"There are labels up to {found[-1]} but {len(names)} names of classes, {_listed(names)}.")
    if given and not stored and len(given) > len(found):
        raise DataError(
            f"data.class_names names {len(given)} classes, {_listed(given)}, but the rows have {len(found)}: "
            f"{_listed(found)}. Give one name per class, or data.class_names=null for numbers."
        )


def _with_gaps(found: list[int], source: str) -> str:
    words = f"The labels are {_listed(found)}; classes count 0, 1, 2, ... without gaps."
    if len(found) <= FEW:
        pairs = ",".join(f"{label}:{number}" for number, label in enumerate(found))
        words += f" 'data.{source}.label_map={{{pairs}}}' renumbers them, and"
    return f"{words} {SORTED_WAY}."


def _listed(values: Sequence[object]) -> str:
    """Spell out a few values, inert whatever they hold."""
    words = [str(value) if isinstance(value, int) else _short(value) for value in values[:FEW]]
    if len(values) > FEW:
        words += ["...", str(values[-1]) if isinstance(values[-1], int) else _short(values[-1])]
    return ", ".join(words)


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _plain(name: str) -> str:
    """Strip case and punctuation off a name: the hub's "T - shirt / top" is "T-shirt/top"."""
    return re.sub(r"[\W_]+", "", name).casefold() or name
