"""Finished artifacts that no report of a store rests on and that no command finds any more, such as of former VERSIONs.

An artifact is kept where there is any doubt: where its command is not recorded or does not compose here, and where a
report of the store does not say what it rests on. A report itself is never among them.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store, lock_of
from pipeline.engine.cells import compose_run, with_seed
from pipeline.engine.graph import Graph
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError
from pipeline.machine.owner_lock import current_owner, folder_in_use
from pipeline.machine.progress import track
from pipeline.upkeep.verify import finished_artifacts

Composed = dict[tuple[str, ...], tuple[Graph, RunConfig] | None]
"""Graph and configuration by the words of a command; None where they do not compose."""
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
    found: Composed = {}
    for artifact in track(iter(loose), "gc", len(loose)):
        if (reason := _reason(artifact, found)) is not None:
            yield artifact, reason


def thinned(store: Store, stages: Sequence[str]) -> Iterator[tuple[Artifact, str]]:
    """Yield artifacts of some stages that have served: finished ones rest on them, and none is being made of them.

    Kernels of 10,000 points take half a gigabyte each, and nobody reads them once surrogates and attributions are made.
    Whatever rests on them stays as it is; a later command that needs one makes it again, with the same bytes.

    Parameters
    ----------
    store : Store
        The store; nothing is changed.
    stages : sequence of str
        Names of stages.

    Raises
    ------
    UserError
        While a process makes something in the store, since it may read them.
    """
    artifacts = finished_artifacts(store)
    if any(current_owner(path) is not None for path in store.root.glob("*/*/*.lock")):
        raise UserError(
            f"A process is at work in {store.root} and may read what gc_thin={list(stages)} lists. Nothing "
            "of them was deleted; run the same command when it has ended."
        )
    used = Counter(name for one in artifacts for name in one.provenance.get("inputs") or ())
    for artifact in artifacts:
        if artifact.stage in stages and (count := used[_name(artifact)]):
            others = "1 finished artifact rests on it and stays"
            yield artifact, others if count == 1 else f"{count} finished artifacts rest on it and stay"


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


def _reason(artifact: Artifact, composed: Composed) -> str | None:
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
    try:
        there = _of_its_seed(chosen, composed) if stage.gathers is None else _compose(chosen, composed)
        if there is None:
            return None
        node = there[0].resolve(artifact.stage, there[1])
    except (UserError, OSError):  # such as a data file that is elsewhere now
        return None
    return None if node.key == artifact.key else f"its command makes {node.slug}-{node.key} now"


def _of_its_seed(words: tuple[str, ...], composed: Composed) -> tuple[Graph, RunConfig] | None:
    """Compose once for all seeds: thousands of artifacts often differ in nothing else."""
    seeds = [word.removeprefix("seed=") for word in words if word.startswith("seed=")]
    if len(seeds) == 1 and seeds[0].isdecimal():
        there = _compose(tuple(word for word in words if not word.startswith("seed=")), composed)
        if there is not None and not there[1].interpolates_seed:
            return there[0], with_seed(there[1], int(seeds[0]))
    return _compose(words, composed)


def _compose(words: tuple[str, ...], composed: Composed) -> tuple[Graph, RunConfig] | None:
    if words not in composed:
        composed[words] = None
        composed[words] = (Graph(words), compose_run(words))
    return composed[words]
