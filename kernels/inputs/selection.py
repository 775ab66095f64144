"""Which parameters a call is about: names, prefixes of names, or a predicate on names.

A tied tensor has several names (``lm_head.weight`` is ``wte.weight``) and is found under each of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from torch import nn

Names = Mapping[str, Sequence[str]]
"""All names of each parameter, by the first of them."""


def parameter_names(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """All names of every parameter, by its first name, which stands for it in results.

    Examples
    --------
    >>> import torch
    >>> from kernels.inputs.selection import parameter_names
    >>> model = torch.nn.ModuleDict({"wte": torch.nn.Embedding(5, 2), "head": torch.nn.Linear(2, 5, bias=False)})
    >>> model["head"].weight = model["wte"].weight
    >>> parameter_names(model)
    {'wte.weight': ('wte.weight', 'head.weight')}
    """
    first: dict[int, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        own = first.setdefault(id(parameter), name)
        found[own] = (*found.get(own, ()), name)
    return found


def is_within(name: str, entry: str) -> bool:
    """Whether a name is that of an entry, or of something inside it."""
    return name == entry or name.startswith(entry + ".")


def selector(chosen: str | Sequence[str] | Callable[[str], bool], names: Names) -> Callable[[str], bool]:
    """Turn a choice of parameters into a predicate on their first names.

    Parameters
    ----------
    chosen : "all", sequence of str or callable
        Names, or prefixes of names that end before a dot; a callable is asked about each name.
    names : mapping of str to sequence of str
        All names of each parameter: see :func:`parameter_names`.

    Raises
    ------
    ValueError
        For an entry that no parameter or module is called.

    Examples
    --------
    >>> from kernels.inputs.selection import selector
    >>> wanted = selector(["head"], {"conv.weight": ["conv.weight"], "wte.weight": ["wte.weight", "head.weight"]})
    >>> wanted("wte.weight"), wanted("conv.weight")
    (True, False)
    """
    if callable(chosen):
        return lambda name: any(chosen(one) for one in names.get(name, (name,)))
    if chosen == "all":
        return lambda name: True
    entries = [chosen] if isinstance(chosen, str) else list(chosen)
    for entry in entries:
        if not any(is_within(one, entry) for aliases in names.values() for one in aliases):
            raise ValueError(f"no parameter or module named {entry!r} holds parameters; {known(entry, names)}")
    return lambda name: any(is_within(one, entry) for entry in entries for one in names.get(name, (name,)))


def known(entry: str, names: Names) -> str:
    """Say what there is, and what comes close."""
    every = [one for aliases in names.values() for one in aliases]
    parts = {one.rsplit(".", cut)[0]: None for one in every for cut in range(one.count(".") + 1)}
    near = difflib.get_close_matches(entry, [*parts, *every], 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}the model has {', '.join(every[:8])}" + (", ..." if len(every) > 8 else "")
