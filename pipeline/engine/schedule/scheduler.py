"""Make every artifact as soon as its inputs exist: what is ready, what a failure stops, when all is decided.

The scheduler knows no processes and no cluster. An executor does the work, through two methods: ``submit`` hands it
artifacts whose inputs exist, or will exist when others that it has are complete, and ``poll`` tells what has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.engine.graph import Node
from pipeline.errors import UserError


@dataclass(frozen=True)
class Outcome:
    """How the work on one artifact ended.

    Attributes
    ----------
    key : str
        Address of the artifact.
    error : Exception or None
        Why it could not be made; None if it is complete.
    seconds : float
        Time that it took.
    tried : bool
        False for what was given up because an input failed.
    needs : tuple of Node
        What its making has found out that it needs first; it is begun again when that is decided.
    """

    key: str
    error: Exception | None = None
    seconds: float = 0.0
    tried: bool = True
    needs: tuple[Node, ...] = ()


class Executor(Protocol):
    """Who makes artifacts, at the same time where possible."""

    def submit(self, nodes: Sequence[Node], failures: Mapping[str, Exception]) -> None:
        """Take artifacts to make, the most urgent first.

        Parameters
        ----------
        nodes : sequence of Node
            Every input of them is complete, or is among ``failures`` (a gather may go without some).
        failures : mapping of str to Exception
            Why inputs are absent, by key.
        """
        ...

    def poll(self) -> list[Outcome]:
        """Wait a moment, and return what has ended since the last call."""
        ...


@dataclass
class Schedule:
    """The artifacts of one command that are still to be made.

    Parameters
    ----------
    nodes : list of Node
        Upstream first; what is found out to be needed later is added.
    weigh : callable
        Expected seconds of an artifact, for what is begun first.
    """

    nodes: list[Node]
    weigh: Callable[[Node], float] = lambda node: 1.0
    failures: dict[str, Exception] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    given_up: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Count what each artifact waits for."""
        self._by_key = {node.key: node for node in self.nodes}
        self._waits: dict[str, int] = {}
        self._needed_by: dict[str, list[Node]] = {node.key: [] for node in self.nodes}
        for node in self.nodes:
            inputs = [upstream for upstream in node.upstream() if upstream.key in self._by_key]
            self._waits[node.key] = len(inputs)
            for upstream in inputs:
                self._needed_by[upstream.key].append(node)
        self._urgency: dict[str, float] = {}
        self.weigh_again()

    def node(self, key: str) -> Node:
        """Give the artifact of a key."""
        return self._by_key[key]

    def weigh_again(self) -> None:
        """Work out the urgencies, of which more is known when artifacts like some have been made."""
        self._urgency = self._longest_paths()

    def _longest_paths(self) -> dict[str, float]:
        """Give the expected seconds from the beginning of an artifact to the end of all that rests on it."""
        found: dict[str, float] = {}
        for node in reversed(self.nodes):
            # what was found out later stands behind what waits for it, whose former urgency counts
            needed_by = (later.key for later in self._needed_by[node.key])
            after = max((found[key] if key in found else self._urgency[key] for key in needed_by), default=0.0)
            found[node.key] = self.weigh(node) + after
        return found

    @property
    def open(self) -> int:
        """Number of artifacts that are neither complete nor given up."""
        return len(self.nodes) - len(self.done) - sum(key in self._by_key for key in self.failures)

    def urgency(self, node: Node) -> float:
        """Give the expected seconds from the beginning of an artifact to the end of all that rests on it."""
        return self._urgency[node.key]

    def ready(self) -> list[Node]:
        """Artifacts that nothing waits for at the beginning, the most urgent first."""
        return self._ordered([node for node in self.nodes if self._waits[node.key] == 0])

    def _ordered(self, nodes: Sequence[Node]) -> list[Node]:
        return sorted(nodes, key=lambda node: -self._urgency[node.key])

    def end(self, outcome: Outcome) -> list[Node]:
        """Note how an artifact ended; returns what can be begun now.

        What needs a failed artifact is given up with the same error, except gathers: they decide by themselves
        whether they may go without it.
        """
        if outcome.needs:
            return self._postpone(self._by_key[outcome.key], outcome.needs)
        ready: list[Node] = []
        ended = [outcome]
        while ended:
            one = ended.pop()
            self.given_up += [] if one.tried else [one]
            if one.error is None:
                self.done.add(one.key)
            else:
                self.failures[one.key] = one.error
            for later in self._needed_by[one.key]:
                self._waits[later.key] -= 1
                if one.error is not None and later.stage.gathers is None:
                    if later.key not in self.failures:
                        ended.append(Outcome(later.key, one.error, tried=False))
                elif self._waits[later.key] == 0 and later.key not in self.failures:
                    ready.append(later)
        return self._ordered(ready)

    def _postpone(self, node: Node, needs: Sequence[Node]) -> list[Node]:
        """Let an artifact wait for others; returns those of them that can be begun, or itself if nothing is open."""
        fresh = [one for one in needs if one.key not in self._by_key]
        for one in fresh:
            self._by_key[one.key] = one
            self._needed_by[one.key] = []
            self._urgency[one.key] = self.weigh(one) + self._urgency[node.key]
        self.nodes += fresh
        for one in fresh:
            inputs = [upstream for upstream in one.upstream() if self._is_open(upstream.key)]
            self._waits[one.key] = len(inputs)
            for upstream in inputs:
                self._needed_by[upstream.key].append(one)
        waited = [one for one in needs if self._is_open(one.key)]
        self._waits[node.key] = len(waited)
        for one in waited:
            self._needed_by[one.key].append(node)
        ready = [one for one in fresh if self._waits[one.key] == 0]
        return self._ordered(ready) if waited else [node]

    def _is_open(self, key: str) -> bool:
        return key in self._by_key and key not in self.done and key not in self.failures

    def inputs_absent(self, node: Node) -> dict[str, Exception]:
        """Say why inputs of an artifact are absent, also those of the gathers among its inputs, by key."""
        found: dict[str, Exception] = {}
        for upstream in node.upstream():
            if upstream.key in self.failures:
                found[upstream.key] = self.failures[upstream.key]
            if upstream.stage.gathers is not None:
                found |= self.inputs_absent(upstream)
        return found


def run(
    schedule: Schedule,
    executor: Executor,
    told: Callable[[Outcome], None] = lambda outcome: None,
    waiting: Callable[[], None] = lambda: None,
) -> None:
    """Make everything; ends when each artifact is complete or given up.

    Parameters
    ----------
    schedule : Schedule
        What to make.
    executor : Executor
        Who makes it.
    told : callable
        Called with each artifact that has ended.
    waiting : callable
        Called after each look at the executor.

    Raises
    ------
    UserError
        If the executor has nothing to do and something is left, which no order of events may lead to.
    """
    running: set[str] = set()

    def hand_over(nodes: Sequence[Node]) -> None:
        for node in nodes:
            running.add(node.key)
            executor.submit([node], schedule.inputs_absent(node))

    hand_over(schedule.ready())
    while schedule.open:
        if not running:
            raise UserError("Some artifacts wait for one another. Please report this with the command.")
        for outcome in executor.poll():
            running.discard(outcome.key)
            ready = schedule.end(outcome)
            told(outcome)
            while schedule.given_up:
                told(schedule.given_up.pop(0))
            hand_over(ready)
        waiting()
