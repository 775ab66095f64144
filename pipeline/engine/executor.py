"""Make a node: upstream first, each artifact once; a gather may lack no more cells than ``allow_missing``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.engine.artifacts import METRICS, Artifact, Store, write_json
from pipeline.engine.build import Build, Gathered, construction
from pipeline.engine.graph import GatheredNode, Graph, Node, refuse_changed
from pipeline.engine.inventory.collections_wait import collections_wait
from pipeline.engine.inventory.index import WORTH, records_of
from pipeline.engine.inventory.listing import Listing
from pipeline.engine.launch import run_on_ranks, wants_ranks
from pipeline.engine.plan import Plan, announce, clear_after_kills, later_of, plan
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.schedule.estimates import Estimates, room_for
from pipeline.engine.schedule.events import Events, failure_table
from pipeline.engine.schedule.labels import cell_of, labels_of
from pipeline.engine.schedule.local_workers import LocalWorkers
from pipeline.engine.schedule.missing_cells import FAILED, named_cell, refuse_lack
from pipeline.engine.schedule.scheduler import Outcome, Schedule, run
from pipeline.engine.schedule.work import usual_seconds
from pipeline.engine.schedule.worker_process import Postponed, Request, can_fork, computes
from pipeline.engine.stages import load_function
from pipeline.errors import CorruptArtifact, MissingUpstream
from pipeline.machine.cores import gpu_groups
from pipeline.machine.progress import say
from pipeline.machine.threads import bound_threads
from pipeline.shown_text import cell_words
from pipeline.tracking.opening import stage_tracker

_COMPUTES = "pipeline.stages."
_LIBRARIES = ("torch", "pytorch_lightning")


@dataclass
class Puller:
    """Makes nodes in one store.

    Attributes
    ----------
    store : Store
        Where artifacts live.
    graph : Graph
        Resolves the nodes.
    require : bool
        Stop instead of making upstream artifacts, except prepared rows.
    allow_missing : int
        How many cells a gather may lack.
    rebuild : Rebuild
        What is to be made again although it exists.
    workers : int
        How many artifacts are made at the same time.
    """

    store: Store
    graph: Graph
    require: bool = False
    allow_missing: int = 0
    rebuild: Rebuild = field(default_factory=Rebuild)
    workers: int = 1
    _made: dict[str, Node] = field(default_factory=dict, repr=False)
    _failures: dict[str, Exception] = field(default_factory=dict, repr=False)
    _count: int = field(default=0, repr=False)
    _total: int = field(default=0, repr=False)
    _silent: bool = field(default=False, repr=False)
    _may_wait: bool = field(default=False, repr=False)
    _estimates: Estimates | None = field(default=None, repr=False)
    _labels: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    _later: dict[str, Any] = field(default_factory=dict, repr=False)
    _listed: Listing | None = field(default=None, repr=False)

    def folder(self, node: Node) -> Path:
        """Name the final folder of a node."""
        return self.store.folder(*node.address)

    def has(self, node: Node) -> bool:
        """Whether a node exists and need not be rebuilt."""
        return self.rebuild.has(node, self.folder(node))

    def keeps(self, node: Node) -> bool:
        """Whether a node that exists need not be rebuilt."""
        return not self.rebuild.covers(node) or self.has(node)

    def pull(self, node: Node) -> Artifact:
        """Make a node and what it needs, after announcing it.

        Raises
        ------
        MissingUpstream
            With ``require``, when an upstream artifact is absent or is to be rebuilt.
        UserError
            When the input is wrong; no half-written artifact has a final name.
        """
        listing = Listing(self.store.root)
        if self.rebuild.words:
            self._check_rebuild(node, listing)
            self.rebuild.open(self.store.root, node)
        if self.has(node):
            say(f"{node.stage.name}: checking {node.slug}-{node.key}")
            self._finished(node).verify()  # before it is said to exist
        found = plan(node, self.store, self.keeps, listing)
        estimates = self._estimates = Estimates(self.store, self.workers)
        announce(found, self.store, estimates, self.workers)
        clear_after_kills(found)
        self._total, self._labels, self._later = len(found.todo), labels_of(found.target), later_of(found.todo)
        # One artifact may make many others itself.
        several = len(found.todo) > 1 or any("train" in one.stage.makes for one in found.todo)
        if self.workers > 1 and several and not self.require:
            if not can_fork():
                say("this process may have computed with torch and cannot be forked: one artifact after another")
            else:
                self.make_together(found, estimates)
        self._listed = found.listing if len(found.todo) == 1 else None
        try:
            artifact = self.make(node)
        except Exception:
            self._say_failures(found)
            raise
        finally:
            self._listed = None
        self.rebuild.close()
        self._index(found)
        return artifact

    def _index(self, found: Plan) -> None:
        """Put what was made into the store's index, where it is much: the next look need not read all of it."""
        if len(found.todo) >= WORTH:
            listing = Listing(self.store.root)
            places = [(node.stage.name, listing.place(*node.address).entry) for node in found.todo]
            records_of(self.store.root, [(stage, entry) for stage, entry in places if entry is not None])

    def _check_rebuild(self, target: Node, listing: Listing) -> None:
        """Refuse a rebuild before anything is begun: words that match nothing, and what ``require`` forbids."""
        found = plan(target, self.store, self.keeps, listing)
        # Retrainings that a stage makes itself, and gathers without some cells, are known only when they are made.
        more = self.allow_missing > 0 or any("train" in node.stage.makes for node in found.todo)
        for word in self.rebuild.check([*found.todo, *found.kept, *found.gone], more):
            say(f"rebuild: nothing of this run has the key or stage {word}")
        refused = [node for node in found.again if node is not target and node.stage.name != "prepare"]
        if self.require and refused:
            commands = [f"  {node.command} 'rebuild=[{node.key}]'" for node in refused[:6]]
            raise MissingUpstream(
                f"rebuild= asks to make {len(refused)} upstream artifacts again, and upstream=require makes none here. "
                "Nothing was changed. Rebuild them first, then what rests on them:\n"
                + "\n".join(commands)
                + (f"\n  and {len(refused) - 6} more" if len(refused) > 6 else "")
            )

    def make(self, node: Node) -> Artifact:
        """Return the finished artifact of a node, making it if needed."""
        if node.key in self._failures:
            raise self._failures[node.key]
        folder = self.folder(node)
        if self.rebuild.has(node, folder):
            return self._finished(node, folder)
        try:
            if node.stage.gathers is not None:
                return self._make_gather(node)
            inputs = {role: self._upstream(upstream) for role, upstream in node.inputs.items()}
            return self._run(node, inputs=inputs)
        except Exception as error:
            self._failures[node.key] = error
            error.__dict__.setdefault(FAILED, node.key)  # the artifact that failed by itself, not what rests on it
            raise

    def make_together(self, found: Plan, estimates: Estimates) -> None:
        """Make what a target needs, and the target, on several worker processes."""
        by_key = {node.key: node for node in found.todo}

        def expected(node: Node) -> float | None:
            return estimates.of(node).seconds

        def make(key: str, request: Request | None, failures: Mapping[str, Exception], may_wait: bool) -> None:
            self._failures, self._made, self._silent, self._may_wait = dict(failures), {}, True, may_wait
            self.make(by_key[key] if request is None else self.graph.resolve(*request))

        def resolve(requests: Sequence[Request]) -> list[Node]:
            nodes = [
                one for request in requests for one in plan(self.graph.resolve(*request), self.store, self.keeps).todo
            ]
            return list({one.key: one for one in nodes}.values())

        def told(outcome: Outcome) -> None:
            if outcome.needs:
                events.added(outcome)
            else:
                if outcome.error is not None and outcome.tried:
                    outcome.error.__dict__.setdefault(FAILED, outcome.key)
                events.ended(outcome)
                if outcome.error is None and estimates.learn(schedule.node(outcome.key), outcome.seconds):
                    schedule.weigh_again()
                    workers.reorder()

        events = Events(list(found.todo), self._labels, self.store, expected, self.workers)
        schedule = Schedule(list(found.todo), lambda one: expected(one) or usual_seconds(one), self._failures)
        numerics = found.target.config.numerics
        gpus = gpu_groups(numerics.world_size) if numerics.device == "cuda" else ()
        alone = all("train" not in one.stage.makes for one in found.todo)
        workers = LocalWorkers(
            min(self.workers, len(found.todo)) if alone else self.workers,
            make,
            warm=lambda: _import_libraries(found.todo, events.prepares),
            heavy=_needs_libraries,
            said=events.said,
            begun=events.begun,
            resolve=resolve,
            urgency=schedule.urgency,
            fits=room_for(estimates),
            gpus=gpus,
        )
        with events.shown_live(), workers:
            run(schedule, workers, told, events.draw)

    def _say_failures(self, found: Plan) -> None:
        """Say at the end of a study what has failed by itself, where its log is, and the command that makes it."""
        if found.target.stage.gathers is None:
            return
        ended = [
            Outcome(node.key, error, tried=getattr(error, FAILED, node.key) == node.key)
            for node in found.todo
            if (error := self._failures.get(node.key)) is not None
        ]
        if lines := failure_table(found.todo, ended, self._labels, self.store):
            say("failed:\n" + "\n".join(lines))

    def _together(self, nodes: Sequence[Node]) -> None:
        """Let an artifact that needs others first wait until workers have made them; without workers do nothing."""
        absent = [node for node in nodes if not self.has(node)] if self._may_wait else []
        if absent:
            raise Postponed(absent)

    @collections_wait()
    def _listed_members(self, gather: Node) -> dict[str, Artifact]:
        """Give the members of a gather that are there, by key, without a look-up for each."""
        listing = self._listed or Listing(self.store.root)
        found = {}
        for one in [member.node for group in gather.members.values() for member in group]:
            entry = None if one.key in self._failures else listing.place(*one.address).entry
            if entry is not None and self.keeps(one):
                found[one.key] = self._finished(one, Path(entry.path))
        return found

    def _finished(self, node: Node, folder: Path | None = None) -> Artifact:
        return Artifact(folder or self.folder(node), lambda: f"Command: {node.command} 'rebuild=[{node.key}]'")

    def _upstream(self, node: Node) -> Artifact:
        # Rows are cheap and made once under the owner lock, even if many jobs of a sweep need them at once.
        if self.require and node.stage.name != "prepare" and not self.has(node):
            raise MissingUpstream(
                f"Upstream {node.stage.name} {node.slug}-{node.key} is missing and upstream=require. Make it with:\n"
                f"  {node.command}"
            )
        return self.make(node)

    def _make_gather(self, node: Node) -> Artifact:
        done: dict[str, list[tuple[GatheredNode, Artifact]]] = {}
        missing: dict[str, list[tuple[GatheredNode, Exception]]] = {}
        there, told = self._listed_members(node), set[str]()
        for name, group in node.members.items():
            for member in group:
                try:
                    artifact = there.get(member.node.key) or self._upstream(member.node)
                except CorruptArtifact:
                    raise
                except Exception as error:
                    missing.setdefault(name, []).append((member, error))
                    if not self._silent and str(error) not in told:  # what stops every seed is said once
                        say(f"  {name} {member.node.slug}-{member.node.key} is missing: {error}")
                    told.add(str(error))
                    continue
                # A gather upstream may itself have gone without some cells.
                if (made := self._made.get(member.node.key)) is not None:
                    member = replace(member, node=made)
                done.setdefault(name, []).append((member, artifact))
        refuse_lack(node, done, missing, self.allow_missing, self.require)
        absent = [
            f"{name} {named_cell(member)} ({member.node.key})" for name, group in missing.items() for member, _ in group
        ]
        further = [
            f"{name}: {one}" for name, group in done.items() for member, _ in group for one in member.node.missing
        ]
        if absent or further:
            kept = {name: [member for member, _ in group] for name, group in done.items()}
            fewer = self.graph.gather(node.stage, node.config, kept, node.overrides, [*absent, *further])
            self._made[node.key] = node = fewer
            if self.has(node):
                found = self._finished(node)
                found.verify()
                return found
        labels = [f"{name} {named_cell(member)}: {error}" for name, group in missing.items() for member, error in group]
        members = {
            name: [Gathered(m.labels, m.node.config, artifact, m.node.portably) for m, artifact in group]
            for name, group in done.items()
        }
        return self._run(node, inputs={}, members=members, missing=[*labels, *further])

    def _run(self, node: Node, **upstream: object) -> Artifact:
        self._count += 1
        if not self._silent:
            cell = cell_words(self._labels.get(node.key, {}))
            what = f"{node.stage.name} {node.slug}-{node.key}" + (f" ({cell})" if cell else "")
            say(f"[{self._count}/{max(self._total, self._count)}] {what}", time.strftime("%H:%M:%S "))
        expected = self._estimates.of(node).seconds if self._estimates is not None else None
        more: dict[str, Any] = {"labels": self._labels.get(node.key) or cell_of(node), "expected": expected, **upstream}
        more |= {"together": self._together, "later": self._later.get(node.key, [])}
        with construction(node, self.graph, self.store, rebuild=self.rebuild, **more) as build:
            if build is not None:
                self._call(build)
        return Artifact(self.folder(node))

    def _call(self, build: Build) -> None:
        computes()
        if wants_ranks(build):
            write_json(build.folder / METRICS, run_on_ranks(build))
            return
        with bound_threads(build.node.threads), stage_tracker(build) as tracker:
            metrics = load_function(build.node.stage.function)(build)
            if build.missing:
                metrics = {**metrics, "missing_cells": build.missing}
            tracker.log(metrics)
        refuse_changed(build.node, "while {} was made")
        write_json(build.folder / METRICS, metrics)


def _needs_libraries(node: Node) -> bool:
    return node.stage.function.startswith(_COMPUTES) and node.stage.name != "prepare"


def _import_libraries(nodes: Sequence[Node], prepares: Callable[[str], None]) -> bool:
    """Import what takes seconds; our own modules are left to the stages, whose records say what they have used."""
    if not any(map(_needs_libraries, nodes)):
        return False
    prepares("importing libraries, once for all workers")
    with bound_threads(nodes[-1].threads):
        for library in _LIBRARIES:
            with contextlib.suppress(ImportError):  # whoever needs it says so
                import_module(library)
    prepares("")
    return True
