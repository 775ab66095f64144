"""Processes that we start end with us, a SIGTERM lets us clean away what was begun, and no interrupt is lost."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_PR_SET_PDEATHSIG = 1


def ends_with_parent(number: int) -> Callable[[], None]:
    """Return what a child process calls first, so that the system sends it a signal when its parent dies.

    Parameters
    ----------
    number : int
        The signal, such as ``signal.SIGKILL``.
    """
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork
    return lambda: prctl(_PR_SET_PDEATHSIG, number)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Hold an interrupt from the keyboard back to the end of a block that forks.

    Python runs hooks of libraries around a fork (``logging`` has one) and drops what is raised in them, so that an
    interrupt at that moment would be lost.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


class _Ended(BaseException):
    """A SIGTERM, on its way through the blocks that clean up."""


@contextmanager
def cleaned_up_at_the_end() -> Iterator[None]:
    """Let a SIGTERM unwind the block like an exception, and end the process as the signal asks after that.

    Where somebody else handles the signal, or in another thread than the main one, nothing changes.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def unwind(number: int, frame: Any) -> None:
        raise _Ended

    signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    except _Ended:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
