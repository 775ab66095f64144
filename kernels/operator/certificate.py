r"""Check, before the first product, that batches give what plain autograd gives for a sample alone.

For samples n drawn over the whole data: logits and gradient :math:`g = J_n^T v` of the sample alone against those of
its batch, and :math:`v \cdot (J w)_n` against :math:`g \cdot w` for each way to push w forward. Later products check
themselves: :math:`u^T (J J^T u) = \|J^T u\|^2` costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.gradients.fallback import sample
from kernels.gradients.one_sample import generic_cotangent
from kernels.inputs.outputs import batch_size
from kernels.operator.jacobian import ROUTES, Jacobian

DRAWN = 3
_ALONE = {torch.float64: 1e-8, torch.float32: 2e-2}
"""Batch against sample alone; in float32 units near zero change sign with the size of a product."""
_SAME = {torch.float64: 1e-9, torch.float32: 2e-4}
"""Within one batch, where both directions pass the same units."""


@dataclass
class Certificate:
    """What was checked of an operator, and the largest relative difference that was found.

    Attributes
    ----------
    samples : list of int
        Samples that were differentiated alone.
    alone : float
        Gradient in its batch against the sample alone.
    routes : dict of str to float or str
        Each way to push forward: its difference from the pulled gradient, or why it does not work.
    products : int
        Products whose own identity was checked since.
    adjoint : float
        Largest violation of it.
    """

    samples: list[int] = field(default_factory=list)
    alone: float = 0.0
    routes: dict[str, float | str] = field(default_factory=dict)
    products: int = 0
    adjoint: float = 0.0

    def record(self, pushed: float, pulled: float, scale: float, dtype: torch.dtype) -> None:
        """Check one product: two ways to compute one number, whose terms are of size ``scale``.

        Raises
        ------
        RuntimeError
            When they differ by more than rounding.
        """
        off = abs(pushed - pulled) / max(scale, abs(pulled), torch.finfo(torch.float64).tiny)
        self.products, self.adjoint = self.products + 1, max(self.adjoint, off)
        if not off <= _SAME[dtype]:
            raise RuntimeError(
                f"a product is not what its gradients say (relative difference {off:.1e}): the model computed one "
                "batch differently in two passes, or its backward pass is not linear; look for random numbers, for "
                "state that forward() changes, and for a backward() of its own that clips or rounds"
            )


def certify(jacobian: Jacobian, certificate: Certificate, generator: np.random.Generator) -> None:
    """Draw samples, compare, and choose the jacobian's route.

    Raises
    ------
    ValueError
        When a batch does not give what its samples give alone.
    """
    cuts = jacobian.cuts()
    drawn = sorted({0, *generator.choice(jacobian.samples.count, min(DRAWN - 1, jacobian.samples.count)).tolist()})
    differences: dict[str, float | str] = dict.fromkeys(ROUTES[:2], 0.0)
    for n in drawn:
        rows = next(cut for cut in cuts if cut.start <= n < cut.stop)
        _check_sample(jacobian, certificate, differences, rows, n - rows.start)
    certificate.samples += drawn
    certificate.routes |= differences
    right = [name for name in ROUTES[:2] if _fits(differences[name], jacobian.dtype)]
    jacobian.route, jacobian.shared = (right or ["loop"])[0], "double" in right


def _fits(difference: float | str, dtype: torch.dtype) -> bool:
    return not isinstance(difference, str) and difference <= _SAME[dtype]


def _check_sample(
    jacobian: Jacobian, certificate: Certificate, differences: dict[str, float | str], rows: slice, index: int
) -> None:
    inputs = jacobian.batch(rows)
    with jacobian.prepared():
        one = sample(inputs, slice(index, index + 1))
        alone, truth = jacobian.as_trained(one)
        together = jacobian.logits(inputs)
        row = generic_cotangent(alone)
        _compare(together[index].detach(), alone[0], jacobian, rows.start + index)
        cotangent = torch.zeros_like(together)
        cotangent[index] = row
        # A second direction: other samples of the batch, whose tangents differ from the gradient's own
        mixed = torch.outer(1.0 + torch.arange(batch_size(inputs), dtype=row.dtype, device=row.device).sin(), row)
        found, other = jacobian.pulled(together, torch.stack([cotangent, mixed]))
        if not bool(torch.stack([truth, found, other]).isfinite().all()):
            jacobian.refuse_infinite([rows])
        size = float(truth.norm())
        off = float((found - truth).norm()) / max(size, float(found.norm()), 1e-300)
        certificate.alone = max(certificate.alone, off)
        if not off <= _ALONE[jacobian.dtype]:
            raise ValueError(
                f"the gradient of {jacobian.samples.name} sample {rows.start + index} depends on the other samples of "
                f"its batch (relative difference {off:.1e}); kernels need independent samples: check batch "
                "normalization, dropout and padding masks, or pass batch_size=1"
            )
        directions = torch.stack([found, other])
        expected = directions @ found
        scale = directions.norm(dim=1) * found.norm()
        for route in ROUTES[:2]:
            if not isinstance(differences[route], str):
                differences[route] = _difference(jacobian, inputs, directions, route, index, row, expected, scale)
    if jacobian.device.type == "cuda":
        torch.cuda.synchronize(jacobian.device)


def _difference(
    jacobian: Jacobian,
    inputs: Any,
    directions: Tensor,
    route: str,
    index: int,
    row: Tensor,
    expected: Tensor,
    scale: Tensor,
) -> float | str:
    try:
        _, tangents = jacobian.tangents(inputs, directions, route)
    except (RuntimeError, NotImplementedError, TypeError, ValueError, AttributeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:160]}" if str(error) else type(error).__name__
    off = ((tangents[:, index] @ row - expected).abs() / scale.clamp_min(torch.finfo(scale.dtype).tiny)).max()
    return float(off)


def _compare(together: Tensor, alone: Tensor, jacobian: Jacobian, n: int) -> None:
    deviation = float((together - alone).abs().max())
    if not deviation <= (1e-6 if jacobian.dtype == torch.float64 else 1e-3) * (1 + float(alone.abs().max())):
        raise ValueError(
            f"the output of {jacobian.samples.name} sample {n} depends on the other samples of its batch, or on chance "
            f"(deviation {deviation:.3g}): check batch normalization, dropout and padding masks, or pass batch_size=1"
        )
