"""What can be wrong with data, each said with its counts and the ways out."""

from __future__ import annotations

from typing import Any

from models.fields import problems
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


def refuse_unfit(path: str, section: Any) -> None:
    """Refuse a section of the configuration that holds what its fields do not take, for calls outside a run.

    Raises
    ------
    DataError
        With the first problem.
    """
    for problem in problems(path, section):
        raise DataError(problem)
