"""Which artifacts a study has: as its settings plan them, or as a report or a whole store holds them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Artifact, Store
from pipeline.engine.cells import Cell
from pipeline.engine.graph import Graph, Node
from pipeline.engine.needs import IN_PLACE
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError

Labels = dict[str, str]


@dataclass(frozen=True)
class Entry:
    """One artifact of a study.

    Attributes
    ----------
    labels : dict of str to str
        What the cells that share it agree in.
    artifact : Artifact or None
        None where it is not finished.
    state, command : str
        done, running, failed, partial or missing; the command that makes it.
    """

    labels: Labels
    artifact: Artifact | None
    state: str
    command: str


class Entries(Protocol):
    """Where a study finds its artifacts."""

    cells: list[Labels]

    def of(self, stage: str, labels: Mapping[str, str]) -> list[Entry]:
        """Give the artifacts of a stage in the cells with these labels, each once."""
        ...

    def finished(self, stages: Sequence[str]) -> list[Entry]:
        """Give every finished artifact of the stages that a store has, also of those that no report wants."""
        ...


class PlannedEntries:
    """Artifacts of an experiment, by its settings: also those that are not made yet.

    Parameters
    ----------
    store : Store
        Where they lie.
    graph : Graph
        Of the experiment.
    config : RunConfig
        Its configuration.
    cells : sequence of Cell
        Its grid.
    """

    def __init__(self, store: Store, graph: Graph, config: RunConfig, cells: Sequence[Cell]) -> None:
        self.cells = [cell.labels for cell in cells]
        self._store, self._graph, self._config, self._grid = store, graph, config, cells
        self._lock = threading.Lock()

    def of(self, stage: str, labels: Mapping[str, str]) -> list[Entry]:
        """Give the artifacts of a stage in the cells with these labels, each once."""
        refuse_unknown_stage(stage)
        found: list[tuple[Labels, Node]]
        with self._lock:
            if STAGES[stage].gathers is not None:
                found = [({}, self._graph.resolve(stage, self._config))]
            else:
                chosen = [cell for cell in self._grid if fits(cell.labels, labels)]
                nodes = [(cell.labels, self._graph.resolve(stage, cell.config, cell.overrides)) for cell in chosen]
                by_key = {node.key: node for _, node in nodes}
                found = [
                    (agreed([one for one, node in nodes if node.key == key]), node) for key, node in by_key.items()
                ]
        entries = []
        for shared, node in found:
            folder = self._store.folder(*node.address)
            state = self._store.state(folder)
            entries.append(Entry(shared, Artifact(folder) if state == "done" else None, state, node.command))
        return entries

    def finished(self, stages: Sequence[str]) -> list[Entry]:
        """Give every finished artifact of the stages that a store has, also of those that no report wants."""
        found: list[Entry] = []
        for stage in stages:
            if stage in STAGES:
                with contextlib.suppress(UserError, TypeError):  # a stage that the study's network or data cannot have
                    found += [entry for entry in self.of(stage, {}) if entry.artifact is not None]
        return found


class StoredEntries:
    """Finished artifacts of a store, or those that one report rests on; what they are called is in their records.

    Parameters
    ----------
    artifacts : sequence of tuple of (Artifact, labels)
        In the order of their stages.
    """

    def __init__(self, artifacts: Sequence[tuple[Artifact, Labels]]) -> None:
        self._artifacts = artifacts
        seen = {tuple(labels.items()): labels for _, labels in artifacts if labels}
        self.cells = list(seen.values())

    def of(self, stage: str, labels: Mapping[str, str]) -> list[Entry]:
        """Give the artifacts of a stage in the cells with these labels, each once."""
        refuse_unknown_stage(stage)
        return [
            Entry(own, artifact, "done", artifact.command)
            for artifact, own in self._artifacts
            if artifact.stage in (stage, *IN_PLACE.get(stage, ())) and fits({**labels, **own}, labels)
        ]

    def finished(self, stages: Sequence[str]) -> list[Entry]:
        """Give every finished artifact of the stages that a store has."""
        return [entry for stage in stages if stage in STAGES for entry in self.of(stage, {})]


def refuse_unknown_stage(stage: str) -> None:
    """Refuse the name of a stage that does not exist."""
    if stage not in STAGES:
        raise UserError(f"There is no stage {stage!r}. Stages: {', '.join(STAGES)}.")


def fits(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a cell has the wanted labels."""
    return all(labels.get(name) == value for name, value in wanted.items())


def agreed(cells: Sequence[Labels]) -> Labels:
    """Labels in which all cells agree."""
    return {name: value for name, value in cells[0].items() if all(cell.get(name) == value for cell in cells)}
