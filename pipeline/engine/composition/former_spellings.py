"""Former spellings of settings in the overrides of a command or of a cell, brought to the names of today.

An override must be renamed before Hydra composes: then the last of several wins, in whichever spelling, and ``null``
counts as a value. Files with a former spelling are read by :class:`models.fields.Renamed`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any

from models.fields import rule_of, warn_renamed
from pipeline.config.run import RunConfig


def current_spelling(override: str) -> str:
    """Rename the setting of an override, with a warning, if it has a new name; other words stay as they are.

    Examples
    --------
    >>> current_spelling("seed=3")
    'seed=3'
    """
    name, equals, value = override.partition("=")
    path = name.lstrip("+")
    if not equals or path not in _renamed():
        return override
    now = _renamed()[path]
    warn_renamed(path, now)
    return f"{name.removesuffix(path)}{now}={value}"


@cache
def _renamed() -> dict[str, str]:
    """Former name to the name now, of every renamed setting."""
    return dict(_walk("", RunConfig()))


def _walk(prefix: str, section: Any) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(section):
        value, now = getattr(section, field.name), rule_of(field).renamed_to
        if dataclasses.is_dataclass(value):
            yield from _walk(f"{prefix}{field.name}.", value)
        elif now is not None:
            yield f"{prefix}{field.name}", now
