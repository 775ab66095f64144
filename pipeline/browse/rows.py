"""What the page has a row for: finished artifacts by the index, and those that are being made, failed or stopped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.run import SelectConfig
from pipeline.engine.artifacts import Store, lock_of
from pipeline.engine.attempt import RECORD as ATTEMPT
from pipeline.engine.graph import Node
from pipeline.engine.inventory.inline import SETTINGS
from pipeline.engine.inventory.layout import COMPLETE
from pipeline.engine.inventory.listing import Listing
from pipeline.engine.inventory.record import Record
from pipeline.engine.plan import every_node
from pipeline.engine.stages import STAGES
from pipeline.machine.owner_lock import current_owner
from pipeline.machine.progress import read_progress
from pipeline.machine.scratch import SCRATCH
from pipeline.machine.side_files import read_plain, read_record
from pipeline.results.chosen import Chosen, choose
from pipeline.shown_text import shown

DONE, RUNNING, FAILED, STOPPED = STATES = ("done", "running", "failed", "stopped")
_STUDY = re.compile(r"(?:^|\s)'?experiment=([\w.-]+)")
_NONE = "single"
"""Name that a run without an experiment has."""


@dataclass
class Rows:
    """Artifacts in the order of the page.

    Attributes
    ----------
    chosen : Chosen
        Their records, those of unfinished ones among them.
    states : list of str
        Of each record: done, running, failed or stopped.
    notes : dict of int to str
        By place: how far a running one is, why one failed.
    studies : list of list of str
        Names of the experiments that each belongs to.
    """

    chosen: Chosen
    states: list[str]
    notes: dict[int, str] = field(default_factory=dict)
    studies: list[list[str]] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """All of them."""
        return self.chosen.records


def rows_of(store: Store, target: Node | None = None, select: SelectConfig | None = None) -> Rows:
    """Look at a store, or at what one study needs of it.

    Parameters
    ----------
    store : Store
        Nothing in it is changed but its index.
    target : Node, optional
        A study's report.
    select : SelectConfig, optional
        Stages, times and settings; what it takes is finished.
    """
    chosen = choose(store, target, select)
    found = Rows(chosen, [DONE] * len(chosen.records))
    if select is None or select == SelectConfig():
        keys = None if target is None else {node.key for node in every_node(target)}
        labels = dict(chosen.labels)
        for record, own, state, note in _unfinished(store, keys):
            if note:
                found.notes[len(chosen.records)] = note
            chosen.records.append(record)
            found.states.append(state)
            labels.setdefault(record.key, own)
        chosen.labels = labels
        chosen.known = {**chosen.known, **{one.address: one for one in chosen.records}}
    found.studies = _studies(chosen)
    return found


def _unfinished(store: Store, keys: set[str] | None) -> Iterable[tuple[Record, dict[str, str], str, str]]:
    """Yield record, labels, state and note of each artifact under construction that is not there in an old version."""
    listing = Listing(store.root)
    order = {name: place for place, name in enumerate(STAGES)}
    for stage in sorted(listing.stages(), key=lambda name: (order.get(name, len(order)), name)):
        entries = list(listing.everything(stage))
        finished = {entry.name for entry in entries if COMPLETE.fullmatch(entry.name)}
        for entry in entries:
            name = entry.name.removesuffix(".partial")
            if name == entry.name or name in finished or not COMPLETE.fullmatch(name):
                continue
            if keys is not None and name[-12:] not in keys:
                continue
            yield _attempt(store, stage, Path(entry.path))


def _attempt(store: Store, stage: str, partial: Path) -> tuple[Record, dict[str, str], str, str]:
    folder = partial.with_name(partial.name.removesuffix(".partial"))
    begun = read_record(partial / SCRATCH / ATTEMPT) or {}
    try:
        settings, made = read_plain(partial / SETTINGS).decode("utf-8", "replace"), os.stat(partial).st_mtime
    except OSError:
        settings, made = "", 0.0
    failure, command = store.failure(folder), str(begun.get("command", ""))
    if current_owner(lock_of(folder)) is not None:
        state = RUNNING
    else:
        state = STOPPED if failure is None else FAILED
    progress = read_progress(partial / SCRATCH)
    note = "" if progress is None else str(progress["text"])
    if state == FAILED and failure is not None:
        note, command = (failure["error"].strip().splitlines() or [""])[-1], failure["command"]
    labels = begun.get("labels")
    record = Record(stage, folder.name, str(partial), made, provenance={"command": command}, settings_text=settings)
    own = {str(axis): str(label) for axis, label in labels.items()} if isinstance(labels, dict) else {}
    return record, own, state, shown(note)


def _studies(chosen: Chosen) -> list[list[str]]:
    """Name the experiments of each record: those of the reports that rest on it, and that of its own command."""
    named: dict[str, dict[str, None]] = {record.address: {} for record in chosen.known.values()}
    for record in chosen.known.values():
        study = _own_study(chosen, record)
        if not study:
            continue
        named[record.address][study] = None
        if record.stage not in STAGES or STAGES[record.stage].gathers is None:
            continue
        waiting, seen = list(_inputs(record.provenance)), {record.address}
        while waiting:
            address = waiting.pop()
            if address in seen or address not in chosen.known:
                continue
            seen.add(address)
            named[address][study] = None
            waiting += _inputs(chosen.known[address].provenance)
    return [list(named[record.address]) for record in chosen.records]


def _own_study(chosen: Chosen, record: Record) -> str:
    name = chosen.own_settings(record).get("experiment_name") if record.settings_text else None
    if isinstance(name, str):
        return "" if name == _NONE else name
    found = _STUDY.search(record.command)
    return found[1] if found else ""


def _inputs(provenance: Mapping[str, Any]) -> Iterable[str]:
    inputs = provenance.get("inputs")
    return inputs if isinstance(inputs, dict) else ()
