"""Subsets and splits: seeded, stratified, and with duplicates and groups on one side only."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.data.errors import DataError
from pipeline.data.records import Columns, n_rows

PURPOSES = {"subset": 1, "val": 2, "test": 3}
"""Each purpose draws from its own stream, so that one choice does not shift another."""


def stream(data_seed: int, purpose: str) -> np.random.Generator:
    """Random generator of one purpose under the data seed."""
    return np.random.default_rng([data_seed, PURPOSES[purpose]])


def content_keys(columns: Columns) -> list[bytes]:
    """One short digest per row of its image, text or vector: equal rows have equal keys."""
    for name in ("image", "x"):
        if name in columns:
            values = np.ascontiguousarray(columns[name])
            rows = values.reshape(len(values), -1).view(np.uint8)
            return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]
    return [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in columns["text"]]


def components(keys: Sequence[bytes], groups: Sequence[str] | None) -> Int64[np.ndarray, " n"]:
    """Label the sets of rows that must stay together: equal content or equal group, transitively.

    An empty group name ties a row to nothing.
    """
    n = len(keys)
    first: dict[Any, int] = {}
    partner = [first.setdefault(key, row) for row, key in enumerate(keys)]
    edges = [(row, other) for row, other in enumerate(partner) if row != other]
    for row, group in enumerate(groups or []):
        if group:
            other = first.setdefault(("group", group), row)
            if other != row:
                edges.append((row, other))
    if not edges:
        return np.arange(n, dtype=np.int64)
    left, right = np.array(edges).T
    graph = coo_array((np.ones(len(edges), dtype=np.int8), (left, right)), shape=(n, n))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def leaked_rows(train: Columns, tests: Sequence[Columns]) -> Bool[np.ndarray, " n"]:
    """Mark training rows whose content or group also occurs in one of the test splits."""
    seen = {key for columns in tests for key in content_keys(columns)}
    groups = {group for columns in tests for group in columns.get("group", []) if group}
    leaked = np.array([key in seen for key in content_keys(train)], dtype=bool)
    if groups and "group" in train:
        leaked |= np.array([group in groups for group in train["group"]], dtype=bool)
    return leaked


def strata(columns: Columns, names: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Label the combinations of the stratification columns (``label``, ``domain``)."""
    present = [np.asarray(columns[name]) for name in names if name in columns]
    numbered = np.zeros(n_rows(columns), dtype=np.int64)
    for values in present:
        _, codes = np.unique(values, return_inverse=True)
        numbered = numbered * (int(codes.max()) + 1) + codes
    return numbered


def held_out(
    columns: Columns, share: float, stratify: Sequence[str], generator: np.random.Generator
) -> Bool[np.ndarray, " n"]:
    """Draw the rows of a held-out split.

    Every stratum gives its share of rows, rounded so that the total is right (largest remainder) and each
    stratum lies within one row of its share; duplicates and groups go as a whole, counted in the stratum of
    their first row, and are passed over where they would overshoot it.

    Parameters
    ----------
    columns : Columns
        The rows to divide.
    share : float
        In [0, 1).
    stratify : sequence of str
        Any of ``label``, ``domain``.
    generator : numpy Generator
        Decides which rows.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where a row is held out.
    """
    n = n_rows(columns)
    taken = np.zeros(n, dtype=bool)
    if share == 0.0:
        return taken
    numbered = strata(columns, stratify)
    component = components(content_keys(columns), columns.get("group"))
    members: dict[int, list[int]] = defaultdict(list)
    for row, owner in enumerate(component.tolist()):
        members[owner].append(row)
    firsts = np.array([rows[0] for rows in members.values()])
    values, sizes = np.unique(numbered, return_counts=True)
    for value, target in zip(values, _largest_remainder(sizes * share), strict=True):
        left = int(target)
        candidates = firsts[numbered[firsts] == value]
        for first in generator.permutation(candidates).tolist():
            if left == 0:
                break
            rows = members[int(component[first])]
            if len(rows) <= left:
                taken[rows] = True
                left -= len(rows)
    return taken


def subset_rows(
    labels: Int64[np.ndarray, " n"],
    classes: Sequence[int] | None,
    per_class: int | None,
    pick: str,
    generator: np.random.Generator,
) -> Int64[np.ndarray, " m"]:
    """Choose rows of the wanted classes, at most ``per_class`` of each, in their original order.

    Raises
    ------
    DataError
        If a wanted class has no row.
    """
    wanted = np.unique(labels) if classes is None else np.array(classes)
    chosen = []
    for value in wanted:
        rows = np.flatnonzero(labels == value)
        if rows.size == 0:
            present = np.unique(labels).tolist()
            raise DataError(f"data.subset.classes holds {value}, which has no rows; present are {present}.")
        if per_class is not None and rows.size > per_class:
            rows = rows[:per_class] if pick == "first" else generator.choice(rows, per_class, replace=False)
        chosen.append(rows)
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _largest_remainder(shares: np.ndarray) -> Int64[np.ndarray, " k"]:
    """Round shares to integers whose sum is the rounded sum."""
    whole = np.floor(shares).astype(np.int64)
    missing = int(round(float(shares.sum()))) - int(whole.sum())
    order = np.argsort(-(shares - whole), kind="stable")
    whole[order[:missing]] += 1
    return whole
