"""Make a node: upstream first, each artifact once; a gather may lack no more cells than ``allow_missing``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.engine.artifacts import METRICS, Artifact, Store, write_json
from pipeline.engine.build import Build, Gathered, construction
from pipeline.engine.graph import GatheredNode, Graph, Node
from pipeline.engine.launch import run_on_ranks, wants_ranks
from pipeline.engine.stages import STAGES, load_function
from pipeline.errors import CorruptArtifact, MissingUpstream, UserError
from pipeline.machine.progress import say
from pipeline.machine.threads import bound_threads
from pipeline.tracking.opening import stage_tracker

_KEY = re.compile(r"[0-9a-f]{12}")


def every_node(node: Node, seen: set[str] | None = None) -> Iterator[Node]:
    """Walk a node and everything upstream of it, upstream first, each once."""
    seen = set() if seen is None else seen
    if node.key in seen:
        return
    seen.add(node.key)
    for upstream in node.upstream():
        yield from every_node(upstream, seen)
    yield node


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
    rebuild : set of str
        Keys, or names of stages, whose artifacts are deleted and rebuilt once.
    """

    store: Store
    graph: Graph
    require: bool = False
    allow_missing: int = 0
    rebuild: set[str] = field(default_factory=set)
    _failures: dict[str, Exception] = field(default_factory=dict, repr=False)
    _count: int = field(default=0, repr=False)
    _total: int = field(default=0, repr=False)

    def folder(self, node: Node) -> Path:
        """Name the final folder of a node."""
        return self.store.folder(node.stage.name, node.slug, node.key)

    def pull(self, node: Node) -> Artifact:
        """Make a node and what it needs, after announcing it.

        Raises
        ------
        MissingUpstream
            With ``require``, when an upstream artifact is absent.
        UserError
            When the input is wrong; no half-written artifact has a final name.
        """
        self._discard(every_node(node))
        self._announce(node)
        return self.make(node)

    def _discard(self, nodes: Iterable[Node]) -> None:
        """Delete what is to be rebuilt; keys that match nothing are reported, since a sweep shares one command."""
        unknown = {word for word in self.rebuild if word not in STAGES and not _KEY.fullmatch(word)}
        if unknown:
            raise UserError(f"rebuild={sorted(unknown)}: neither keys (12 hexadecimal digits) nor stages.")
        found = set()
        for candidate in nodes:
            for word in self.rebuild & {candidate.key, candidate.stage.name}:
                self.store.discard(self.folder(candidate))
                found.add(word)
        for word in sorted(self.rebuild - found):
            say(f"rebuild: nothing of this run has the key or stage {word}")

    def _announce(self, node: Node) -> None:
        todo = [candidate for candidate in every_node(node) if not self.folder(candidate).is_dir()]
        self._total = len(todo)
        if not todo:
            say(f"{node.stage.name}: everything exists already")
            return
        stages = Counter(candidate.stage.name for candidate in todo)
        seconds = {name: self._typical_seconds(name) for name in stages}
        known = sum(count * (seconds[name] or 0.0) for name, count in stages.items())
        text = ", ".join(f"{count} {name}" for name, count in stages.items())
        unknown = [name for name, value in seconds.items() if value is None]
        estimate = (
            f"about {known:.0f} s judging by earlier artifacts" if known else "no earlier artifact to judge the time by"
        )
        if known and unknown:
            estimate += f", without {', '.join(unknown)}"
        say(f"to make: {text} ({estimate})")

    def _typical_seconds(self, stage: str) -> float | None:
        folder = self.store.root / stage
        if not folder.is_dir():
            return None
        recent = sorted((entry for entry in folder.iterdir() if entry.suffix == "" and entry.is_dir()), reverse=True)[
            :9
        ]
        times = [Artifact(entry).provenance.get("wall_seconds") for entry in recent]
        found = [value for value in times if value is not None]
        return sorted(found)[len(found) // 2] if found else None

    def make(self, node: Node) -> Artifact:
        """Return the finished artifact of a node, making it if needed."""
        if node.key in self._failures:
            raise self._failures[node.key]
        folder = self.folder(node)
        if folder.is_dir():
            return Artifact(folder, rebuild_hint=f"Command: {node.command} 'rebuild=[{node.key}]'")
        try:
            if node.stage.gathers is not None:
                return self._make_gather(node)
            inputs = {role: self._upstream(upstream) for role, upstream in node.inputs.items()}
            return self._run(node, inputs=inputs)
        except Exception as error:
            self._failures[node.key] = error
            raise

    def _upstream(self, node: Node) -> Artifact:
        # Rows are cheap and made once under the owner lock, even if many jobs of a sweep need them at once.
        if self.require and node.stage.name != "prepare" and not self.folder(node).is_dir():
            raise MissingUpstream(
                f"Upstream {node.stage.name} {node.slug}-{node.key} is missing and upstream=require. Make it with:\n"
                f"  {node.command}"
            )
        return self.make(node)

    def _make_gather(self, node: Node) -> Artifact:
        done: dict[str, list[tuple[GatheredNode, Artifact]]] = {}
        missing: dict[str, list[tuple[GatheredNode, Exception]]] = {}
        for name, group in node.members.items():
            for member in group:
                try:
                    done.setdefault(name, []).append((member, self._upstream(member.node)))
                except CorruptArtifact:
                    raise
                except Exception as error:
                    missing.setdefault(name, []).append((member, error))
                    say(f"  {name} {member.node.slug}-{member.node.key} is missing: {error}")
        labels = [f"{name} {_cell(member)}: {error}" for name, group in missing.items() for member, error in group]
        worst = max((len(group) for group in missing.values()), default=0)
        if worst > self.allow_missing:
            raise MissingUpstream(
                f"{node.stage.name} needs every cell, but up to {worst} cells of a stage are missing "
                f"(allow_missing={self.allow_missing}):\n{_by_error(missing)}\n"
                f"Make them (stage=status shows tracebacks), or gather without them: allow_missing={worst}."
            ) from next(iter(missing.values()))[0][1]
        if missing:
            kept = {name: [member for member, _ in group] for name, group in done.items()}
            node = self.graph.gather(node.stage, node.config, kept, node.overrides)
            if self.folder(node).is_dir():
                return Artifact(self.folder(node))
        members = {
            name: [Gathered(m.labels, m.node.config, artifact, m.node.portable_command) for m, artifact in group]
            for name, group in done.items()
        }
        return self._run(node, inputs={}, members=members, missing=labels)

    def _run(self, node: Node, **upstream: object) -> Artifact:
        self._count += 1
        say(f"[{self._count}/{max(self._total, self._count)}] {node.stage.name} {node.slug}-{node.key}")
        with construction(node, self.graph, self.store, **upstream) as build:
            if build is not None:
                self._call(build)
        return Artifact(self.folder(node))

    def _call(self, build: Build) -> None:
        if wants_ranks(build):
            write_json(build.folder / METRICS, run_on_ranks(build))
            return
        with bound_threads(build.node.threads), stage_tracker(build) as tracker:
            metrics = load_function(build.node.stage.function)(build)
            if build.missing:
                metrics = {**metrics, "missing_cells": build.missing}
            tracker.log(metrics)
        write_json(build.folder / METRICS, metrics)


def _cell(member: GatheredNode) -> str:
    labels = ", ".join(f"{axis} {label}" for axis, label in member.labels.items())
    return labels or member.node.slug


def _by_error(missing: dict[str, list[tuple[GatheredNode, Exception]]]) -> str:
    """List what is missing under each distinct error, so that each cause appears once."""
    causes: dict[str, list[str]] = {}
    for name, group in missing.items():
        for member, error in group:
            text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            causes.setdefault(text, []).append(f"{name} ({_cell(member)})")
    lines = []
    for text, places in causes.items():
        shown = "; ".join(places[:6]) + (f"; and {len(places) - 6} more" if len(places) > 6 else "")
        lines.append(f"  {text}\n    in {shown}")
    return "\n".join(lines)
