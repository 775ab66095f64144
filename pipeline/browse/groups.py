"""Runs that differ in nothing but the seed, and the mean and interval of each of their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.verdicts import run_interval_within, student_mean_interval
from pipeline.browse.rows import DONE, Rows
from pipeline.engine.inventory.record import Record
from pipeline.results.chosen import Chosen

_SHARES = ("accuracy", "agreement", "auc", "auroc", "auprc", "share", "level", "spearman_p", "top1", "top5")
_NOT_NEGATIVE = ("loss", "rmse", "mse", "error", "distance", "seconds")
NO_INTERVAL = ("one run", "equal values", "crossed seeds")
"""Why a group's number has no interval."""


@dataclass(frozen=True)
class Group:
    """Finished artifacts of one stage whose settings agree in everything but seeds.

    Attributes
    ----------
    stage : str
        Their stage.
    rows : list of int
        Their places on the page.
    words : dict of str to str
        What sets the group apart from others, by name; the stage's VERSION where nothing else does.
    crossed : bool
        Whether no stream of seeds differs in all of them, so that they are no independent runs.
    """

    stage: str
    rows: list[int]
    words: dict[str, str]
    crossed: bool


def groups_of(rows: Rows, described: Mapping[str, Mapping[str, str]]) -> list[Group]:
    """Collect finished artifacts that differ in seeds alone: equal settings, VERSION and data rows.

    Parameters
    ----------
    rows : Rows
        Of the page.
    described : mapping
        What distinguishes each artifact, as :func:`pipeline.results.table.describe` says.
    """
    found: dict[tuple[Any, ...], list[int]] = {}
    bases: dict[str, tuple[str, ...]] = {}
    for place, record in enumerate(rows.records):
        if rows.states[place] != DONE or record.problem:
            continue
        words = tuple((name, value) for name, value in described[record.address].items() if not is_seed(name, value))
        data = _data(rows.chosen, record, bases)
        found.setdefault((record.stage, record.version, words, data), []).append(place)
    made = []
    versions: dict[tuple[Any, ...], set[int]] = {}
    for stage, version, words, _ in found:
        versions.setdefault((stage, words), set()).add(version)
    for (stage, version, words, _), places in found.items():
        streams: dict[str, set[str]] = {}
        for place in places:
            for name, value in described[rows.records[place].address].items():
                if is_seed(name, value):
                    streams.setdefault(name, set()).add(value)
        crossed = bool(streams) and all(len(values) < len(places) for values in streams.values())
        told = {"version": str(version)} if len(versions[stage, words]) > 1 else {}
        made.append(Group(stage, places, dict(words) | told, crossed))
    return made


def is_seed(name: str, value: str) -> bool:
    """Whether a label or setting is a seed of the network; data and poison have their own, which a group keeps.

    Examples
    --------
    >>> is_seed("seed", "3"), is_seed("start", "seeds.init=3"), is_seed("data.data_seed", "3")
    (True, True, False)
    """
    return name in ("seed", "cells.seed") or name.startswith("seeds.") or value.startswith(("seed=", "seeds."))


def _data(chosen: Chosen, record: Record, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Addresses of the data rows that an artifact rests on."""
    if record.address not in known:
        own = {record.address} if record.stage == "prepare" else set()
        for upstream in chosen.upstream(record):
            own |= set(_data(chosen, upstream, known))
        known[record.address] = tuple(sorted(own))
    return known[record.address]


def interval(quantity: str, values: Sequence[float], crossed: bool) -> tuple[int, float, float, float, float, str]:
    """Give n, mean, standard deviation, the 95 % interval of the mean, and why there is none.

    Student's interval; of shares and accuracies Wilson's with the spread between runs, which stays within [0, 1]; what
    cannot be negative, such as a loss, has no negative end.

    Parameters
    ----------
    quantity : str
        Name of the number.
    values : sequence of float
        One per run; those that are not finite are left out.
    crossed : bool
        Whether the runs share seeds, so that no interval over independent runs holds.

    Examples
    --------
    >>> n, mean, sd, low, high, why = interval("test_accuracy", [0.91, 0.93, 0.92, 0.94], False)
    >>> n, round(mean, 3), round(sd, 3), round(low, 3), round(high, 3)
    (4, 0.925, 0.013, 0.902, 0.943)
    >>> interval("test_loss", [0.5], False)[-1]
    'one run'
    """
    sound = [float(value) for value in values if math.isfinite(value)]
    kind = quantity.rpartition("/")[2].rpartition(" ")[2].lower()
    if kind.endswith(_SHARES) and all(0 <= value <= 1 for value in sound) and len(sound) > 1:
        mean, sd, low, high = run_interval_within(sound, 0, 1)
    else:
        mean, sd, low, high = student_mean_interval(sound)
        if kind.endswith(_NOT_NEGATIVE) and all(value >= 0 for value in sound):
            low = max(low, 0.0)
    why = ""
    if len(sound) < 2:
        why = NO_INTERVAL[0]
    elif not high - low > 1e-12 * max(abs(mean), 1e-300):
        why = NO_INTERVAL[1]
    elif crossed:
        why = NO_INTERVAL[2]
    if why:
        low = high = math.nan
    return len(sound), mean, sd, low, high, why
