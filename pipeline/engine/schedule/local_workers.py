"""Worker processes on this machine: each keeps torch imported and takes the next artifact whose inputs exist.

Workers are forked from a process that has computed nothing, so that they know every node and pay for imports once. A
worker that dies costs only what it was making, which is tried once more.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from bisect import insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from kernels.machine.memory import share_memory
from pipeline.config.run import RunConfig
from pipeline.engine.graph import Node
from pipeline.engine.schedule.scheduler import Outcome
from pipeline.engine.schedule.sent_errors import packed, unpacked
from pipeline.engine.schedule.work import TOGETHER
from pipeline.errors import TakenUpLater, UserError
from pipeline.machine.children import ends_with_parent, interrupts_wait
from pipeline.machine.memory_peak import out_of_memory_kills, peak_of

Request = tuple[str, RunConfig, tuple[str, ...]]
"""Stage, configuration and overrides of an artifact: from them another process resolves the same node."""
Make = Callable[[str, "Request | None", Mapping[str, Exception], bool], None]
_TRIES = 2
_IDLE = 0.3
"""Seconds without an order after which a new worker imports libraries."""
_LOOKED_AT = 64
"""Artifacts in the queue that are asked whether they fit beside those that are being made."""
_PATIENCE = 4.0
"""Seconds that a worker has to leave in good order after an interrupt."""


class Postponed(TakenUpLater):
    """Raised where an artifact is made that needs others first, which other workers could make at the same time."""

    def __init__(self, needs: Sequence[Node]) -> None:
        super().__init__(f"waits for {len(needs)} artifacts")
        self.needs = needs


@dataclass(eq=False)
class _Job:
    node: Node
    failures: Mapping[str, Exception]
    urgency: float = 0.0
    tries: int = 0
    alone: bool = False


@dataclass(eq=False)
class _Worker:
    number: int
    process: Any
    orders: Connection
    lines: Connection
    job: _Job | None = None
    since: float = 0.0
    peak: int = 0
    rest: bytes = b""
    kills: int = field(default_factory=out_of_memory_kills)


class LocalWorkers:
    """Executor on this machine; a context manager, which ends its processes.

    Parameters
    ----------
    count : int
        Processes.
    make : callable
        Makes the artifact of a key in a worker, given its request where it was not planned, why inputs are absent,
        and whether it may be postponed.
    warm : callable
        Called in a worker that has nothing to do at first: it imports what it will need.
    resolve : callable
        Nodes of requests, with what they need in turn, upstream first.
    urgency : callable
        What is begun first: the larger number.
    said : callable
        Called with an artifact's node and a line that its worker printed.
    begun : callable
        Called when an artifact is begun, and with True when it is begun again because its worker died.
    fits : callable
        Whether an artifact can be begun beside those that are being made, judged by memory.
    gpus : sequence of str
        Devices, or groups of them; worker i sees only the one at i modulo their number.
    """

    def __init__(
        self,
        count: int,
        make: Make,
        *,
        said: Callable[[Node, str], None],
        begun: Callable[[Node, bool], None],
        warm: Callable[[], None] = lambda: None,
        resolve: Callable[[Sequence[Request]], list[Node]] = lambda requests: [],
        urgency: Callable[[Node], float] = lambda node: 0.0,
        fits: Callable[[Node, Sequence[Node]], bool] = lambda node, beside: True,
        gpus: Sequence[str] = (),
    ) -> None:
        self._count, self._make, self._said, self._begun, self._fits = count, make, said, begun, fits
        self._gpus, self._warm, self._resolve, self._urgency = gpus, warm, resolve, urgency
        self._queue: list[_Job] = []
        self._requests: dict[str, Request] = {}
        self._asked: dict[str, set[str]] = {}
        self._inline: set[str] = set()
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> LocalWorkers:
        """Fork the workers, which import libraries while the first artifacts are made."""
        for _ in range(self._count):
            self._fork()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """End the workers: at once those that have nothing to do, in good order the others."""
        self._leave(in_order=error is None)

    @property
    def running(self) -> list[Node]:
        """What is being made now."""
        return [worker.job.node for worker in self._workers.values() if worker.job is not None]

    def submit(self, nodes: Sequence[Node], failures: Mapping[str, Exception]) -> None:
        """Put artifacts into the queue; see :class:`pipeline.engine.schedule.scheduler.Executor`."""
        for node in nodes:
            insort(self._queue, _Job(node, failures, -self._urgency(node)), key=lambda job: job.urgency)

    def poll(self) -> list[Outcome]:
        """Hand out what fits, wait at most half a second, and return what has ended."""
        self._hand_out()
        ended: list[Outcome] = []
        sources: dict[Any, tuple[str, _Worker]] = {}
        for worker in self._workers.values():
            sources[worker.lines] = ("line", worker)
            sources[worker.orders] = ("order", worker)
            sources[worker.process.sentinel] = ("end", worker)
            worker.peak = max(worker.peak, peak_of(worker.process.pid))
        events = [sources[source] for source in wait(list(sources), timeout=0.5)]
        # What a worker printed comes first, then what it answered, then its end: each may hold the one before.
        for kind, worker in sorted(events, key=lambda event: ("line", "order", "end").index(event[0])):
            if kind == "line":
                self._read_lines(worker)
            elif kind == "order":
                ended += self._read_answer(worker)
            elif worker.number in self._workers:
                ended += self._bury(worker)
        return ended

    def _hand_out(self) -> None:
        for job in self._queue[: self._count + _LOOKED_AT]:
            beside = self.running
            if len(beside) >= self._count or (beside and job.alone) or self._keeps_to_itself():
                return
            if beside and not self._fits(job.node, beside):
                continue
            worker = self._idle() or self._fork()
            try:
                key = job.node.key
                failures = {absent: packed(error) for absent, error in job.failures.items()}
                worker.orders.send((key, self._requests.get(key), failures, key not in self._inline))
            except OSError:  # it died while it had nothing to do
                continue
            self._queue.remove(job)
            worker.job, worker.since, worker.peak, worker.kills = job, time.monotonic(), 0, out_of_memory_kills()
            job.tries += 1
            self._begun(job.node, job.tries > 1)

    def _keeps_to_itself(self) -> bool:
        return any(worker.job is not None and worker.job.alone for worker in self._workers.values())

    def _idle(self) -> _Worker | None:
        return next((worker for worker in self._workers.values() if worker.job is None), None)

    def _fork(self) -> _Worker:
        number = next(i for i in range(self._count) if i not in self._workers)
        here, there = multiprocessing.Pipe()
        reading, writing = multiprocessing.Pipe(duplex=False)
        inherited = [end for worker in self._workers.values() for end in (worker.orders, worker.lines)]
        gpu = self._gpus[number % len(self._gpus)] if self._gpus else None
        share = -(-self._count // max(1, len(self._gpus)))
        process = multiprocessing.get_context("fork").Process(
            target=_serve,
            args=(there, writing, self._make, self._warm, gpu, self._count, share, [here, reading, *inherited]),
            daemon=False,
        )
        with interrupts_wait():
            process.start()
            self._workers[number] = _Worker(number, process, here, reading)
        there.close()
        writing.close()
        os.set_blocking(reading.fileno(), False)
        return self._workers[number]

    def _read_lines(self, worker: _Worker) -> None:
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(worker.lines.fileno(), 1 << 16):
                worker.rest += chunk
        *lines, worker.rest = worker.rest.split(b"\n")
        for line in lines:
            if worker.job is not None and line.strip():
                self._said(worker.job.node, line.decode("utf-8", "replace").rpartition("\r")[2])

    def _read_answer(self, worker: _Worker) -> list[Outcome]:
        try:
            chain, requests = worker.orders.recv()
        except (EOFError, OSError):
            return []
        error = unpacked(chain)
        self._read_lines(worker)
        job, worker.job = worker.job, None
        assert job is not None
        if requests:
            return [Outcome(job.node.key, needs=self._needed(job.node, requests))]
        return [Outcome(job.node.key, error, time.monotonic() - worker.since)]

    def _needed(self, node: Node, requests: Sequence[Request]) -> tuple[Node, ...]:
        nodes = self._resolve(requests)
        for one in nodes:
            self._requests[one.key] = (one.stage.name, one.config, one.overrides)
        asked = self._asked.setdefault(node.key, set())
        if asked.issuperset(one.key for one in nodes):  # it has waited for them: now it makes what is still absent
            self._inline.add(node.key)
        asked |= {one.key for one in nodes}
        return tuple(nodes)

    def _bury(self, worker: _Worker) -> list[Outcome]:
        """Take what a dead worker was making back, or give it up at its second death."""
        answered = self._read_answer(worker) if worker.orders.poll() else []
        self._read_lines(worker)
        worker.process.join()
        del self._workers[worker.number]
        for end in (worker.orders, worker.lines):
            end.close()
        job = worker.job
        if job is None:
            return answered
        words = _how_it_died(worker, job.alone)
        job.alone = _wanted_memory(worker)
        if job.tries < _TRIES:
            self._said(job.node, f"{words} It is begun once more{', with nothing beside it' if job.alone else ''}.")
            self._queue.insert(0, job)
            return []
        return [Outcome(job.node.key, UserError(words + " It was tried twice."), time.monotonic() - worker.since)]

    def _leave(self, in_order: bool) -> None:
        for worker in self._workers.values():
            with contextlib.suppress(OSError):
                worker.orders.send(None)
            if worker.job is not None and not in_order:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGINT)
        end = time.monotonic() + _PATIENCE
        for worker in self._workers.values():
            while worker.process.is_alive() and time.monotonic() < end:
                self._read_lines(worker)  # a full pipe would keep it from ending
                worker.process.join(0.05)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            self._read_lines(worker)
        self._workers.clear()


def _wanted_memory(worker: _Worker) -> bool:
    return worker.process.exitcode == -signal.SIGKILL and out_of_memory_kills() > worker.kills


def _how_it_died(worker: _Worker, alone: bool) -> str:
    code = worker.process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    peak = f"its memory had grown to {worker.peak / 2**30:.1f} GiB"
    if _wanted_memory(worker):
        fewer, smaller = (
            "Fewer at a time need less: workers=1.",
            "A smaller training.batch_size or kernel.memory helps.",
        )
        return (
            f"The machine ran out of memory and ended the process that made this: {peak}. {smaller if alone else fewer}"
        )
    return f"The process that made this was ended from outside ({how}; {peak})."


def _serve(
    orders: Connection,
    lines: Connection,
    make: Make,
    warm: Callable[[], None],
    gpu: str | None,
    count: int,
    share: int,
    others: Sequence[Connection],
) -> None:
    """Be a worker: make one artifact after another until told to leave."""
    ends_with_parent(signal.SIGKILL)()
    for end in others:  # a worker that kept the other ends open would never see that its partner is gone
        end.close()
    os.setpgid(0, 0)  # an interrupt from the keyboard is the main process's to pass on
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # a preemption, which the main process of a job answers
    os.environ[TOGETHER] = str(count)
    share_memory(share)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    for stream in (1, 2):
        os.dup2(lines.fileno(), stream)
    root = logging.getLogger()  # the main process keeps the log, and writes there what this one prints
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, logging.FileHandler)]
    with contextlib.suppress(KeyboardInterrupt, SystemExit, EOFError, OSError):
        if not orders.poll(_IDLE):
            warm()
        for key, request, failures, may_wait in _orders(orders):
            error: Exception | None = None
            requests: list[Request] = []
            absent = {absent: found for absent, chain in failures.items() if (found := unpacked(chain))}
            try:
                make(key, request, absent, may_wait)
            except Postponed as waits:
                requests = [(one.stage.name, one.config, one.overrides) for one in waits.needs]
            except Exception as raised:
                error = raised
            sys.stdout.flush()
            sys.stderr.flush()
            orders.send((packed(error), requests))
    os._exit(0)


def _orders(orders: Connection) -> Iterator[tuple[str, Request | None, Mapping[str, list[Exception]], bool]]:
    while (order := orders.recv()) is not None:
        yield order
