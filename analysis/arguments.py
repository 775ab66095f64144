"""Numbers, words and truth values that a function is given, held against its signature."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import wraps
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, get_args, get_origin

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

_GENERATOR = "np.random.Generator"
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "str": "a word",
    _GENERATOR: "a generator, as numpy.random.default_rng(0) gives one",
}


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function refuse plain arguments of another kind than its signature says, before it computes.

    Only arguments whose annotation names nothing but ``int``, ``float``, ``bool``, ``str``, words (``Literal``),
    NumPy's ``Generator`` and ``None`` are looked at; NumPy's numbers are numbers, True is no number, and NaN is none
    either. Which words and which ranges are possible is the function's business.

    Parameters
    ----------
    function : callable
        With annotations.

    Raises
    ------
    ValueError
        When the function is called, with the name of the argument and what it has to be.

    Examples
    --------
    >>> from analysis.arguments import checked_arguments
    >>> @checked_arguments
    ... def histogram(values: "list[float]", bins: "int | None" = 15) -> int:
    ...     return len(values)
    >>> histogram([1.0], bins=2.5)
    Traceback (most recent call last):
        ...
    ValueError: bins=2.5 must be a whole number, or None, such as bins=15.
    """
    signature = inspect.signature(function)
    names = function.__globals__
    kinds = {name: found for name, one in signature.parameters.items() if (found := _kinds(one.annotation, names))}

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in kinds and not any(_is(kind, value) for kind in kinds[name]):
                raise ValueError(_sentence(name, value, kinds[name], signature.parameters[name].default))
            if name == "seed" and kinds.get(name) == ["int"] and value < 0:
                raise ValueError(f"seed={value} must be at least 0.")
        return function(*args, **kwargs)

    return call


def _kinds(annotation: Any, names: Mapping[str, Any]) -> list[str]:
    """Names of the plain kinds of an annotation as it is written; none where it names anything else."""
    if not isinstance(annotation, str):
        return []
    kinds: list[str] = []
    for word in map(str.strip, annotation.strip("'\"").split("|")):
        found = names.get(word)
        if word.startswith("Literal[") or get_origin(found) is Literal:
            kinds.append("str")
        elif isinstance(found, UnionType):
            kinds += [one.__name__ for one in get_args(found)]
        else:
            kinds.append(word)
    return kinds if {*kinds} <= {*_WORDS, "None"} and {*kinds} != {"None"} else []


def _is(kind: str, value: Any) -> bool:
    if kind == "None":
        return value is None
    if kind == "str":
        return isinstance(value, str)
    if kind == _GENERATOR:
        return isinstance(value, np.random.Generator)
    truth = isinstance(value, (bool, np.bool_))
    if kind == "bool":
        return truth
    if kind == "int":
        return isinstance(value, Integral) and not truth
    return isinstance(value, Real) and not truth and not math.isnan(value)


def _sentence(name: str, value: Any, kinds: list[str], default: Any) -> str:
    shown = ascii(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    given = f"{name}={shown[:40]}" if not shown.startswith("a ") else f"{name} is {shown} and"
    words = ["float"] if {"int", "float"} <= {*kinds} else [kind for kind in kinds if kind != "None"]
    wanted = ", or ".join([_WORDS[word] for word in dict.fromkeys(words)] + ["None"] * ("None" in kinds))
    plain = default is not inspect.Parameter.empty and default is not None
    return f"{given} must be {wanted}{f', such as {name}={default!r}' if plain else ''}."
