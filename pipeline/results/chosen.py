"""Which artifacts a table is about: those of a study or of a whole store, of some stages, times and settings."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.run import SelectConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.graph import Node
from pipeline.engine.inventory.collections_wait import collections_wait
from pipeline.engine.inventory.index import records_of
from pipeline.engine.inventory.inline import setting_lines, setting_of
from pipeline.engine.inventory.listing import Listing
from pipeline.engine.inventory.record import Record
from pipeline.engine.keys import defaults_table
from pipeline.engine.plan import every_node
from pipeline.engine.schedule.labels import labels_of
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError

_MODEL = re.compile(r"^model\[[^]]*\]")
_AGO = re.compile(r"(\d+) ?([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
OF_SEED = "seeds.init"
"""Setting that tells the seed of an artifact without labels."""
ABSENT = object()


@dataclass
class Chosen:
    """Records of finished artifacts with their labels and settings.

    Attributes
    ----------
    records : list of Record
        In the order of their stages, then of their names.
    known : mapping
        All records that were looked at, by ``stage/slug-key``: what the chosen ones rest on is among them.
    labels : mapping
        Labels of the cells that each serves, by key.
    """

    records: list[Record]
    known: Mapping[str, Record]
    labels: Mapping[str, Mapping[str, str]]
    _lines: dict[str, tuple[str, Any]] = field(default_factory=dict, repr=False)
    _settings: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict, repr=False)
    _first: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    def own_settings(self, record: Record) -> dict[str, Any]:
        """Give the settings that its address holds; what thousands have is parsed once."""
        memo = (record.stage, record.settings_text)
        if memo not in self._settings:
            self._settings[memo] = dict(map(self.setting, setting_lines(record.settings_text)))
        return self._settings[memo]

    def setting(self, line: str) -> tuple[str, Any]:
        """Read one line of recorded settings."""
        if line not in self._lines:
            name, value = setting_of(line)
            self._lines[line] = (plain_name(name), value)
        return self._lines[line]

    def upstream(self, record: Record) -> list[Record]:
        """Give the records of what it rests on directly; none of a gather, each of whose members has its own."""
        inputs = record.provenance.get("inputs")
        if not isinstance(inputs, dict) or (record.stage in STAGES and STAGES[record.stage].gathers is not None):
            return []
        return [self.known[name] for name in inputs if name in self.known]

    def value(self, record: Record, name: str) -> Any:
        """Value of a label, or of a setting of the artifact or of what it rests on; ABSENT where there is none."""
        if name in self.labels.get(record.key, {}):
            return self.labels[record.key][name]
        name = OF_SEED if name == "seed" else name
        own = self.own_settings(record)
        if name in own:
            return own[name]
        if name in (added := self.first_values(record.stage)):
            return added[name]
        found = (self.value(one, name) for one in self.upstream(record))
        return next((value for value in found if value is not ABSENT), ABSENT)

    def first_values(self, stage: str) -> dict[str, Any]:
        """Give the settings that were added to a stage later: an address leaves one out while it has this value."""
        if stage not in self._first:
            added = defaults_table().get(stage, {}).get("added", {})
            self._first[stage] = {plain_name(name): value for name, value in added.items()}
        return self._first[stage]

    def names(self) -> set[str]:
        """List the names of all settings and labels."""
        found = {name for one in self.known.values() for name in self.own_settings(one)}
        found |= {axis for labels in self.labels.values() for axis in labels}
        found |= {name for one in self.known.values() for name in self.first_values(one.stage)}
        return found | ({"seed"} if OF_SEED in found else set())


def plain_name(path: str) -> str:
    """Write a hashed setting as people type it: ``model[mlp].width`` is ``model.width``."""
    return _MODEL.sub("model", path)


@collections_wait()
def choose(store: Store, target: Node | None = None, select: SelectConfig | None = None) -> Chosen:
    """Choose among the finished artifacts of a store.

    Parameters
    ----------
    store : Store
        The store; nothing in it is changed but its index.
    target : Node, optional
        A study's report, or one artifact: what it rests on and itself; without it, the whole store.
    select : SelectConfig, optional
        Stages, times and settings.

    Raises
    ------
    UserError
        If a time cannot be read, or a stage or setting does not occur.
    """
    select = select or SelectConfig()
    listing = Listing(store.root)
    if target is None:
        entries = [(stage, entry) for stage in listing.stages() for entry in listing.finished(stage)]
    else:
        places = [(node.stage.name, listing.place(*node.address).entry) for node in every_node(target)]
        entries = [(stage, entry) for stage, entry in places if entry is not None]
    found = records_of(store.root, entries, whole=target is None)
    labels = labels_of(target) if target is not None else {one.key: _recorded_labels(one) for one in found.values()}
    order = {name: place for place, name in enumerate(STAGES)}
    records = sorted(found.values(), key=lambda one: (order.get(one.stage, len(order)), one.stage, one.name))
    chosen = Chosen(records, {one.address: one for one in records}, labels)
    chosen.labels = with_upstream_labels(chosen)
    wanted = _Wanted.of(select, chosen)
    chosen.records = [one for one in records if _fits(one, chosen, wanted)]
    return chosen


def with_upstream_labels(chosen: Chosen) -> dict[str, Mapping[str, str]]:
    """Give each artifact the labels of what it rests on as well: what is made of one network is of that network's cell.

    A stage that a training asks for itself, such as snapshots, is told no labels of its own.
    """
    found: dict[str, Mapping[str, str]] = {}

    def of(record: Record) -> Mapping[str, str]:
        if record.key not in found:
            inherited: dict[str, str] = {}
            for upstream in chosen.upstream(record):
                inherited |= of(upstream)
            found[record.key] = inherited | dict(chosen.labels.get(record.key, {}))
        return found[record.key]

    for record in chosen.records:
        of(record)
    return {**chosen.labels, **found}


def _recorded_labels(record: Record) -> dict[str, str]:
    labels = record.provenance.get("labels")
    return {str(axis): str(label) for axis, label in labels.items()} if isinstance(labels, dict) else {}


@dataclass(frozen=True)
class _Wanted:
    """A selection after reading it."""

    stages: frozenset[str]
    since: float
    until: float
    where: tuple[tuple[str, Any], ...]

    @classmethod
    def of(cls, select: SelectConfig, chosen: Chosen) -> _Wanted:
        stages = {one.stage for one in chosen.records} | set(STAGES)
        for stage in select.stages:
            if stage not in stages:
                raise UserError(f"select.stages holds {stage!r}, and there is no such stage{_nearest(stage, stages)}.")
        since = -float("inf") if select.since is None else moment("select.since", select.since)
        until = float("inf") if select.until is None else moment("select.until", select.until, end=True)
        names = chosen.names() if select.where else set()
        for name in select.where:
            if name not in names:
                raise UserError(
                    f"select.where holds {name!r}, and no artifact here has a setting or label of that name"
                    f"{_nearest(name, names)}."
                )
        return cls(frozenset(select.stages), since, until, tuple(select.where.items()))


def _fits(record: Record, chosen: Chosen, wanted: _Wanted) -> bool:
    if wanted.stages and record.stage not in wanted.stages:
        return False
    if not wanted.since <= record.made <= wanted.until:
        return False
    return all(_equal(chosen.value(record, name), value) for name, value in wanted.where)


def _equal(found: Any, value: Any) -> bool:
    if found is ABSENT:
        return False
    if isinstance(value, list) and not isinstance(found, list):
        return any(_equal(found, one) for one in value)
    return bool(found == value) or str(found) == str(value)  # a label is a text: seed 3 is "3"


def _nearest(name: str, names: Sequence[str] | set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(names), n=3)
    return f"; there is {' and '.join(close)}" if close else ""


def moment(setting: str, text: str, *, end: bool = False) -> float:
    """Read a time: a day, a day and a time of day, or how long ago.

    Parameters
    ----------
    setting : str
        Its name, for the error.
    text : str
        What was written.
    end : bool
        Whether a day alone stands for its end.

    Returns
    -------
    float
        Seconds since 1970.

    Examples
    --------
    >>> moment("select.until", "2026-11-29T00:00+00:00"), moment("select.until", "2026-11-29 12:00Z")
    (1795910400.0, 1795953600.0)
    """
    now = datetime.datetime.now().astimezone()
    if ago := _AGO.fullmatch(text.strip()):
        return now.timestamp() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        read = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        raise UserError(
            f"{setting}={text} is no time: write a day such as {now:%Y-%m-%d}, a time such as "
            f"'{now:%Y-%m-%d} 14:30', or how long ago, such as 12h or 7d."
        ) from None
    if end and len(text.strip()) <= len("2026-11-29"):
        read += datetime.timedelta(days=1)
    return (read if read.tzinfo else read.astimezone()).timestamp()
