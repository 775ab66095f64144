"""Arguments that a function is given, held against its signature: arrays, numbers, words, devices, lists."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, get_args, get_origin

import numpy as np

from kernels.arrays import agree, as_array, fitted

P = ParamSpec("P")
R = TypeVar("R")

_WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "a word"}
_MANY = {int: "whole numbers", float: "numbers", bool: "truth values", str: "words"}
_SAMPLES: dict[type, str] = {int: "1", float: "0.1", bool: "True", str: "'a'"}


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function refuse arguments of another kind than its signature says, before it computes.

    Arrays whose annotation states a shape may be of NumPy, torch or lists, and reach the function as it wants them;
    their axes are held against each other. Numbers of NumPy are numbers, True is no number, and NaN is none either.
    Which words and which ranges are possible is the function's business. Of annotations that this does not know,
    such as ``Any``, anything passes.

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
    >>> from kernels.arguments import checked_arguments
    >>> @checked_arguments
    ... def histogram(values: "list[float]", bins: "int | None" = 15) -> int:
    ...     return len(values)
    >>> histogram([1.0], bins=2.5)
    Traceback (most recent call last):
        ...
    ValueError: bins=2.5 must be a whole number, or None, such as bins=15.
    """
    signature = inspect.signature(function)

    @cache
    def declared() -> dict[str, list[Any]]:
        """Read the annotations at the first call, when every name of the module is there."""
        names = inspect.unwrap(function).__globals__
        several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {
            name: [] if one.kind in several else _members(one.annotation, names)
            for name, one in signature.parameters.items()
        }

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        arrays: dict[str, tuple[Any, list[Any]]] = {}
        for name, value in bound.arguments.items():
            kinds = declared()[name]
            shapes = [kind for kind in kinds if hasattr(kind, "dim_str")]
            if shapes and _is_for_array(value, kinds):
                bound.arguments[name] = fitted(value, name, shapes)
                arrays[name] = (bound.arguments[name], shapes)
            elif kinds:
                _check(name, value, kinds, signature.parameters[name].default)
        agree(arrays)
        return function(*bound.args, **bound.kwargs)

    return call


def check_settings(machine: Any) -> None:
    """Refuse settings of an estimator of another kind than its class annotates.

    Scikit-learn's constructors store anything, and ``fit`` judges: it calls this first.

    Parameters
    ----------
    machine : estimator
        With ``get_params``, and an annotation in its class for every parameter.

    Raises
    ------
    ValueError
        With the name of the setting and what it has to be.

    Examples
    --------
    >>> from analysis.surrogates import KernelGLM
    >>> from kernels.arguments import check_settings
    >>> check_settings(KernelGLM(alpha="strong"))
    Traceback (most recent call last):
        ...
    ValueError: alpha='strong' must be a number, such as alpha=0.0001.
    """
    kinds: dict[str, list[Any]] = {}
    for of in reversed(type(machine).__mro__):
        names = vars(inspect.getmodule(of) or object)
        kinds |= {name: _members(one, names) for name, one in vars(of).get("__annotations__", {}).items()}
    defaults = inspect.signature(type(machine).__init__).parameters
    for name, value in machine.get_params(deep=False).items():
        if kinds.get(name):
            _check(name, value, kinds[name], defaults[name].default)


def _members(annotation: Any, names: Mapping[str, Any]) -> list[Any]:
    """Kinds of an annotation, one by one; none where one of them is unknown."""
    try:
        found = eval(annotation, dict(names)) if isinstance(annotation, str) else annotation  # our own source
        found = eval(found, dict(names)) if isinstance(found, str) else found  # quoted twice
    except (NameError, TypeError, SyntaxError):  # imported for type checking alone
        return []
    flat: list[Any] = []
    for one in get_args(found) if isinstance(found, UnionType) or get_origin(found) is typing.Union else [found]:
        flat += [str] if get_origin(one) is Literal and isinstance(get_args(one)[0], str) else [one]
    return flat if all(map(_is_known, flat)) and flat != [NoneType] else []


def _is_known(kind: Any) -> bool:
    if get_origin(kind) in (Sequence, Iterable, list):
        return bool(_members(get_args(kind)[0], {}))
    if get_origin(kind) in (Callable, Mapping, dict, tuple):
        return get_args(kind) != (Any, Any)
    protocol = getattr(kind, "_is_protocol", False)
    return inspect.isclass(kind) and kind not in (Any, inspect.Parameter.empty, object) and not protocol


def _is_for_array(value: Any, kinds: list[Any]) -> bool:
    """Whether a value stands in an array's place, and not in that of another kind."""
    return not any(not hasattr(kind, "dim_str") and _is(kind, value) for kind in kinds)


def _check(name: str, value: Any, kinds: list[Any], default: Any) -> None:
    if not any(_is(kind, value) for kind in kinds):
        raise ValueError(_sentence(name, value, kinds, default))
    if name in ("seed", "random_state") and isinstance(value, Integral) and value < 0:
        raise ValueError(f"{name}={value} must be at least 0.")
    if any(_is_device(kind) for kind in kinds) and value is not None:
        _check_device(name, value)
    for kind in kinds:
        if get_origin(kind) in (Sequence, Iterable, list) and isinstance(value, (list, tuple)):
            item = get_args(kind)[0]
            if hasattr(item, "dim_str"):
                for i, one in enumerate(value):
                    as_array(one, f"{name}[{i}]")


