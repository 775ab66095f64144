"""Hold the gradients that rules give for one sample against plain autograd of that sample."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.capture.pullback import pull
from kernels.capture.quiet import aside
from kernels.gradients.as_trained import required
from kernels.gradients.blocks import Block
from kernels.gradients.fallback import try_vmap
from kernels.gradients.hooks import through_hooks
from kernels.gradients.merge import merge_roles
from kernels.gradients.one_sample import Checked, Gradients, plain_gradients, relative_distances
from kernels.gradients.twice import gradients_in_another_order, is_taken_twice
from kernels.inputs.outputs import Inputs, batch_size
from kernels.rules.base import Use

# Of a sample alone against the same sample in a batch: units near zero may switch, norms run in float32 anywhere.
COARSE = {torch.float64: 1e-5, torch.float32: 1e-2}


@dataclass(frozen=True)
class Probe:
    """Statistics of the probe pass: logits, blocks of one generic cotangent, seconds of the forward pass."""

    logits: Float[Tensor, "b k"]
    blocks: list[Block]
    seconds: float


def gradients_alone(
    model: nn.Module,
    single: Inputs,
    parameters: Mapping[str, nn.Parameter],
    output: Callable[[Any], Tensor] | None,
) -> tuple[Tensor, Gradients, Tensor]:
    """Logits, gradients and cotangent of one sample alone, or beside itself where torch is right there only.

    Parameters are those of :func:`kernels.gradients.one_sample.plain_gradients`.
    """

    def gradients() -> tuple[Tensor, Gradients, Tensor]:
        return plain_gradients(model, single, parameters, output)

    with gradients_in_another_order(model) as suspects:
        found = _, truth, row = gradients()
    if suspects and is_taken_twice(model, single, output, row, truth, lambda: gradients()[1]):
        return gradients()
    return found


def disagreements(
    model: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    output: Callable[[Any], Tensor] | None,
    ruled: Collection[str],
    fine: float,
    logits: Float[Tensor, "b k"],
    uses: list[Use],
    checked: Checked,
) -> tuple[set[str], set[str], list[Block]]:
    """Find the parameters whose rule does not give plain autograd's gradient.

    A sample alone is not the same sample in a batch to the last digit. Where that may explain a difference, the truth
    is taken from the batch itself, which leaves the order of sums.

    Parameters
    ----------
    model, parameters, output
        As for :func:`kernels.gradients.one_sample.plain_gradients`.
    ruled : collection of str
        Parameters that have rules.
    fine : float
        Relative distance of the same sums in another order.
    logits, uses
        Of a traced pass of the checked samples.
    checked : Checked
        The sample whose gradients are known.

    Returns
    -------
    tuple
        Names of the parameters that disagree, names of those that the pass reached, blocks of the pass.
    """
    with aside():
        with required(model.parameters()):  # a backward pass of the model's own may ask for them
            roles, reached = pull(logits, uses, checked.row.expand(logits.shape[0], 1, -1), last=True)
        blocks = through_hooks(merge_roles(roles, list(parameters)), parameters)
        missing = {name: float(g is not None) for name, g in checked.alone.items() if name in ruled}  # if no block is
        off = missing | relative_distances(blocks, checked.at, checked.alone)
    doubtful = {name for name in missing if not off[name] <= fine}
    wrong = {name for name in doubtful if not off[name] <= COARSE.get(logits.dtype, 0.2)}
    if doubtful - wrong:
        if checked.together is None:
            checked.together = plain_gradients(model, checked.inputs, parameters, output, checked.at)[1]
        off = missing | relative_distances(blocks, checked.at, checked.together)
        wrong |= {name for name in doubtful if not off[name] <= fine}
    return wrong, reached, blocks


def generic_route(
    model: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    output: Callable[[Any], Tensor] | None,
    checked: Checked,
) -> str:
    """Choose ``"vmap"`` for parameters without rules where torch can vectorize this model, and does so correctly.

    Parameters
    ----------
    model, output
        As for :func:`disagreements`.
    parameters : mapping
        Those without rules.
    checked : Checked
        The sample whose gradients are known.
    """
    if any(p._backward_hooks for p in parameters.values()):
        return "loop"  # torch.func calls no hooks
    if not parameters:
        return "vmap"
    rows = checked.row.expand(batch_size(checked.inputs), 2, -1)
    found = try_vmap(model, tuple(parameters), checked.inputs, rows, output)
    if found is None:
        return "loop"
    for name in parameters:
        true = checked.alone[name]
        if true is None:
            continue
        true = true.to_dense() if true.is_sparse else true
        error = float((found[name][checked.at, 1] - true.flatten()).norm())
        if not error <= COARSE.get(rows.dtype, 0.2) * max(float(true.norm()), 1e-30):
            return "loop"
    return "vmap"
