"""Errors on their way from a worker: as they were raised, with their causes and the traceback of the worker."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Sequence

from pipeline.errors import UserError
from pipeline.shown_text import shown


class _Elsewhere(Exception):
    """The traceback of an error in a worker, shown above the error itself."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\n{self.text}"


def packed(error: BaseException | None) -> list[Exception]:
    """Give an error and its causes in a form that survives being sent, the last one with its traceback as text."""
    chain: list[Exception] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # some libraries make an error its own cause
        seen.add(id(error))
        chain.append(_copy(error))
        if error.__cause__ is None and not isinstance(error, (UserError, _Elsewhere)):
            chain.append(_Elsewhere(shown("".join(traceback.format_exception(error)))))
        error = error.__cause__
    return chain


def unpacked(chain: Sequence[Exception]) -> Exception | None:
    """Put an error and its causes together again."""
    for error, cause in zip(chain, chain[1:], strict=False):
        error.__cause__ = cause
    return chain[0] if chain else None


def _copy(error: BaseException) -> Exception:
    """Give the error as it arrives elsewhere; another type with the same words where it would not arrive."""
    try:
        copy = pickle.loads(pickle.dumps(error))
        if isinstance(copy, Exception) and str(copy) == str(error):
            return copy
    except Exception:  # a class of somebody else's may raise anything while it is rebuilt
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")
