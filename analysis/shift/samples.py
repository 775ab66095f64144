"""Clean, disjoint, class-matched draws: what must be ensured before two text sources are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class CleanPair:
    """Rows of both sources that may be compared, with what was left out.

    Attributes
    ----------
    reference, sample : int ndarray
        Row indices kept, in the sources' order.
    report : dict of str to int
        Empty texts, dropped labels, collapsed duplicates on each side and texts common to both.
    """

    reference: Int[np.ndarray, " r"]
    sample: Int[np.ndarray, " s"]
    report: dict[str, int]


def clean_pair(
    reference: tuple[Sequence[str], np.ndarray],
    sample: tuple[Sequence[str], np.ndarray],
    *,
    classes: Sequence[int] = (0, 1),
) -> CleanPair:
    """Drop empty texts and other labels, collapse exact duplicates, remove texts common to both sides.

    Labels outside `classes` (neutral tweets) are dropped and counted, never re-mapped.

    Parameters
    ----------
    reference, sample : pair of (texts, labels)
    classes : sequence of int
        Labels to keep.

    Returns
    -------
    CleanPair

    Raises
    ------
    ValueError
        If a side keeps one class only: a reference that holds just the sorted head of its file looks like that.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import clean_pair
    >>> reference = ["good", "bad", "bad", " ", "fine"], np.array([1, 0, 0, 1, 1])
    >>> sample = ["fine", "poor", "nice"], np.array([1, 0, 1])
    >>> found = clean_pair(reference, sample)
    >>> found.reference.tolist(), found.sample.tolist(), found.report["common"]
    ([0, 1], [1, 2], 1)
    """
    report: dict[str, int] = {}
    kept: list[np.ndarray] = []
    for name, (texts, labels) in (("reference", reference), ("sample", sample)):
        if len(texts) != len(labels):
            raise ValueError(f"{name}: {len(texts)} texts but {len(labels)} labels.")
        filled = np.array([bool(text.strip()) for text in texts], dtype=bool)
        known = np.isin(labels, classes)
        report[f"{name}_empty"] = int(np.count_nonzero(~filled))
        report[f"{name}_other_labels"] = int(np.count_nonzero(filled & ~known))
        rows = np.flatnonzero(filled & known)
        first = {texts[int(i)]: int(i) for i in rows[::-1]}
        report[f"{name}_duplicates"] = int(rows.size - len(first))
        kept.append(np.sort(np.fromiter(first.values(), np.int64, len(first))))
    common = {reference[0][int(i)] for i in kept[0]} & {sample[0][int(i)] for i in kept[1]}
    report["common"] = len(common)
    for side, (name, (texts, labels)) in enumerate((("reference", reference), ("sample", sample))):
        kept[side] = kept[side][[texts[int(i)] not in common for i in kept[side]]]
        found, counts = np.unique(np.asarray(labels)[kept[side]], return_counts=True)
        if found.size < len(classes):
            raise ValueError(
                f"{name} keeps classes {dict(zip(found.tolist(), counts.tolist(), strict=True))} of {list(classes)}: "
                "is it the sorted head of a larger file? Give the whole source."
            )
    return CleanPair(kept[0], kept[1], report)


def matched_draws(
    pool: Int[np.ndarray, " n"],
    wanted: dict[int, int],
    *,
    parts: int,
    generator: np.random.Generator,
) -> list[Int[np.ndarray, " k"]]:
    """Draw disjoint parts with given class counts, uniformly without replacement over the whole pool.

    Parameters
    ----------
    pool : int ndarray, shape (n,)
        Labels of the reference rows.
    wanted : dict of class to count
        Rows of each class in each part (182 positive and 177 negative to match the published sample).
    parts : int
        2 gives P and P'.
    generator : numpy Generator

    Returns
    -------
    list of int ndarray
        Row indices of each part, sorted.

    Raises
    ------
    ValueError
        If a class has too few rows, with counts.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis.shift import matched_draws
    >>> pool = np.array([0, 1] * 50)
    >>> first, second = matched_draws(pool, {0: 4, 1: 3}, parts=2, generator=np.random.default_rng(0))
    >>> np.bincount(pool[first]).tolist(), len(set(first) & set(second))
    ([4, 3], 0)
    """
    drawn: list[list[np.ndarray]] = [[] for _ in range(parts)]
    for value, count in wanted.items():
        rows = np.flatnonzero(pool == value)
        if rows.size < parts * count:
            raise ValueError(
                f"class {value}: {parts} disjoint draws of {count} rows need {parts * count}, the pool has {rows.size}."
            )
        chosen = generator.choice(rows, parts * count, replace=False)
        for part in range(parts):
            drawn[part].append(chosen[part * count : (part + 1) * count])
    return [np.sort(np.concatenate(part)) for part in drawn]
