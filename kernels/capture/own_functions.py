"""Show a trace the functions that a model differentiates by itself, which torch hides from function modes.

``torch.autograd.Function.apply`` does not ask the modes that are active. A parameter that it reads would look as if
nothing had read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch

from kernels.machine.process_state import original, replaced_here


@contextmanager
def own_functions(watch: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> Iterator[None]:
    """Send calls of autograd functions to ``watch``, as (function, arguments, named arguments), in this thread.

    Examples
    --------
    >>> import torch
    >>> from kernels.capture.own_functions import own_functions
    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return 2 * x
    >>> with own_functions(lambda func, args, kwargs: func(*args, **kwargs) + 1):
    ...     Double.apply(torch.tensor(3.0))
    tensor(7.)
    """
    place: Any = torch.autograd.Function
    plain = original(place, "apply")
    with replaced_here(place, "apply", lambda cls, *args, **kwargs: watch(MethodType(plain, cls), args, kwargs)):
        yield
