"""Forward passes whose gradients nobody needs, of networks that may differentiate inside their own ``forward``.

A network for a differential equation, or one whose output is a force, calls ``torch.autograd.grad`` on its inputs. It
cannot run under ``torch.no_grad``, which saves every other network the memory of a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")
_NEEDS = "does not require grad"


class ForwardAlone:
    """Run forward passes without gradients, or with them once the model has shown that it needs them.

    Examples
    --------
    >>> import torch
    >>> from kernels.capture.forward_alone import ForwardAlone
    >>> def slope():
    ...     x = torch.ones(2, requires_grad=True)
    ...     return torch.autograd.grad((x**3).sum(), x)[0]
    >>> ForwardAlone()(slope)
    tensor([3., 3.])
    """

    def __init__(self) -> None:
        self.differentiates = False

    def __call__(self, run: Callable[[], Result]) -> Result:
        """Return what ``run`` returns, which is called again where it needs gradients; its tensors may have a graph."""
        if not self.differentiates:
            try:
                with torch.no_grad():
                    return run()
            except RuntimeError as error:
                if _NEEDS not in str(error):
                    raise
        with torch.enable_grad():
            found = run()
        self.differentiates = True
        return found
