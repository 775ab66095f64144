"""Critical learning rate of any network and loss: two over the largest Gauss-Newton eigenvalue on a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from kernels.arguments import checked_arguments


def gauss_newton_top(
    outputs: Tensor,
    loss: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    generator: torch.Generator,
    iterations: int = 50,
    tolerance: float = 1e-3,
) -> float:
    """Largest eigenvalue of ``J^T H J`` by power iteration.

    ``J`` is the Jacobian of the outputs in the parameters and ``H`` the Hessian of the loss in the outputs; both are
    only multiplied with, ``J v`` by differentiating ``J^T u`` in ``u``.

    Parameters
    ----------
    outputs : Tensor (n, c)
        Network outputs on a batch, with their graph.
    loss : callable
        From outputs to the scalar that is trained (a mean over samples).
    parameters : sequence of Tensor
        Trained parameters.
    generator : torch.Generator
        CPU generator of the start vector.
    iterations, tolerance
        Stop when the eigenvalue changes relatively by less than ``tolerance``, or after ``iterations``.

    Raises
    ------
    ValueError
        If the outputs do not depend on the parameters, or the curvature is zero.
    """
    if not outputs.requires_grad:
        raise ValueError("the outputs carry no graph: run the network with gradients enabled")
    vector = [torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device) for p in parameters]
    dummy = torch.zeros_like(outputs, requires_grad=True)
    pulled = torch.autograd.grad(
        outputs, parameters, dummy, create_graph=True, materialize_grads=True, allow_unused=True
    )
    free = outputs.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(free), free, create_graph=True)
    value = 0.0
    for _ in range(iterations):
        norm = torch.sqrt(sum((part**2).sum() for part in vector))  # type: ignore[arg-type]
        if not float(norm) > 0:
            raise ValueError("the Gauss-Newton matrix is zero on this batch: there is no critical rate")
        vector = [part / norm for part in vector]
        (pushed,) = torch.autograd.grad(pulled, dummy, vector, retain_graph=True)
        curved = torch.zeros_like(pushed)
        if slope.requires_grad:
            (curved,) = torch.autograd.grad(slope, free, pushed, retain_graph=True)
        following = torch.autograd.grad(
            outputs, parameters, curved, retain_graph=True, materialize_grads=True, allow_unused=True
        )
        last, value = value, float(sum((a * b).sum() for a, b in zip(vector, following, strict=True)))
        vector = list(following)
        if abs(value - last) <= tolerance * abs(value) and value > 0:
            break
    if not value > 0:
        raise ValueError("the Gauss-Newton matrix is zero on this batch: there is no critical rate")
    return value


@checked_arguments
def gauss_newton_critical_rate(
    outputs: Tensor, loss: Callable[[Tensor], Tensor], parameters: Sequence[Tensor], generator: torch.Generator
) -> float:
    """Learning rate ``2 / lambda_max`` at which plain gradient descent on this batch stops being stable.

    For half the mean squared error this is ``2 B / lambda_max`` of the batch's tangent kernel (arXiv:2211.06506).

    Examples
    --------
    >>> import torch
    >>> from analysis.spectra import gauss_newton_critical_rate
    >>> x, y = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [6.0]])
    >>> weight = torch.zeros(1, 1, requires_grad=True)
    >>> def loss(outputs):
    ...     return 0.5 * ((outputs - y) ** 2).mean()
    >>> rate = gauss_newton_critical_rate(x @ weight, loss, [weight], torch.Generator().manual_seed(0))
    >>> round(rate, 4)  # 2 over the mean of x squared
    0.4
    """
    if not len(parameters):
        raise ValueError("parameters is empty: give those of the network, such as list(model.parameters()).")
    return 2.0 / gauss_newton_top(outputs, loss, parameters, generator)
