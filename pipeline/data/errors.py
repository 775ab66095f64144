"""What can be wrong with data, each said with its counts and the ways out."""

from __future__ import annotations

from collections.abc import Mapping
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


def refuse_counts(path: str, options: Mapping[str, Any], least: Mapping[str, int]) -> None:
    """Refuse numbers of a free mapping that are no counts: -1 would be read as "all but one", and 0 as "none".

    Raises
    ------
    DataError
        With the first one.

    Examples
    --------
    >>> refuse_counts("data.poison.options", {"size": -1}, {"size": 1})
    Traceback (most recent call last):
    pipeline.data.errors.DataError: data.poison.options.size=-1 is not a whole number of at least 1.
    """
    for name, smallest in least.items():
        value = options.get(name)
        for count in value if isinstance(value, list) else [value]:
            if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < smallest):
                raise DataError(f"{path}.{name}={value} is not a whole number of at least {smallest}.")


def refuse_unfit(path: str, section: Any) -> None:
    """Refuse a section of the configuration that holds what its fields do not take, for calls outside a run.

    Raises
    ------
    DataError
        With the first problem.
    """
    for problem in problems(path, section):
        raise DataError(problem)
