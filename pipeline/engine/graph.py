"""From a configuration to the artifacts that it needs: nodes with addresses, before anything is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.engine.cells import Cell, compose_run, expand, overrides_between
from pipeline.engine.composition.command_words import is_search_path, shell_word
from pipeline.engine.inventory.collections_wait import collections_wait
from pipeline.engine.keys import Hashed, digest, hashed_sections
from pipeline.engine.slugs import own_words, slug_of
from pipeline.engine.stages import COMMANDS, STAGES, Stage, load_function
from pipeline.errors import UserError
from pipeline.shown_text import masked_overrides, visible


@dataclass(frozen=True)
class GatheredNode:
    """One upstream artifact of a gather, with the labels that all of its cells share."""

    labels: dict[str, str]
    node: Node


@dataclass(frozen=True)
class Node:
    """One artifact: what it depends on and its address.

    Attributes
    ----------
    stage : Stage
        Row of the stage table.
    config : RunConfig
        Configuration of the run.
    key : str
        Address.
    slug : str
        Readable part of the folder's name, a function of hashed content only.
    inputs : dict of str to Node
        Upstream artifacts by role.
    members : dict of str to list of GatheredNode
        Upstream artifacts of a gather by stage.
    overrides : tuple of str
        Overrides that make this node's configuration.
    sections : dict
        Hashed fields, written to ``config.yaml``.
    missing : tuple of str
        Cells that a gather goes without; part of its address.
    """

    stage: Stage
    config: RunConfig = field(repr=False)
    key: str
    slug: str
    inputs: dict[str, Node] = field(repr=False)
    members: dict[str, list[GatheredNode]] = field(repr=False)
    overrides: tuple[str, ...] = field(repr=False)
    sections: dict[str, Any] = field(repr=False)
    missing: tuple[str, ...] = ()

    @property
    def address(self) -> tuple[str, str, str]:
        """Stage, slug and key, which name the folder in a store."""
        return self.stage.name, self.slug, self.key

    @property
    def command(self) -> str:
        """Shell command that makes this artifact; a password in it is replaced by ``***``."""
        return self._command(self.overrides)

    def portably(self) -> str:
        """Give the command without this machine's folders and trackers, so that payloads of equal runs are equal."""
        return self._command(word for word in self.overrides if not word.startswith(("paths.", "logging")))

    def _command(self, overrides: Iterable[str]) -> str:
        words = ["python", "run.py", *overrides, f"stage={self.stage.name}"]
        if self.missing:  # without the permission, the command would ask for every cell
            words.append(f"allow_missing={len(self.missing)}")
        return visible(" ".join(map(shell_word, masked_overrides(words))))

    @property
    def sync_command(self) -> str:
        """Shell command that sends what trackers missed in this store."""
        needed = ("paths.store=", "logging", "--config-")
        local = tuple(word for word in self.overrides if word.startswith(needed) or is_search_path(word))
        words = ["python", "run.py", "stage=sync", *map(shell_word, masked_overrides(local))]
        return visible(" ".join(words))

    @property
    def threads(self) -> int:
        """Threads that its stage computes with: ``numerics.threads`` where its address holds them, else one."""
        return self.config.numerics.threads if self._holds_threads() else 1

    def _holds_threads(self) -> bool:
        return "numerics.threads" in self.sections or any(node._holds_threads() for node in self.inputs.values())

    def upstream(self) -> list[Node]:
        """All direct upstream nodes, each once."""
        nodes = [*self.inputs.values(), *(m.node for group in self.members.values() for m in group)]
        return list({node.key: node for node in nodes}.values())


def without_stage(overrides: Sequence[str]) -> tuple[str, ...]:
    """Drop overrides that choose what to do rather than what a run is."""
    dropped = (
        "stage=",
        "rebuild=",
        "upstream=",
        "allow_missing=",
        "gc_delete=",
        "gc_finished=",
        "watch=",
        "serve=",
        "out=",
        "select.",
        "workers=",
        "hydra.",
        "hydra/",
        "hardware",
    )
    return tuple(item for item in overrides if is_search_path(item) or not item.lstrip("+").startswith(dropped))


