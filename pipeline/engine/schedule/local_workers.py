"""Worker processes on this machine: each keeps torch imported and takes the next artifact whose inputs exist.

Workers are forked from a process that has computed nothing, so that they know every node. That process imports
libraries once for all of them, while the first artifact is made where that needs none. A worker that dies costs only
what it was making, which is tried once more.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import time
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from pipeline.engine.graph import Node
from pipeline.engine.schedule.scheduler import Outcome
from pipeline.engine.schedule.sent_errors import packed, unpacked
from pipeline.engine.schedule.worker_process import Make, Request, import_for_workers, serve
from pipeline.errors import UserError
from pipeline.machine.children import interrupts_wait
from pipeline.machine.memory_peak import out_of_memory_kills, peak_of

_TRIES = 2
_LOOKED_AT = 64
"""Artifacts in the queue that are asked whether they fit beside those that are being made."""
_PATIENCE = 4.0
"""Seconds that a worker has to leave in good order after an interrupt."""


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
    warm: bool
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
        Imports the libraries that artifacts need, and returns whether they need any. It is called once in this process,
        whose workers then have them. With ``gpus`` each worker imports them itself when it needs them, since its choice
        of a GPU must come first.
    heavy : callable
        Whether an artifact needs these libraries.
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
        warm: Callable[[], bool] = lambda: False,
        heavy: Callable[[Node], bool] = lambda node: True,
        resolve: Callable[[Sequence[Request]], list[Node]] = lambda requests: [],
        urgency: Callable[[Node], float] = lambda node: 0.0,
        fits: Callable[[Node, Sequence[Node]], bool] = lambda node, beside: True,
        gpus: Sequence[str] = (),
    ) -> None:
        self._count, self._make, self._said, self._begun, self._fits = count, make, said, begun, fits
        self._gpus, self._import, self._heavy, self._resolve, self._urgency = gpus, warm, heavy, resolve, urgency
        self._warm = False
        self._queue: list[_Job] = []
        self._requests: dict[str, Request] = {}
        self._asked: dict[str, set[str]] = {}
        self._inline: set[str] = set()
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> LocalWorkers:
        """Begin; workers are forked as they are needed."""
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

    def reorder(self) -> None:
        """Look at the urgency of what waits again: more is known of how long it will take."""
        for job in self._queue:
            job.urgency = -self._urgency(job.node)
        self._queue.sort(key=lambda job: job.urgency)

    def poll(self) -> list[Outcome]:
        """Hand out what fits, wait at most half a second, and return what has ended."""
        self._hand_out()
        if self.running and not self._warm:
            self._import_once()
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
            if self._heavy(job.node):
                self._import_once()
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

    def _import_once(self) -> None:
        """Import libraries for workers that are forked from now on, and which take the place of earlier ones."""
        if self._warm:
            return
        self._warm = True
        here = not self._gpus and import_for_workers(self._import)
        if not here:  # nothing to import, or each worker does it when it needs it
            for worker in self._workers.values():
                worker.warm = True
            return
        gc.freeze()  # a worker's collections would copy all of it
        for worker in [one for one in self._workers.values() if one.job is None]:
            self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> None:
        with contextlib.suppress(OSError):
            worker.orders.send(None)
        worker.process.join()
        self._read_lines(worker)
        del self._workers[worker.number]
        for end in (worker.orders, worker.lines):
            end.close()

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
            target=serve,
            args=(there, writing, self._make, gpu, self._count, share, [here, reading, *inherited]),
            daemon=False,
        )
        with interrupts_wait():
            process.start()
            self._workers[number] = _Worker(number, process, self._warm, here, reading)
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
        if self._warm and not worker.warm and worker.process.is_alive():
            self._dismiss(worker)
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
