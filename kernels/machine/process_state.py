"""Change what belongs to the whole process: for one thread only where that is possible, else shared and restored.

A function patched, or a setting saved and put back, by one thread changes the arithmetic of the others; and where two
threads overlap, the one that leaves last restores the value that the first had set.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

_LOCK = threading.RLock()


class _Replaced:
    """A function of a library that asks which thread calls it."""

    def __init__(self, owner: Any, name: str) -> None:
        self.owner, self.name, self.users, self.here = owner, name, 0, threading.local()
        self.own = vars(owner).get(name)
        self.static = static = inspect.getattr_static(owner, name)
        self.original = _plain(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            substitutes = getattr(self.here, "substitutes", None)
            return (substitutes[-1] if substitutes else self.original)(*args, **kwargs)

        kept = isinstance(static, FunctionType) or not isinstance(owner, type)
        self.call = classmethod(call) if isinstance(static, classmethod) else call if kept else staticmethod(call)
        self.install()

    def fits(self) -> bool:
        """Whether the owner has what it had when this was made, as its own or inherited."""
        places = self.owner.__mro__ if isinstance(self.owner, type) else (self.owner,)
        now = next((vars(place)[self.name] for place in places if self.name in vars(place)), None)
        return now is self.static and vars(self.owner).get(self.name) is self.own

    def install(self) -> None:
        setattr(self.owner, self.name, self.call)

    def restore(self) -> None:
        if self.own is None:
            delattr(self.owner, self.name)  # it was inherited
        else:
            setattr(self.owner, self.name, self.own)


_REPLACED: dict[tuple[int, str], _Replaced] = {}
_KNOWN: dict[tuple[int, str], _Replaced] = {}
"""All that were made: to be installed again where their owners still have the same functions."""


@contextmanager
def replaced_here(owner: Any, name: str, substitute: Callable[..., Any]) -> Iterator[None]:
    """Replace a function of a module or class for this thread; other threads keep calling the original.

    Parameters
    ----------
    owner : module or class
        That lives as long as the process.
    name : str
        Of its function or method.
    substitute : callable
        Called with the same arguments; of a class method, the class before them.

    Examples
    --------
    >>> import math
    >>> from kernels.machine.process_state import replaced_here
    >>> with replaced_here(math, "floor", lambda x: -1):
    ...     math.floor(2.5)
    -1
    >>> math.floor(2.5)
    2
    """
    key = (id(owner), name)
    with _LOCK:
        found = _REPLACED.get(key)
        if found is None:
            found = _REPLACED[key] = _installed(owner, name)
        found.users += 1
    substitutes = found.here.__dict__.setdefault("substitutes", [])
    substitutes.append(substitute)
    try:
        yield
    finally:
        substitutes.pop()
        with _LOCK:
            found.users -= 1
            if not found.users:
                del _REPLACED[key]
                found.restore()


def _installed(owner: Any, name: str) -> _Replaced:
    """Replace a function for the first of its users; how it is wrapped is found out once."""
    known = _KNOWN.get((id(owner), name))
    if known is not None and known.owner is owner and known.fits():
        known.install()
        return known
    made = _KNOWN[id(owner), name] = _Replaced(owner, name)
    return made


def original(owner: Any, name: str) -> Any:
    """Return a function as it is without :func:`replaced_here`; of a class method, the function that takes a class."""
    found = _REPLACED.get((id(owner), name))
    return _plain(owner, name) if found is None else found.original


def _plain(owner: Any, name: str) -> Any:
    static = inspect.getattr_static(owner, name)
    return static.__func__ if isinstance(static, classmethod) else getattr(owner, name)


class SharedSetting:
    """A setting that torch keeps once for the whole process.

    While any thread needs it, it holds the strictest value that is asked for; when the last one leaves, it is what it
    was before, unless somebody else has set it meanwhile. It is not written where it holds the value already.

    Parameters
    ----------
    read, write : callable
        Of the setting.
    strict : sequence
        Values, the strictest first; among threads the strictest wins, within one the innermost.

    Examples
    --------
    >>> from kernels.machine.process_state import SharedSetting
    >>> held = ["fast"]
    >>> setting = SharedSetting(lambda: held[0], lambda value: held.__setitem__(0, value), ("exact", "fast"))
    >>> with setting.at("exact"):
    ...     held
    ['exact']
    >>> held
    ['fast']
    """

    def __init__(self, read: Callable[[], Any], write: Callable[[Any], None], strict: tuple[Any, ...]) -> None:
        self._read, self._write, self._strict = read, write, strict
        self._asked: dict[int, list[Any]] = {}
        self._before: Any = None
        self._now: Any = None

    @contextmanager
    def at(self, value: Any) -> Iterator[None]:
        """Ask for a value during the block."""
        if self.is_at(value):
            yield
            return
        me = threading.get_ident()
        with _LOCK:
            if not self._asked:
                self._before = self._now = self._read()
            self._asked.setdefault(me, []).append(value)
            self._apply()
        try:
            yield
        finally:
            with _LOCK:
                self._asked[me].pop()
                if not self._asked[me]:
                    del self._asked[me]
                self._apply()

    def is_at(self, value: Any) -> bool:
        """Whether this thread asks for a value already, and nobody has changed the setting since."""
        mine = self._asked.get(threading.get_ident())
        return mine is not None and mine[-1] == value and self._read() == self._now

    def _apply(self) -> None:
        wanted = min((values[-1] for values in self._asked.values()), key=self._strict.index, default=self._before)
        if self._read() != self._now:  # set by somebody else since: theirs from here on
            self._before = self._now = self._read()
            if not self._asked:
                return
        if wanted != self._now:
            self._write(wanted)
            self._now = wanted
