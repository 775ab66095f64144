"""One option of the public functions: its default, documentation and accepted values, and what is said of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any


@dataclass(frozen=True)
class Option:
    """Default, documentation and accepted values of one option.

    Attributes
    ----------
    default
        Value where the caller gives none.
    sentence : str
        Documentation.
    choices : tuple
        Accepted values; empty for anything of the right type.
    mapping : {"", "any", "of choices"}
        Whether a mapping is accepted too: none, any, or one whose values are among the choices.
    least : int or None
        Smallest accepted number.
    hint : str
        Added to the message that refuses a value.
    """

    default: Any
    sentence: str
    choices: tuple[Any, ...] = ()
    mapping: str = ""
    least: int | None = None
    hint: str = ""

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that the option cannot have."""
        if value is None and self.default is None:
            return
        if isinstance(value, Mapping) and not value:
            raise ValueError(f"{name}={{}} has no groups: name some, or leave it out")
        given = [value]
        if isinstance(value, Mapping) and self.mapping:
            given = list(value.values()) if self.mapping == "of choices" else []
        for one in given:
            if self.choices and one not in self.choices:
                raise ValueError(f"{name}={one!r}: use one of {', '.join(map(str, self.choices))}{self.hint}")
        if self.least is not None:
            require_whole_number(name, value, self.least)


def require_whole_number(name: str, value: Any, least: int | None = None) -> None:
    """Refuse what is no whole number, or too small."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{name}={value!r} is no whole number")
    if least is not None and int(value) < least:
        raise ValueError(f"{name}={value} must be at least {least}")
