"""One fully connected layer with its activation, in three parameterizations."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn

from models.configs import MLPConfig
from models.fields import choices_of

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "identity": nn.Identity,
}
PARAMETERIZATIONS = choices_of(MLPConfig, "parameterization")


def make_activation(name: str) -> nn.Module:
    """Build an activation by name; a ValueError lists the names that exist."""
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class Dense(nn.Module):
    """Fully connected layer ``activation(s_out (W (s_in x) + b))``.

    The factors depend on the parameterization and are applied outside ``linear``, an ordinary
    :class:`torch.nn.Linear`, so that everything that hooks linear layers sees this one.

    Parameters
    ----------
    fan_in, width : int
        Inputs and outputs.
    activation : str
        One of :data:`ACTIVATIONS`.
    bias : bool
        Whether there is a bias.
    parameterization : {"standard", "ntk", "torchntk"}
        ``standard``: no factors. ``ntk``: s_in = 1/sqrt(fan_in), bias unscaled (arXiv 1806.07572 with
        beta = 1). ``torchntk``: s_out = 1/sqrt(width), the layer's own width, as in the public code of
        arXiv 2305.14585.
    """

    def __init__(self, fan_in: int, width: int, activation: str, bias: bool, parameterization: str) -> None:
        super().__init__()
        if parameterization not in PARAMETERIZATIONS:
            raise ValueError(
                f"unknown parameterization {parameterization!r}; choose one of {', '.join(PARAMETERIZATIONS)}"
            )
        self.linear = nn.Linear(fan_in, width, bias=bias)
        self.activation = make_activation(activation)
        self.input_scale = 1 / math.sqrt(fan_in) if parameterization == "ntk" else 1.0
        self.output_scale = 1 / math.sqrt(width) if parameterization == "torchntk" else 1.0

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        """Map a batch of rows."""
        if self.input_scale != 1.0:
            x = x * self.input_scale
        z = self.linear(x)
        if self.output_scale != 1.0:
            z = z * self.output_scale
        return self.activation(z)
