"""The figures of a page, drawn on as many processors as the command uses: nothing else is left to do by then."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

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


def _begin(ends: Callable[[], None]) -> None:
    ends()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _draw(place: int, png: bool) -> Drawn | None:
    try:
        return draw(_here[place], png=png)
    except Exception:  # drawn again, and told, by the process that shows it
        return None
