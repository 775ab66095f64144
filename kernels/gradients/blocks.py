r"""Per-sample gradients in factored form: what the capture gives to every contraction.

For one batch of :math:`B` samples and :math:`R` cotangents each trainable parameter tensor is covered by exactly one
block. Four blocks suffice for every rule:

* :class:`OuterBlock`: :math:`G = \sum_t \delta_t a_t^T` (linear maps, transposed convolutions);
  :class:`ConvBlock` is the same with :math:`a_t` the unfolded patch, kept as the image;
* :class:`TokenBlock`: :math:`G_v = \sum_{t: \mathrm{id}_t = v} \delta_t` (embeddings);
* :class:`VectorBlock`: the plain gradient (biases, norms, element-wise parameters, the generic fallback);
* :class:`TiedBlock`: the sum of several of these, for one tensor that is used in different roles.

Here :math:`\delta = \partial (v^T f) / \partial(\text{output of the operation})` for cotangent :math:`v`. The
factorization is that of arXiv:1510.01799 (Goodfellow, per-example norms) and arXiv:2206.08720 (Novak et al.,
structured derivatives of the NTK).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.gradients.windows import Windows
from kernels.machine.scratch import Place


@dataclass
class OuterBlock:
    r"""Weight gradient as a sum of outer products over positions, with its bias when it has one.

    With ``groups`` :math:`g > 1` the trailing axes of ``a`` and ``delta`` hold the groups one after another and
    only equal groups are multiplied.

    Attributes
    ----------
    weight : str
        Qualified parameter name.
    shape : torch.Size
        Shape of the whole parameter.
    delta : Tensor, shape (B, R, T, g * O)
        Output gradients for each of ``R`` cotangents.
    inputs : Tensor, shape (B, T, g * I)
        Inputs at the ``T`` positions; a convolution keeps its image instead, so read :attr:`a`.
    groups : int
        Number of channel groups.
    transposed : bool
        The parameter stores ``(I, O)`` rather than ``(O, I)`` (Hugging Face ``Conv1D``, ``x @ W``).
    rows : tuple of int or None
        The block covers only rows ``[start, stop)`` of the parameter's first axis (packed attention projections).
    bias : str or None
        Qualified name of the bias covered by the same block; its gradient is ``bias_scale * delta.sum(T)``.
    bias_scale : float
        Factor in front of the bias in the forward pass (NTK parameterization).
    bias_shape, bias_rows
        As ``shape`` and ``rows``, for the bias.

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import OuterBlock
    >>> block = OuterBlock("weight", torch.Size([1, 2]), torch.ones(1, 1, 1, 1), torch.tensor([[[2.0, 3.0]]]))
    >>> block.gradients()["weight"]  # sample, cotangent, and the parameter's two axes
    tensor([[[[2., 3.]]]])
    """

    weight: str
    shape: torch.Size
    delta: Float[Tensor, "b r t o"]
    inputs: Tensor
    groups: int = 1
    transposed: bool = False
    rows: tuple[int, int] | None = None
    bias: str | None = None
    bias_scale: float = 1.0
    bias_shape: torch.Size = field(default_factory=torch.Size)
    bias_rows: tuple[int, int] | None = None

    @property
    def a(self) -> Float[Tensor, "b t i"]:
        """Inputs at each position, shape (B, T, g * I)."""
        return self.inputs

    @property
    def width(self) -> int:
        """Length ``g * I`` of one position's input."""
        return self.inputs.shape[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """Qualified names of the parameters that the block covers."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def take(self, index: slice) -> OuterBlock:
        """Return the block of a slice of the batch."""
        return replace(self, delta=self.delta[index], inputs=self.inputs[index])

    def outer(self) -> Float[Tensor, "b r g o i"]:
        """Materialize the weight gradient per group, shape (B, R, g, O, I)."""
        return self._outer(self.a)

    def outer_by_band(self, place: Place | None = None) -> list[Float[Tensor, "b r g o j"]]:
        """Materialize the weight gradient in pieces along its inputs, in the order that is the cheapest to form."""
        return [self.outer()]

    def _outer(self, inputs: Float[Tensor, "b t j"]) -> Float[Tensor, "b r g o i"]:
        """Sum over positions of the outer products of the output gradients and these inputs."""
        cotangents = self.delta.shape[1]
        delta = self.delta.unflatten(3, (self.groups, -1)).permute(0, 3, 1, 4, 2).flatten(2, 3)
        inputs = inputs.unflatten(2, (self.groups, -1)).transpose(1, 2)
        return torch.matmul(delta, inputs).unflatten(2, (cotangents, -1)).transpose(1, 2)

    def bias_vector(self) -> Float[Tensor, "b r o"]:
        """Gradient of the bias, shape (B, R, g * O)."""
        return self.delta.sum(2) * self.bias_scale

    def gradients(self) -> dict[str, Tensor]:
        """Plain gradients by parameter name, shape (B, R, *parameter)."""
        outer = self.outer()
        if self.transposed:
            outer = outer.transpose(3, 4)
        return {self.weight: _place(outer, self.shape, self.rows)} | self.bias_gradients()

    def bias_gradients(self) -> dict[str, Tensor]:
        """Plain gradient of the bias by its name, shape (B, R, *bias); nothing without one."""
        if self.bias is None:
            return {}
        return {self.bias: _place(self.bias_vector(), self.bias_shape, self.bias_rows)}


@dataclass
class ConvBlock(OuterBlock):
    """Convolution weight: ``inputs`` is the image (B, g * I / |kernel|, *extent), without the zeros around it.

    ``windows`` says which pixels the ``T`` output positions read.

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import ConvBlock
    >>> from kernels.gradients.windows import Windows
    >>> windows = Windows(kernel=(2,), stride=(1,), dilation=(1,), before=(0,), space=(2,))
    >>> image = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> ConvBlock("weight", torch.Size([1, 1, 2]), torch.ones(1, 1, 2, 1), image, windows=windows).a
    tensor([[[1., 2.],
             [2., 3.]]])
    """

    windows: Windows = field(kw_only=True)

    @cached_property
    def _patches(self) -> Tensor:
        return self.windows.patches(self.inputs)

    @property
    def a(self) -> Float[Tensor, "b t i"]:
        """Unfolded patches, shape (B, T, g * I) with I ordered (channel, kernel offset)."""
        return self._patches

    @property
    def width(self) -> int:
        """Length ``g * I`` of one unfolded patch."""
        return self.inputs.shape[1] * torch.Size(self.windows.kernel).numel()

    def outer(self) -> Float[Tensor, "b r g o i"]:
        """Materialize the weight gradient per group, shape (B, R, g, O, I), without unfolding whole patches."""
        channels = self.inputs.shape[1] // self.groups
        return torch.stack([part.unflatten(4, (channels, -1)) for part in self.outer_by_band()], 5).flatten(4)

    def outer_by_band(self, place: Place | None = None) -> list[Float[Tensor, "b r g o j"]]:
        """Materialize the weight gradient for each kernel offset along the first axis."""
        return [self._outer(band) for band in self.windows.bands(self.inputs, place)]


@dataclass
class TokenBlock:
    """Embedding table: row ``v`` receives the sum of ``delta`` over the positions that read it.

    Attributes
    ----------
    weight, shape
        Qualified parameter name and its shape (V, O).
    ids : Tensor, shape (B, T)
        Row read at each position; -1 where no gradient may flow (``padding_idx``).
    delta : Tensor, shape (B, R, T, O)
        Output gradients, zero where ``ids`` is -1.

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import TokenBlock
    >>> delta = torch.tensor([[[[1.0], [5.0], [3.0]]]])
    >>> block = TokenBlock("table", torch.Size([3, 1]), torch.tensor([[2, 0, 2]]), delta)
    >>> block.gradients()["table"].flatten()  # row 2 was read twice
    tensor([5., 0., 4.])
    """

    weight: str
    shape: torch.Size
    ids: Int[Tensor, "b t"]
    delta: Float[Tensor, "b r t o"]

    @property
    def names(self) -> tuple[str, ...]:
        """Qualified names of the parameters that the block covers."""
        return (self.weight,)

    def take(self, index: slice) -> TokenBlock:
        """Return the block of a slice of the batch."""
        return replace(self, delta=self.delta[index], ids=self.ids[index])

    def gradients(self) -> dict[str, Tensor]:
        """Plain gradient by parameter name, shape (B, R, V, O)."""
        batch, cotangents, _, width = self.delta.shape
        table = self.delta.new_zeros(batch, cotangents, self.shape[0] + 1, width)
        rows = torch.where(self.ids < 0, self.shape[0], self.ids)[:, None, :, None].expand_as(self.delta)
        found = table.scatter_add_(2, rows, self.delta)[:, :, :-1]
        return {self.weight: found.reshape(batch, cotangents, *self.shape)}


@dataclass
class VectorBlock:
    """Plain gradient ``values`` of shape (B, R, D), D the flattened parameter (or its ``rows``).

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import VectorBlock
    >>> VectorBlock("bias", torch.Size([2]), torch.tensor([[[1.0, 2.0]]])).gradients()
    {'bias': tensor([[[1., 2.]]])}
    """

    weight: str
    shape: torch.Size
    values: Float[Tensor, "b r d"]
    rows: tuple[int, int] | None = None
    origin: str = "vector"

    @property
    def names(self) -> tuple[str, ...]:
        """Qualified names of the parameters that the block covers."""
        return (self.weight,)

    def take(self, index: slice) -> VectorBlock:
        """Return the block of a slice of the batch."""
        return replace(self, values=self.values[index])

    def gradients(self) -> dict[str, Tensor]:
        """Plain gradient by parameter name, shape (B, R, *parameter)."""
        return {self.weight: _place(self.values, self.shape, self.rows)}


Role = OuterBlock | ConvBlock | TokenBlock | VectorBlock
Roles = dict[str, list[Role]]


@dataclass
class TiedBlock:
    """One tensor in several different roles: its gradient is the sum of theirs (``wte`` = ``lm_head``).

    Examples
    --------
    >>> import torch
    >>> from kernels.gradients import TiedBlock, VectorBlock
    >>> first = VectorBlock("gain", torch.Size([2]), torch.tensor([[[1.0, 2.0]]]))
    >>> TiedBlock("gain", torch.Size([2]), (first, first)).gradients()
    {'gain': tensor([[[2., 4.]]])}
    """

    weight: str
    shape: torch.Size
    roles: tuple[Role, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Qualified names of the parameters that the block covers."""
        return (self.weight,)

    def take(self, index: slice) -> TiedBlock:
        """Return the block of a slice of the batch."""
        return replace(self, roles=tuple(role.take(index) for role in self.roles))

    def gradients(self) -> dict[str, Tensor]:
        """Plain gradient by parameter name, shape (B, R, *parameter)."""
        parts = [role.gradients()[self.weight] for role in self.roles]
        return {self.weight: torch.stack(parts).sum(0)}


Block = Role | TiedBlock


def _place(values: Tensor, shape: torch.Size, rows: tuple[int, int] | None) -> Tensor:
    lead = values.shape[:2]
    if rows is None:
        return values.reshape(*lead, *shape)
    full = values.new_zeros(*lead, *shape)
    full[:, :, rows[0] : rows[1]] = values.reshape(*lead, rows[1] - rows[0], *shape[1:])
    return full
