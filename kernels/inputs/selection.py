"""Which parameters a call is about: names, prefixes of names, or a predicate on names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def selector(chosen: str | Sequence[str] | Callable[[str], bool], known: dict[str, Any]) -> Callable[[str], bool]:
    """Turn a choice of parameters into a predicate on their names.

    Parameters
    ----------
    chosen : "all", sequence of str or callable
        Names, or prefixes of names that end before a dot.
    known : dict
        The model's parameters by name.

    Raises
    ------
    ValueError
        For an entry that no parameter or module is called.

    Examples
    --------
    >>> from kernels.inputs.selection import selector
    >>> wanted = selector(["fc"], {"conv.weight": 0, "fc.weight": 1})
    >>> wanted("fc.weight"), wanted("conv.weight")
    (True, False)
    """
    if callable(chosen):
        return chosen
    if chosen == "all":
        return lambda name: True
    entries = [chosen] if isinstance(chosen, str) else list(chosen)
    for entry in entries:
        if not any(name == entry or name.startswith(entry + ".") for name in known):
            raise ValueError(f"no parameter or module named {entry!r}; the model has {', '.join(list(known)[:8])}, ...")
    return lambda name: any(name == entry or name.startswith(entry + ".") for entry in entries)
