"""The figures of a page, drawn on as many processors as the command uses.

A section's figures are drawn while the next sections are worked out; what is left then is drawn by all processes.
"""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from analysis.pages.blocks import Picture
from analysis.pages.drawing import Drawn, draw
from pipeline.machine.children import ends_with_parent, interrupts_wait

_WORTH = 4
"""Figures for which processes are started, at least."""
_here: list[Picture] = []
"""Of the process that draws; its children get them with its memory, since figures do not travel."""


def drawn_together(blocks: Iterable[object], processes: int, png: bool = False) -> dict[int, Drawn]:
    """Draw figures on several processes.

    Parameters
    ----------
    blocks : iterable of block
        What a page shows; those that are no figures are passed over.
    processes : int
        How many; with one, nothing is drawn ahead.
    png : bool
        Whether a PNG of each is wanted as well.

    Returns
    -------
    dict
        By the ``id`` of its block; what could not be drawn is left to the one who shows it, and who meets the error.
    """
    pictures = list({id(block): block for block in blocks if isinstance(block, Picture)}.values())
    if processes < 2 or len(pictures) < _WORTH:
        return {}
    _here[:] = pictures
    context = multiprocessing.get_context("fork")
    found: dict[int, Drawn] = {}
    try:
        pool = ProcessPoolExecutor(
            min(processes, len(pictures)), context, initializer=_begin, initargs=(ends_with_parent(signal.SIGKILL),)
        )
        with pool:
            with interrupts_wait(), warnings.catch_warnings():
                # one thread of ours runs; those of libraries are idle, and no child uses them
                warnings.simplefilter("ignore", DeprecationWarning)
                waiting = [pool.submit(_draw, place, png) for place in range(len(pictures))]
            for picture, future in zip(pictures, waiting, strict=True):
                with suppress(BrokenProcessPool):
                    if (one := future.result()) is not None:
                        found[id(picture)] = one
    finally:
        _here.clear()
    return found


class Ahead:
    """Draws figures in other processes while this one goes on; a context manager, which ends them.

    Parameters
    ----------
    processes : int
        Of the whole command; with one, nothing is drawn ahead.
    png : bool
        Whether a PNG of each is wanted as well.
    """

    def __init__(self, processes: int, png: bool = False) -> None:
        self._processes, self._png = processes, png
        self._known: dict[int, Picture] = {}
        self._waiting: list[Picture] = []
        self._busy: list[tuple[BaseProcess, Connection, list[Picture]]] = []
        self._found: dict[int, Drawn] = {}

    def __enter__(self) -> Ahead:
        """Begin; processes are forked as there is something to draw."""
        return self

    def __exit__(self, *error: object) -> None:
        """End what still draws."""
        for child, receiver, _ in self._busy:
            child.kill()
            child.join()
            receiver.close()
        self._busy.clear()

    def add(self, blocks: Iterable[object]) -> None:
        """Take the figures among some blocks, and begin to draw where a process is free."""
        for block in blocks:
            if isinstance(block, Picture) and id(block) not in self._known:
                self._known[id(block)] = block
                self._waiting.append(block)
        self._collect(wait=False)
        if self._waiting and len(self._busy) < self._processes - 1:
            self._fork()

    def finish(self, blocks: Iterable[object]) -> dict[int, Drawn]:
        """Draw the figures among these blocks that nobody has begun, and give all of them.

        Returns
        -------
        dict
            By the ``id`` of its block; what could not be drawn is left to the one who shows it.
        """
        begun = {id(one) for _, _, pictures in self._busy for one in pictures} | self._found.keys()
        rest = [block for block in blocks if id(block) not in begun]
        self._found |= drawn_together(rest, self._processes, self._png)
        self._collect(wait=True)
        return self._found

    def _fork(self) -> None:
        pictures, self._waiting = self._waiting, []
        receiver, sender = multiprocessing.Pipe(duplex=False)
        ends = ends_with_parent(signal.SIGKILL)

        def work() -> None:
            receiver.close()
            _begin(ends)
            found: list[Drawn | None] = []
            for one in pictures:
                try:
                    found.append(draw(one, png=self._png))
                except Exception:  # drawn again, and told, by the process that shows it
                    found.append(None)
            with suppress(OSError):  # whoever asked is gone
                sender.send(found)

        child = multiprocessing.get_context("fork").Process(target=work)
        with interrupts_wait(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # as above
            child.start()
        sender.close()
        self._busy.append((child, receiver, pictures))

    def _collect(self, wait: bool) -> None:
        """Take what is drawn; a process that has died leaves its figures to the page."""
        for one in list(self._busy):
            child, receiver, pictures = one
            if not (wait or receiver.poll()):
                continue
            with suppress(EOFError, OSError):
                drawn = zip(pictures, receiver.recv(), strict=True)
                self._found |= {id(picture): found for picture, found in drawn if found is not None}
            child.join()
            receiver.close()
            self._busy.remove(one)


def _begin(ends: Callable[[], None]) -> None:
    ends()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _draw(place: int, png: bool) -> Drawn | None:
    try:
        return draw(_here[place], png=png)
    except Exception:  # drawn again, and told, by the process that shows it
        return None