def _is(kind: Any, value: Any) -> bool:
    """Whether a value is of a kind."""
    origin = get_origin(kind)
    if kind in (bool, int, float, str):
        return _is_plain(kind, value)
    if origin in (Sequence, Iterable, list):
        return _is_list(value, get_args(kind)[0], origin)
    if origin is Callable:
        return callable(value)
    if origin is tuple:
        parts = get_args(kind)
        fits = isinstance(value, (tuple, list)) and (Ellipsis in parts or len(value) == len(parts))
        return fits and all(_is(part, one) for part, one in zip(parts, value, strict=False) if part is not Ellipsis)
    if origin is not None:
        return isinstance(value, origin)
    if kind is np.ndarray:
        return isinstance(value, np.ndarray)
    return isinstance(value, kind)


def _is_plain(kind: type, value: Any) -> bool:
    if kind is str:
        return isinstance(value, str)
    truth = isinstance(value, (bool, np.bool_))
    if kind is bool:
        return truth
    if kind is int:
        return isinstance(value, Integral) and not truth
    return isinstance(value, Real) and not truth and not math.isnan(value)


def _is_list(value: Any, item: Any, origin: Any) -> bool:
    """Whether a value can be gone through, with items of a kind where these are plain."""
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        return False
    if getattr(value, "ndim", 1) == 0 or (origin is not Iterable and not hasattr(value, "__len__")):
        return False
    kinds = _members(item, {})
    plain = kinds and all(kind in _WORDS or kind is NoneType for kind in kinds)
    named = kinds and all(inspect.isclass(kind) and not hasattr(kind, "dim_str") for kind in kinds)
    if not (plain or named) or not hasattr(value, "__len__"):
        return True
    items = value.tolist() if hasattr(value, "tolist") and plain else value
    return all(any(_is(kind, one) for kind in kinds) for one in items)


def _is_device(kind: Any) -> bool:
    return inspect.isclass(kind) and (kind.__module__, kind.__name__) == ("torch", "device")


def _check_device(name: str, value: Any) -> None:
    """Refuse a device that torch does not know or that this machine lacks."""
    import torch

    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError, NotImplementedError):
        here = "'cpu' or 'cuda'" if torch.cuda.is_available() else "'cpu'"
        raise ValueError(f"{name}={str(value)!r} is no device of this machine: write {name}={here}.") from None


def _sentence(name: str, value: Any, kinds: list[Any], default: Any) -> str:
    shown = ascii(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    given = f"{name}={shown[:40]}" if not shown.startswith("a ") else f"{name} is {shown} and"
    given = f"{name} is None and" if value is None else given
    items = [get_args(kind)[0] for kind in kinds if get_origin(kind) in (Sequence, Iterable, list)]
    if items and isinstance(value, (list, tuple)) and (known := _members(items[0], {})):
        wrong = next((one for one in value if not any(_is(kind, one) for kind in known)), None)
        given = f"{name} holds {ascii(wrong)[:40]} and" if wrong is not None else given
    wanted = [kind for kind in kinds if kind is not NoneType and not (kind is int and float in kinds)]
    words = ", or ".join([*dict.fromkeys(map(_word, wanted))] + ["None"] * (NoneType in kinds))
    plain = default is not inspect.Parameter.empty and default is not None
    samples = [f"{name}=[{_SAMPLES[item]}]" for kind in wanted if (item := _item(kind)) is not None]
    sample = [f"{name}={default!r}"] if plain else samples
    return f"{given} must be {words}{f', such as {sample[0]}' if sample else ''}."


def _word(kind: Any) -> str:
    """Describe a kind in words."""
    if kind in _WORDS:
        return _WORDS[kind]
    if get_origin(kind) in (Sequence, Iterable, list):
        plain = _item(kind)
        return f"a list of {_MANY[plain] if plain else _name(get_args(kind)[0])}"
    if kind is np.random.Generator:
        return "a generator, as numpy.random.default_rng(0) gives one"
    if kind is np.ndarray:
        return "an array"
    if get_origin(kind) is Callable:
        return "a function"
    if get_origin(kind) is tuple:
        return f"{len(get_args(kind))} values"
    if get_origin(kind) is not None:
        return "a mapping"
    if (kind.__module__, kind.__name__) == ("torch._C", "Generator"):
        return "a generator, as torch.Generator().manual_seed(0) gives one"
    return "a device of torch" if _is_device(kind) else f"a {_name(kind)}"


def _item(kind: Any) -> type | None:
    """Plain kind that the items of a list have; None for what is no list, or of other items."""
    if get_origin(kind) not in (Sequence, Iterable, list):
        return None
    return next((one for one in (float, int, str, bool) if one in _members(get_args(kind)[0], {})), None)


def _name(kind: Any) -> str:
    if hasattr(kind, "dim_str"):
        return "arrays"
    maker = f", as {kind.__name__}.from_array makes one" if hasattr(kind, "from_array") else ""
    return f"{kind.__name__} of {kind.__module__.rpartition('.')[0] or kind.__module__}{maker}"
