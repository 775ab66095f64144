"""Fully connected networks of any widths, in standard or NTK parameterization."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from models.dense import Dense
from models.initialization import initialize_


class MLP(nn.Module):
    """Fully connected network on flattened inputs.

    Module paths: ``hidden.0 ... hidden.L-1`` (outputs are post-activation features) and ``head``.
    With ``widths=[100, 100, 100]``, ``parameterization="torchntk"``, ``init="normal"`` and one output on
    28x28 images this is the published MNIST2 network (arXiv 2305.14585): 98,801 parameters.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample; flattened.
    n_outputs : int
        Number of logits, 1 for a single-logit binary network, or of regression targets.
    widths : sequence of int
        Hidden widths, first layer first; empty for a linear model.
    activation : str
        Hidden activation, see :data:`models.dense.ACTIVATIONS`.
    output_activation : str
        Activation on the outputs; ``identity`` leaves logits.
    bias : bool
        Biases on all layers or none.
    parameterization : {"standard", "ntk", "torchntk"}
        See :class:`models.dense.Dense`. Under ``torchntk`` the output layer is not scaled.
    init : {"default", "normal", "glorot"}
        See :func:`models.initialization.initialize_`.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_outputs: int,
        widths: Sequence[int] = (512, 512),
        activation: str = "relu",
        output_activation: str = "identity",
        bias: bool = True,
        parameterization: str = "standard",
        init: str = "default",
    ) -> None:
        super().__init__()
        fans = [math.prod(input_shape), *widths]
        if min(fans) < 1 or n_outputs < 1:
            raise ValueError(f"layer sizes must be positive, got {fans} and {n_outputs} outputs")
        self.hidden = nn.ModuleList(
            Dense(fan_in, width, activation, bias, parameterization)
            for fan_in, width in zip(fans[:-1], fans[1:], strict=True)
        )
        head = "standard" if parameterization == "torchntk" else parameterization
        self.head = Dense(fans[-1], n_outputs, output_activation, bias, head)
        initialize_(self, init)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n c"]:
        """Map a batch to logits (or regression outputs)."""
        x = x.flatten(1)
        for layer in self.hidden:
            x = layer(x)
        return self.head(x)


def build_mlp(
    *,
    input_shape: Sequence[int],
    n_classes: int,
    outputs: int | None = None,
    frozen_layers: Sequence[int] = (),
    **options: object,
) -> MLP:
    """Build an :class:`MLP`; ``outputs`` overrides the number of outputs and ``frozen_layers`` fixes some.

    Parameters
    ----------
    input_shape, n_classes
        Shape of one sample and number of classes (or regression targets).
    outputs : int, optional
        Number of outputs when it is not the number of classes, such as 1 for a single logit.
    frozen_layers : sequence of int
        Hidden layers, counted from 0 at the input, that are not trained.
    **options
        Passed to :class:`MLP`.
    """
    model = MLP(input_shape, n_classes if outputs is None else outputs, **options)  # type: ignore[arg-type]
    for index in frozen_layers:
        if not 0 <= index < len(model.hidden):
            raise ValueError(f"frozen_layers names layer {index}; hidden layers are 0 to {len(model.hidden) - 1}")
        model.hidden[index].requires_grad_(False)
    return model
