"""What of a text may be shown and stored: no passwords, and no characters that steer a terminal.

Names of classes, texts and file names come from strangers' data, and overrides, addresses and messages of services may
hold a password.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from analysis.plain_text import visible

HIDDEN = "***"
_SCRIPT = "run.py"
_SECRET_NAME = (
    r"[\w.+/-]*(?:passw(?:or)?d|secret|api_?key|access_?key|private_?key|credentials?|"
    r"(?<![a-z])(?<!poison\.options\.)token)"
)
_NO_SECRET = r"(?:pad|cls|sep|bos|eos|unk|mask)_token"
_SETTING = re.compile(rf"""(?ix) \b(?!{_NO_SECRET}) ({_SECRET_NAME} (?:\s?=\s?|["']\s*:\s*))
    (?: "[^"\n]*" | '[^'\n]*' | (?!\$\{{)[^\s&'",;)\]}}]+ )""")
_YAML_LINE = re.compile(rf"(?im)^([\s-]*(?!{_NO_SECRET}|token\b){_SECRET_NAME}: )(?!null$|''$|[|>{{\[&*]).+$")
_IN_ADDRESS = re.compile(r"""(?x) ( ://[^\s/:@'"]* : ) (?! \d+ (?:[/?\#,\s'"]|$) ) [^\s'"]+ (?=@)""")
_AS_USER = re.compile(r"""(?<=://)[^\s/:@'"]{16,}(?=@)""")
_SHAPES = re.compile(
    r"\b(?:hf_\w{8,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|sk-[\w-]{16,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[\w-]{10,}|eyJ[\w-]{8,}\.eyJ[\w.-]{8,})|(?<=Bearer )[\w.~+/=-]{8,}|(?<=Basic )[\w+/=]{8,}"
)
_SECRET_VARIABLE = re.compile(r"(?i)(passw(or)?d|secret|token|api_?key|access_?key|private_?key|credentials?)$|secret")
_NUMBER = re.compile(r"[-+.\de]+")
_SHORTEST = 8  # a shorter value is likely a word that means something else elsewhere


def shown(text: object) -> str:
    r"""Text for a terminal, a log, a record or a message.

    Examples
    --------
    >>> shown("http://alice:open-sesame@host:5000 \x1b[2J")
    'http://alice:***@host:5000 \\x1b[2J'
    """
    return visible(masked(text))


def typed(text: str) -> str:
    """Write commands in a text as this one was typed: from another folder, ``run.py`` alone is not found.

    Records and pages hold ``python run.py``, which is the same on every machine; what is printed goes through this.
    """
    script = sys.argv[0] if sys.argv else ""
    if script == _SCRIPT or os.path.basename(script) != _SCRIPT:
        return text
    return text.replace(f"python {_SCRIPT}", f"python {visible(shlex.quote(script))}")


def masked(text: object) -> str:
    """Replace passwords: in addresses, after names such as ``api_key=``, by their shape, or held by the environment.

    Examples
    --------
    >>> masked("+service.api_key=abc logging.uri=http://alice:abc@host")
    '+service.api_key=*** logging.uri=http://alice:***@host'
    """
    return _masked(str(text), tuple(secret_variables()))


def _masked(found: str, secrets: tuple[tuple[str, str], ...]) -> str:
    for _, value in secrets:
        found = found.replace(value, HIDDEN)
    found = _AS_USER.sub(HIDDEN, _IN_ADDRESS.sub(rf"\1{HIDDEN}", found))
    return _SHAPES.sub(HIDDEN, _SETTING.sub(rf"\1{HIDDEN}", found))


def masked_yaml(text: str) -> str:
    r"""Replace passwords in YAML, where names stand before a colon; interpolations of other settings stay.

    Examples
    --------
    >>> masked_yaml("WANDB_API_KEY: abc\nuri: http://alice:abc@host")
    'WANDB_API_KEY: ***\nuri: http://alice:***@host'
    """
    return masked(_YAML_LINE.sub(_hide_value, text))


def _hide_value(line: re.Match[str]) -> str:
    return line[0] if re.fullmatch(r"\$\{[^}]*\}", line[0].removeprefix(line[1])) else f"{line[1]}{HIDDEN}"


def masked_overrides(words: Iterable[str]) -> list[str]:
    """Replace passwords in overrides: after a name such as ``api_key``, everything.

    Examples
    --------
    >>> masked_overrides(["seed=1", "+service.api_key=abc"])
    ['seed=1', '+service.api_key=***']
    """
    secrets = tuple(secret_variables())  # once for all of them: a study of ten thousand cells has as many commands
    return [_masked_override(word, secrets) for word in words]


@lru_cache(maxsize=1 << 16)
def _masked_override(word: str, secrets: tuple[tuple[str, str], ...]) -> str:
    name, equals, _ = word.partition("=")
    if equals and re.fullmatch(rf"(?i)\+*(?!{_NO_SECRET}){_SECRET_NAME}", name):
        return f"{name}={HIDDEN}"
    return _masked(word, secrets)


def secret_variables() -> Iterator[tuple[str, str]]:
    """Variables of the environment that hold a password, by their names."""
    for name in _secret_names(tuple(os.environb)):
        value = os.environ.get(name, "")
        if len(value) >= _SHORTEST and not value.startswith(("/", "~", ".")):
            yield name, value


@lru_cache(maxsize=64)  # asked for every command of a study; the names seldom change
def _secret_names(names: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(name for name in map(os.fsdecode, names) if _SECRET_VARIABLE.search(name))


def holds_secret(value: Any, path: str = "") -> tuple[str, str] | None:
    """Find a setting that holds the password of a variable of the environment.

    Returns
    -------
    tuple of (str, str) or None
        Path of the setting and name of the variable.
    """
    if isinstance(value, Mapping):
        inside: Any = ((f"{path}.{key}".lstrip("."), item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        inside = ((path, item) for item in value)
    else:
        names = (name for name, secret in secret_variables() if isinstance(value, str) and secret in value)
        name = next(names, None)
        return None if name is None else (path, name)
    return next((found for key, item in inside if (found := holds_secret(item, key)) is not None), None)


def cell_words(labels: Mapping[str, str]) -> str:
    """Write labels as ``resnet18, width 8 | pntk | seed 0``; an axis is named where its label is a bare number.

    Examples
    --------
    >>> cell_words({"model": "resnet18, model.width=8", "kernel": "pntk", "seed": "0"})
    'resnet18, width 8 | pntk | seed 0'
    >>> cell_words({"net": "{width: 8, act: relu}", "seed": "0"})
    'width 8, act relu | seed 0'
    """
    return " | ".join(_plain(axis, label) for axis, label in labels.items())


def _plain(axis: str, label: str) -> str:
    return f"{axis} {label}" if _NUMBER.fullmatch(label) else label_words(label)


def label_words(label: str) -> str:
    """Write a label as a sentence has it: a setting by its last name, without dots and equals signs.

    Examples
    --------
    >>> label_words("resnet18, model.width=8"), label_words("pNTK GLM")
    ('resnet18, width 8', 'pNTK GLM')
    """
    if "{" in label:  # a mapping, such as the arguments of a network
        label = re.sub(r"[\w.]+=\{|[{}]", "", label).replace(": ", "=")
    return ", ".join(re.sub(r"^[\w.]*?(\w+)=", r"\1 ", word) for word in label.split(", "))
