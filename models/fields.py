"""What a field of a configuration takes, said once where the field is declared: its sentence, choices and bounds."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")
_RULE = "rule"


@dataclasses.dataclass(frozen=True)
class Rule:
    """What one field takes; of a list, what each entry takes. ``None`` always passes: types say where it may stand.

    Attributes
    ----------
    help : str
        The field's sentence, shown by ``--help``.
    choices : tuple of str
        The words that it takes; empty: any value of its type.
    at_least, above, at_most, below : float or None
        Closed and open bounds of a number.
    filled : bool
        Whether a list needs at least one entry.
    distinct : bool
        Whether a list may hold an entry only once; always so for a list of choices.
    keys : tuple of str
        What a free mapping takes; empty: any key.
    renamed_to : str or None
        For a former spelling: the setting's name now.
    files_if : tuple of str
        For a setting that names files or a folder: the field beside it, and its values under which they are read.
        Their content then enters addresses in place of the name.
    commit_of : tuple of str
        For a revision of a repository of the hub: the field beside it that names the repository, the field that
        selects it, and that one's values under which it is read. The commit that the revision stands for then enters
        addresses in its place.
    code : bool
        Whether it is the importable name of a class or function, whose source enters addresses with the name.
    """

    help: str = ""
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    filled: bool = False
    distinct: bool = False
    keys: tuple[str, ...] = ()
    renamed_to: str | None = None
    files_if: tuple[str, ...] = ()
    code: bool = False
    commit_of: tuple[str, ...] = ()

    @property
    def interval(self) -> str:
        """The bounds in words: ``at least 1``, ``above 0``, ``in [0, 1)``; empty without bounds."""
        low = self.at_least if self.above is None else self.above
        high = self.at_most if self.below is None else self.below
        if low is not None and high is not None:
            return f"in {'[' if self.above is None else '('}{low:g}, {high:g}{']' if self.below is None else ')'}"
        if low is not None:
            return f"{'at least' if self.above is None else 'above'} {low:g}"
        return "" if high is None else f"{'at most' if self.below is None else 'below'} {high:g}"

    def allows(self, value: Any) -> bool:
        """Whether a value, or one entry of a list, fits."""
        if self.choices:
            return value in self.choices
        if not self.interval:
            return True
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def problem(self, path: str, value: Any) -> str | None:
        """Say in one sentence why a value does not fit; None where it does."""
        if value is None:
            return None
        if self.renamed_to is not None:
            return f"{path} is the former name of {self.renamed_to}, and both are set; keep {self.renamed_to} alone."
        if isinstance(value, dict):
            odd = [key for key in value if self.keys and key not in self.keys]
            return f"{path} holds {odd[0]!r}; it takes {', '.join(self.keys)}." if odd else None
        words = f"one of {', '.join(self.choices)}" if self.choices else self.interval
        if isinstance(value, list):
            if self.filled and not value:
                return f"{path} is empty; name at least one entry."
            if self.distinct or self.choices:
                twice = [entry for index, entry in enumerate(value) if entry in value[:index]]
                if twice:
                    return f"{path} holds {twice[0]!r} twice; name each entry once."
            unfit = [entry for entry in value if not self.allows(entry)]
            if not unfit:
                return None
            takes = ", ".join(self.choices) if self.choices else f"numbers {words}"
            return f"{path} holds {unfit}; it takes {takes}."
        if self.allows(value):
            return None
        below = self.at_least is not None and words.startswith("at least") and value < self.at_least
        null = re.search(r"\bnull\b[^.;]*", self.help)
        ways = f"; {null[0].strip()}" if null and not self.choices else ""
        return f"{path}={value} {f'is below {self.at_least:g}' if below else f'is not {words}'}{ways}."


def setting(
    default: T,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    filled: bool = False,
    files_if: tuple[str, ...] = (),
    code: bool = False,
    distinct: bool = False,
    keys: tuple[str, ...] = (),
    commit_of: tuple[str, ...] = (),
) -> T:
    """Declare a field with its sentence and, for numbers, its bounds; see :class:`Rule`.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Training:
    ...     epochs: int = setting(10, "Passes over the training rows.", at_least=1)
    >>> list(problems("training", Training(epochs=0)))
    ['training.epochs=0 is below 1.']
    """
    rule = Rule(help, (), at_least, above, at_most, below, filled, distinct, keys)
    return _declare(default, dataclasses.replace(rule, files_if=files_if, code=code, commit_of=commit_of))


def choice(*choices: str, default: T, help: str, filled: bool = False) -> T:
    """Declare a field that takes one of a few words, or a list of them; null as well where the type allows it.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Surrogate:
    ...     kind: str = choice("glm", "svm", default="glm", help="Kernel machine in the network's place.")
    >>> list(problems("surrogate", Surrogate(kind="tree")))
    ['surrogate.kind=tree is not one of glm, svm.']
    """
    return _declare(default, Rule(help, choices=choices, filled=filled))


def renamed(to: str) -> Any:
    """Declare the former spelling of a setting; :class:`Renamed` moves what it is given to the new one.

    Parameters
    ----------
    to : str
        Dotted name of the setting now, such as ``surrogate.neighbors``, in the same section.
    """
    return _declare(None, Rule(f"Former spelling of {to}.", renamed_to=to))


def _declare(default: T, rule: Rule) -> T:
    metadata = {_RULE: rule}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: copy.copy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def warn_renamed(former: str, now: str) -> None:
    """Warn that a setting was given under its former name."""
    warnings.warn(
        f"{former} is called {now} now; the old spelling works in this release only.", FutureWarning, stacklevel=3
    )


class Renamed:
    """Base of a section with former spellings: their values go to the new names, with a warning.

    Where both names hold different values, neither is moved, and :func:`problems` refuses the section.
    """

    def __post_init__(self) -> None:
        """Move what was given under a former spelling."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            new, value = rule_of(field).renamed_to, getattr(self, field.name)
            if new is None or value is None:
                continue
            section, _, name = new.rpartition(".")
            if getattr(self, name) not in (defaults[name], value):
                continue
            warn_renamed(f"{section}.{field.name}", new)
            setattr(self, name, value)
            setattr(self, field.name, None)


