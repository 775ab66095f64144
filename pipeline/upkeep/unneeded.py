"""Finished artifacts that no report of a store rests on and that no command finds any more, such as of former VERSIONs.

An artifact is kept where there is any doubt: where its command is not recorded or does not compose here, and where a
report of the store does not say what it rests on. A report itself is never among them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from pipeline.engine.artifacts import Artifact, Store, lock_of
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError
from pipeline.machine.owner_lock import current_owner, folder_in_use
from pipeline.machine.progress import track
from pipeline.upkeep.verify import finished_artifacts

ROOT = "report"
"""Stage whose artifacts people read: what they rest on is needed."""


def unneeded(store: Store) -> Iterator[tuple[Artifact, str]]:
    """Yield what nothing needs, each with the reason in a few words.

    Parameters
    ----------
    store : Store
        The store; nothing is changed.
    """
    artifacts = finished_artifacts(store)
    rested_on = _rested_on(artifacts)
    if rested_on is None:
        return
    loose = [one for one in artifacts if one.stage != ROOT and _name(one) not in rested_on and not _busy(one)]
    found: dict[str, tuple[Graph, object] | None] = {}
    for artifact in track(iter(loose), "gc", len(loose)):
        if (reason := _reason(artifact, found)) is not None:
            yield artifact, reason


def _name(artifact: Artifact) -> str:
    return f"{artifact.stage}/{artifact.folder.name}"


def _busy(artifact: Artifact) -> bool:
    return current_owner(lock_of(artifact.folder)) is not None or folder_in_use(artifact.folder)


def _rested_on(artifacts: Sequence[Artifact]) -> set[str] | None:
    """Names of everything that the reports rest on, directly or not; None where one of them does not say."""
    known = {_name(one): one for one in artifacts}
    waiting = [name for name, one in known.items() if one.stage == ROOT]
    found: set[str] = set()
    while waiting:
        inputs = known[waiting.pop()].provenance.get("inputs")
        if not isinstance(inputs, dict):
            return None
        new = inputs.keys() & known.keys() - found
        found |= new
        waiting += new
    return found


def _reason(artifact: Artifact, composed: dict[str, tuple[Graph, object] | None]) -> str | None:
    """Say why no command finds an artifact; None where one does, or where that cannot be told."""
    stage = STAGES.get(artifact.stage)
    if stage is None:
        return "there is no such stage any more"
    try:
        version = artifact.manifest.get("version")
    except UserError:  # damaged: stage=verify names it, with the command that makes it again
        return None
    if isinstance(version, int) and version != stage.version:
        return f"of VERSION {version} of its stage, now {stage.version}"
    words = shlex.split(artifact.command or "")[2:]
    if not words or any(word.startswith("allow_missing=") for word in words):
        return None
    chosen = tuple(word for word in words if not word.startswith("stage="))
    key = shlex.join(chosen)
    try:
        if key not in composed:
            composed[key] = None
            composed[key] = (Graph(chosen), compose_run(chosen))
        there = composed[key]
        if there is None:
            return None
        node = there[0].resolve(artifact.stage, there[1])  # type: ignore[arg-type]
    except (UserError, OSError):  # such as a data file that is elsewhere now
        return None
    return None if node.key == artifact.key else f"its command makes {node.slug}-{node.key} now"
