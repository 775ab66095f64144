"""``stage=sync``: send what trackers missed while their services were away."""

from __future__ import annotations

from typing import Any

from pipeline.config.logging import TRACKERS
from pipeline.config.run import RunConfig
from pipeline.errors import UserError
from pipeline.machine.progress import say
from pipeline.tracking.journal import kept_journals
from pipeline.tracking.opening import tracker_class


def sync(graph: Any, store: Any, config: RunConfig) -> None:
    """Send the kept journals of a store to the tracker that ``logging`` names.

    Parameters
    ----------
    graph : Graph
        Not used: journals are found by their files.
    store : Store
        Where the artifacts are.
    config : RunConfig
        Its section ``logging``.

    Raises
    ------
    UserError
        If no tracker is chosen, or its service is still away; what was not sent is still kept.
    """
    journals = kept_journals(store.root)
    kind = tracker_class(config.logging.tracker)
    if kind is None:
        names = sorted({run.tracker for run in journals.values()}) or [
            name for name, place in TRACKERS.items() if place
        ]
        raise UserError(f"stage=sync needs the tracker that it sends to, such as logging={names[0]}.")
    others = sorted({run.tracker for run in journals.values()} - {config.logging.tracker})
    journals = {folder: run for folder, run in journals.items() if run.tracker == config.logging.tracker}
    for count, (folder, run) in enumerate(journals.items()):
        tracker = kind(run, config.logging, folder)
        tracker.finish(exit_code=0)
        if tracker.lost:
            left = len(journals) - count
            raise UserError(f"{tracker.service} does not take it yet; {left} of {len(journals)} runs are still kept.")
        say(f"sent to {tracker.service}: {run.stage} {run.slug}-{run.key}")
    say(f"done: {len(journals)} runs sent" if journals else f"{store.root} keeps nothing for {config.logging.tracker}.")
    for name in others:
        say(f"  runs for another tracker are kept too: stage=sync logging={name} sends them")
