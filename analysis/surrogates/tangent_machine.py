"""A fitted tangent-kernel machine as a network: scores that can be differentiated by their input."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import jacrev, vmap

from kernels.gradients.vmap_hazards import Called

KINDS = ("pntk", "trntk")


class TangentMachine(nn.Module):
    """Linear machine on normalized gradients, s(x) = V φ(x)/‖φ(x)‖ + b with V = Σ_i w_i φ(x_i)/‖φ(x_i)‖.

    φ is the gradient of the summed outputs (pNTK) or the gradients of every output (trNTK) by all parameters, so that
    s(x) = Σ_i w_i κ(x, x_i) + b for the cosine kernel κ (arXiv:2305.14585, section 3), rebuilt without the kernel's
    rows as the limitation study of the same paper needs it.

    Parameters
    ----------
    network : nn.Module
        In evaluation mode; its parameters are read, not trained.
    train : Tensor, shape (n, ...)
        Training inputs of the kernel.
    weights, offsets : Tensor, shapes (C, n), (C,)
        Of the fitted machine.
    kind : {"pntk", "trntk"}
        Kernel.
    chunk : int
        Training rows whose gradients are in memory at once.

    Raises
    ------
    ValueError
        If the kind is unknown, or weights and training points do not belong together.

    Examples
    --------
    >>> import torch
    >>> from analysis.surrogates import TangentMachine
    >>> network = torch.nn.Linear(2, 2)
    >>> train = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> machine = TangentMachine(network, train, torch.tensor([[1.0, -1.0]]), torch.zeros(1), "pntk")
    >>> machine(torch.tensor([[3.0, 0.0], [0.0, 3.0]])).round(decimals=3)
    tensor([[ 0.6710],
            [-0.6710]])
    """

    def __init__(
        self,
        network: nn.Module,
        train: Tensor,
        weights: Float[Tensor, "C n"],
        offsets: Float[Tensor, " C"],
        kind: str,
        chunk: int = 50,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is not one of {', '.join(KINDS)}.")
        if weights.shape[1] != len(train):
            raise ValueError(f"{weights.shape[1]} weights for {len(train)} training points.")
        self.kind = kind
        self.offsets = offsets
        self._network = [network]  # in a list: its parameters are not parameters of this module
        self._parameters_of = {name: value.detach() for name, value in network.named_parameters()}
        with torch.no_grad():
            parts = zip(train.split(chunk), weights.split(chunk, dim=1), strict=True)
            directions = [part.to(train.dtype) @ self._features(rows) for rows, part in parts]
        self.directions: Float[Tensor, "C p"] = torch.stack(directions).sum(0)

    def forward(self, inputs: Tensor) -> Float[Tensor, "m C"]:
        """Score inputs, shape (m, C); differentiable by them."""
        return self._features(inputs) @ self.directions.T + self.offsets.to(inputs.dtype)

    def _features(self, inputs: Tensor) -> Float[Tensor, "m p"]:
        jacobians = vmap(jacrev(self._outputs), in_dims=(None, 0))(self._parameters_of, inputs)
        flat = torch.cat([part.flatten(2) for part in jacobians.values()], dim=2)
        rows = flat.sum(1) if self.kind == "pntk" else flat.flatten(1)
        # A point without a gradient is similar to nothing, as in the kernel.
        return rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)

    def _outputs(self, parameters: dict[str, Tensor], one: Tensor) -> Tensor:
        return Called(self._network[0], parameters)(one[None])[0]
