"""What a rule is: an operation that read parameters, and how its parameter gradients factorize."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from kernels.gradients.blocks import Role
from kernels.gradients.derived import Tape


@dataclass(frozen=True)
class ParameterView:
    """A parameter, or a slice of its first axis, reshaped, transposed or scaled by a constant.

    ``shape`` is the view's own shape; ``rows`` the slice ``[start, stop)`` of the parameter's first axis, None for
    all of it; ``scale`` the constant in front.

    Examples
    --------
    >>> import torch
    >>> from kernels.rules import ParameterView
    >>> head = ParameterView("attention.in_proj_weight", torch.Size([12, 4]), torch.Size([4, 4]), rows=(0, 4))
    >>> head.rows, head.scale
    ((0, 4), 1.0)
    """

    name: str
    parameter_shape: torch.Size
    shape: torch.Size
    rows: tuple[int, int] | None = None
    transposed: bool = False
    scale: float = 1.0


@dataclass
class Use:
    """One operation that read parameters.

    Attributes
    ----------
    rule : Rule
        How to turn output gradients into blocks.
    arguments : dict
        The call's arguments by name, parameters taken out.
    views : dict
        Parameter views by argument name.
    key : tuple
        Names of the parameters, and the occurrence index of this use of them; stable between batches.
    layout : str
        Where the samples are: ``"batch"`` (first axis, positions folded behind the samples), ``"minor"`` (first axis,
        positions folded before the samples), ``"second"`` (second axis) or ``"shared"`` (the operation saw no batch
        axis; its output was expanded over the batch).
    batch : int
        Number of samples.
    shape : torch.Size
        Shape of the (expanded) output.
    edge : GradientEdge or None
        Where the output's gradient is found; None while there is no output.
    tape : Tape or None
        Of the pass, which knows the parameters behind derived tensors.
    continues : bool
        Whether further cotangents of the same pass follow, for which a rule may keep what it has computed.
    """

    rule: Rule
    arguments: dict[str, Any]
    views: dict[str, ParameterView]
    key: tuple[Any, ...]
    layout: str
    batch: int
    shape: torch.Size
    edge: GradientEdge | None
    versions: list[tuple[Tensor, int]] = field(default_factory=list)
    tape: Tape | None = None
    continues: bool = False

    def mutated(self) -> bool:
        """Tell whether a saved input was overwritten after the operation read it."""
        return any(tensor._version != version for tensor, version in self.versions)

    def owners(self) -> set[str]:
        """Names of the parameters that it read, also through derived tensors."""
        names = {view.name for view in self.views.values()}
        return names if self.tape is None else names.union(*map(self.tape.owners, names))


class MisfitError(RuntimeError):
    """A rule that cannot make blocks of what an operation left; ``owners`` are the parameters that it read."""

    def __init__(self, use: Use, error: Exception) -> None:
        self.owners = use.owners()
        super().__init__(f"the rule of {use.rule.name} does not fit {', '.join(sorted(self.owners))}: {error}")


@dataclass(frozen=True)
class Rule:
    """How one kind of operation's parameter gradients factorize.

    ``bind(*args, **kwargs)`` names the call's arguments; ``parameters`` lists the arguments that may be parameters;
    ``accepts(use)`` says whether the rule is exact for this call; ``reduce(use, delta)`` turns the output gradient of
    one cotangent into what is kept of it, leading axis = samples; ``build(use, kept)`` makes the blocks from the
    stack of these, (B, R, ...).

    Examples
    --------
    >>> import torch
    >>> from kernels.rules.table import RULES
    >>> rule = RULES[torch.nn.functional.linear]
    >>> rule.name, rule.parameters
    ('linear', ('weight', 'bias'))
    """

    name: str
    bind: Callable[..., dict[str, Any]]
    parameters: tuple[str, ...]
    accepts: Callable[[Use], bool]
    reduce: Callable[[Use, Tensor], Tensor]
    build: Callable[[Use, Tensor], list[Role]]
