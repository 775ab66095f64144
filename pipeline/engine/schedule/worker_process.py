"""What a worker process does: make one artifact after another until it is told to leave."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection

from kernels.machine.memory import share_memory
from pipeline.config.run import RunConfig
from pipeline.engine.graph import Node
from pipeline.engine.schedule.sent_errors import packed, unpacked
from pipeline.engine.schedule.work import TOGETHER
from pipeline.errors import TakenUpLater
from pipeline.machine.children import ends_with_parent

Request = tuple[str, RunConfig, tuple[str, ...]]
"""Stage, configuration and overrides of an artifact: from them another process resolves the same node."""
Make = Callable[[str, "Request | None", Mapping[str, Exception], bool], None]


_imported_here = False


def import_for_workers(libraries: Callable[[], bool]) -> bool:
    """Import libraries into this process for those that are forked from it; nothing is computed with them."""
    global _imported_here
    _imported_here = can_fork()
    return libraries()


def computes() -> None:
    """Note that this process is about to compute."""
    global _imported_here
    _imported_here = False


def can_fork() -> bool:
    """Whether workers can be forked from this process: threads of a library that has computed are lost in a fork."""
    return "torch" not in sys.modules or _imported_here


class Postponed(TakenUpLater):
    """Raised where an artifact is made that needs others first, which other workers could make at the same time."""

    def __init__(self, needs: Sequence[Node]) -> None:
        super().__init__(f"waits for {len(needs)} artifacts")
        self.needs = needs


def serve(
    orders: Connection,
    lines: Connection,
    make: Make,
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