class Graph:
    """Resolve nodes, each once.

    Parameters
    ----------
    overrides : sequence of str
        The command's overrides; cells are composed on top of them.
    compose : callable
        From overrides to a configuration (Hydra's compose).
    cells : list of Cell, optional
        Cells of the experiment, where another process has composed them.
    """

    def __init__(
        self,
        overrides: Sequence[str] = (),
        compose: Callable[[tuple[str, ...]], RunConfig] = compose_run,
        cells: list[Cell] | None = None,
    ) -> None:
        self.overrides = without_stage(overrides)
        self._compose = compose
        self._cells = cells
        self._identities: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._identity_of: dict[str, Any] = {}
        self._hashed: Hashed = {}
        self._words: dict[str, dict[str, str]] = {}
        # The configuration is kept with its node: as long as it exists, no other object can have its id.
        self._resolved: dict[tuple[str, int, tuple[str, ...]], tuple[RunConfig, Node]] = {}

    def compose(self) -> RunConfig:
        """Compose the configuration of the command itself."""
        return self._compose(self.overrides)

    def cells(self, config: RunConfig) -> list[Cell]:
        """Cells of the experiment, composed once."""
        if self._cells is None:
            self._cells = expand(config, self.overrides, self._compose)
        return self._cells

    def resolve(self, stage_name: str, config: RunConfig, overrides: Sequence[str] | None = None) -> Node:
        """Give the node of one stage under one configuration.

        Raises
        ------
        UserError
            If there is no such stage.
        """
        stage = STAGES.get(stage_name)
        if stage is None:
            raise UserError(f"There is no stage {stage_name!r}. Stages: {', '.join([*STAGES, *COMMANDS])}.")
        if stage.instead is not None:
            stage = STAGES[stage.instead(config)]
        config = stage.shared(config)
        chosen = self.overrides if overrides is None else tuple(overrides)
        if stage.gathers is not None:
            return self.gather(stage, config, self.members(stage, config), chosen)
        known = (stage.name, id(config), chosen)
        if known not in self._resolved:
            inputs = {
                role: self.resolve(upstream, changed, (*chosen, *overrides_between(config, changed)))
                for role, (upstream, changed) in stage.needs(config).items()
            }
            self._resolved[known] = (config, self._node(stage, config, chosen, inputs, {}))
        return self._resolved[known][1]

    @collections_wait()
    def members(self, stage: Stage, config: RunConfig) -> dict[str, list[GatheredNode]]:
        """Members of a gather: the wanted stages over all cells, equal artifacts once."""
        assert stage.gathers is not None
        members: dict[str, list[GatheredNode]] = {}
        for wanted in stage.gathers(config):
            if STAGES.get(wanted) is not None and STAGES[wanted].gathers is not None:
                members[wanted] = [GatheredNode({}, self.resolve(wanted, config))]
                continue
            by_key: dict[str, list[tuple[Cell, Node]]] = {}
            for cell in self.cells(config):
                node = self.resolve(wanted, cell.config, cell.overrides)
                by_key.setdefault(node.key, []).append((cell, node))
            members[wanted] = [
                GatheredNode(_shared_labels([cell for cell, _ in group]), group[0][1]) for group in by_key.values()
            ]
        return members

    def gather(
        self,
        stage: Stage,
        config: RunConfig,
        members: dict[str, list[GatheredNode]],
        overrides: tuple[str, ...],
        missing: Sequence[str] = (),
    ) -> Node:
        """Give the node of a gather over the members that exist; which ones are missing is part of its address."""
        return self._node(stage, config, overrides, {}, members, tuple(missing))

    def _node(
        self,
        stage: Stage,
        config: RunConfig,
        overrides: tuple[str, ...],
        inputs: dict[str, Node],
        members: dict[str, list[GatheredNode]],
        missing: tuple[str, ...] = (),
    ) -> Node:
        sections = hashed_sections(stage.name, stage.version, config, stage.sections, self._hashed)
        material: dict[str, Any] = {
            "stage": stage.name,
            "version": stage.version,
            "sections": sections,
            "inputs": {role: node.key for role, node in inputs.items()},
            "members": {
                name: [[member.labels, member.node.key] for member in group] for name, group in members.items()
            },
        }
        if missing:
            material["missing"] = list(missing)
        if stage.identity is not None:
            material["identity"] = self._identity(stage.identity, config)
        key = digest(material)
        # Its own words come last, so that they win where an input is another network.
        upstream = [self._words.get(node.key, {}) for node in reversed(inputs.values())]
        self._words[key] = {path: word for found in upstream for path, word in found.items()}
        self._words[key] |= own_words(stage.name, sections)
        slug = slug_of(config, stage.gathers is not None, stage.name, self._words[key])
        return Node(stage, config, key, slug, inputs, members, overrides, sections, missing)

    def _identity(self, spec: str, config: RunConfig) -> Any:
        memo = (spec, id(config.data))
        if memo not in self._identities:
            alike = f"{spec}:{dataclasses.astuple(config.data)}"
            if alike not in self._identity_of:
                self._identity_of[alike] = load_function(spec)(config.data)
            self._identities[memo] = (config.data, self._identity_of[alike])
        return self._identities[memo][1]


def _shared_labels(cells: list[Cell]) -> dict[str, str]:
    first, *rest = cells
    return {axis: label for axis, label in first.labels.items() if all(cell.labels.get(axis) == label for cell in rest)}


def refuse_changed(node: Node, when: str) -> None:
    """Refuse to make or finish an artifact whose address holds other code or files than there are now.

    Parameters
    ----------
    node : Node
        The artifact.
    when : str
        When they may have been changed, with braces for the artifact's name.

    Raises
    ------
    UserError
        If something is not what it was.
    """
    for one in (node, *node.inputs.values()):
        now = hashed_sections(one.stage.name, one.stage.version, one.config, one.stage.sections)
        changed = [path for path, value in now.items() if one.sections.get(path) != value]
        if changed:
            raise UserError(
                f"What {changed[0]} names was changed {when.format(f'{node.stage.name} {node.slug}')}, and its address "
                "is that of what it was before. Run the same command again."
            )
