"""Hold Python's search for garbage while thousands of small things are made that stay: it would visit all of them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collections_wait() -> Iterator[None]:
    """Let no collection begin inside; ten thousand nodes or records of artifacts make no garbage.

    Examples
    --------
    >>> with collections_wait():
    ...     gc.isenabled()
    False
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def set_aside() -> Iterator[None]:
    """Let collections inside visit only what is made inside: what is there already, thousands of nodes, stays anyway.

    In a forked worker what was set aside before the fork stays so: visiting it would copy it.

    Examples
    --------
    >>> with set_aside():
    ...     gc.get_freeze_count() > 0
    True
    """
    already = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not already:
            gc.unfreeze()