def rule_of(field: dataclasses.Field[Any]) -> Rule:
    """Give what a field takes; an empty rule where nothing was declared."""
    return field.metadata.get(_RULE, Rule())


def choices_of(schema: type, name: str) -> tuple[str, ...]:
    """List the words that a field of a section takes, in the order of their declaration."""
    return rule_of(schema.__dataclass_fields__[name]).choices  # type: ignore[attr-defined]


def problems(path: str, section: Any) -> Iterator[str]:
    """Yield one sentence for each field of a section, and of the sections inside it, whose value does not fit.

    Parameters
    ----------
    path : str
        The section's dotted name, which the sentences use; empty for the whole configuration.
    section : dataclass instance
        The section.
    """
    for field in dataclasses.fields(section):
        name, value = f"{path}.{field.name}" if path else field.name, getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from problems(name, value)
            continue
        problem = rule_of(field).problem(name, value)
        if problem is not None:
            yield problem


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a free mapping takes under one name.

    Attributes
    ----------
    default : object
        Its value where it is not given, which tells its type: a list, a word, a number, or true and false.
    least : int or None
        Whether it is a count, or a list of as many counts as the default has, and the least of one.
    choices : tuple of str
        The words that it takes; empty: any.
    """

    default: Any
    least: int | None = None
    choices: tuple[str, ...] = ()

    def problem(self, path: str, value: Any) -> str | None:
        """Say in one sentence why a value does not fit; None where it does. A count may be left at null."""
        if self.choices and value not in self.choices:
            return f"{path}={value} is not one of {', '.join(self.choices)}."
        if self.least is not None:
            counts = value if isinstance(value, list) else [value]
            several = self.default if isinstance(self.default, list) else [self.default]
            if len(counts) != len(several) or isinstance(value, list) != isinstance(self.default, list):
                return f"{path}={value} is not {'one count' if len(several) == 1 else f'{len(several)} counts'}."
            for count in counts:  # -1 would be read as "all but one", and 0 as "none"
                if count is not None and (type(count) is not int or count < self.least):
                    return f"{path}={value} is not a whole number of at least {self.least}."
        kinds = {list: "a list, such as [A,B]", bool: "true or false", str: "a word", float: "a number"}
        kind = type(self.default)
        fits = type(value) in (int, float) if kind is float else isinstance(value, kind)
        return f"{path}={value} is not {kinds[kind]}." if kind in kinds and not fits else None


def entry_problems(path: str, owner: str, given: dict[str, Any], entries: dict[str, Entry]) -> Iterator[str]:
    """Yield one sentence for each entry of a free mapping that its owner does not take.

    Examples
    --------
    >>> list(entry_problems("data.poison.options", "badnets", {"sise": 3}, {"size": Entry(4, least=1)}))
    ["data.poison.options holds 'sise'; badnets takes size."]
    """
    for name, value in given.items():
        if name not in entries:
            yield f"{path} holds {name!r}; {owner} takes {', '.join(entries) or 'none'}."
        elif (problem := entries[name].problem(f"{path}.{name}", value)) is not None:
            yield problem
