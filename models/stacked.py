"""Many networks of one architecture as one: weights and running statistics carry a leading member axis."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

Loss = Callable[[Tensor, Tensor], Tensor]


class StackedNetworks:
    """Members of one architecture, evaluated together in one vectorized pass.

    Members do not interact: a member's loss depends only on its own slice of every tensor, so the gradient of the
    sum of losses is each member's own gradient, and an optimizer that acts entry by entry trains them all.

    Parameters
    ----------
    networks : sequence of nn.Module
        Freshly built networks of equal shapes; not changed.
    device : torch.device
        Where the stacked tensors live.
    center_output : bool
        Subtract each member's output at initialization (arXiv 1812.07956), computed in evaluation mode.

    Attributes
    ----------
    weights : dict of str to nn.Parameter
        Parameter name to (m, ...) tensor; frozen parameters take no gradient.
    buffers : dict of str to Tensor
        Running statistics and the like, (m, ...), updated in place by a pass in training mode.

    Raises
    ------
    ValueError
        If the architecture has dropout: random masks in a vectorized pass cannot be drawn from each member's own
        random stream.

    Examples
    --------
    >>> import torch
    >>> from models import StackedNetworks, build_model, loss_named
    >>> members = [build_model("mlp", input_shape=(4,), n_classes=2, seed=seed, widths=[8]) for seed in range(3)]
    >>> stack = StackedNetworks(members, torch.device("cpu"))
    >>> inputs, labels = torch.zeros(3, 5, 4), torch.zeros(3, 5, dtype=torch.int64)  # one batch a member
    >>> losses, outputs = stack.training_pass(inputs, labels, loss_named("cross_entropy"))
    >>> losses.shape, outputs.shape
    (torch.Size([3]), torch.Size([3, 5, 2]))
    """

    def __init__(self, networks: Sequence[nn.Module], device: torch.device, center_output: bool = False) -> None:
        first = networks[0]
        if any(isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0 for layer in first.modules()):
            raise ValueError("the network has dropout, whose masks cannot be drawn from each member's random stream")
        trained = {name: parameter.requires_grad for name, parameter in first.named_parameters()}
        parameters, buffers = stack_module_state(list(networks))
        self.weights: dict[str, nn.Parameter] = {
            name: nn.Parameter(value.detach().to(device), trained[name]) for name, value in parameters.items()
        }
        self.buffers: dict[str, Tensor] = {name: value.detach().to(device) for name, value in buffers.items()}
        self._own_names, self._slots = _names(first)
        self._saved = [name for name in first.state_dict() if name in self._own_names]
        # The two copies on the meta device hold structure and mode only; every call passes the tensors in.
        self._training = copy.deepcopy(first).to("meta").train()
        self._evaluation = copy.deepcopy(self._training).eval()
        self._initial: tuple[dict[str, Tensor], dict[str, Tensor]] | None = None
        if center_output:
            self._initial = tuple(  # type: ignore[assignment]
                {name: value.detach().clone() for name, value in part.items()} for part in (self.weights, self.buffers)
            )

    def __len__(self) -> int:
        """Return the number of members."""
        return len(next(iter(self.weights.values())))

    def training_pass(
        self, inputs: Tensor, targets: Tensor, loss: Loss, offsets: Tensor | None = None
    ) -> tuple[Float[Tensor, " m"], Float[Tensor, "m n c"]]:
        """Run every member on its own batch in training mode.

        Parameters
        ----------
        inputs : Tensor, shape (m, n, ...)
            One batch per member.
        targets : Tensor, shape (m, n) or (m, n, d)
            Labels, or regression targets.
        loss : callable
            One of :data:`models.losses.LOSSES`.
        offsets : Tensor, shape (m, n, c), optional
            Outputs at initialization where they are known; otherwise centered outputs cost a pass more.

        Returns
        -------
        losses : Tensor, shape (m,)
            Mean loss of each member's batch; differentiable.
        outputs : Tensor, shape (m, n, c)
            Detached.
        """
        if self._initial is None:
            offsets = None
        elif offsets is None:
            with torch.no_grad():
                offsets = vmap(self._call(self._evaluation))(*self._initial, inputs)

        forward = self._call(self._training)

        def member(
            weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor, y: Tensor, offset: Tensor | None
        ) -> tuple[Tensor, Tensor]:
            outputs = forward(weights, buffers, x)
            if offset is not None:
                outputs = outputs - offset
            return loss(outputs, y), outputs

        axes = (0, 0, 0, 0, None if offsets is None else 0)
        losses, outputs = vmap(member, in_dims=axes)(self.weights, self.buffers, inputs, targets, offsets)
        return losses, outputs.detach()

    def clip_gradients_(self, limit: float) -> None:
        """Scale each member's gradient down to a norm of at most ``limit``, as torch does for one network."""
        gradients = [value.grad for value in self.weights.values() if value.grad is not None]
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factors = (limit / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))

    def state_of(self, member: int) -> dict[str, Tensor]:
        """Weights and buffers of one member, by the names of its ``state_dict``; views without gradient."""
        stacked = {**self.weights, **self.buffers}
        return {name: stacked[self._own_names[name]][member].detach() for name in self._saved}

    def _call(self, skeleton: nn.Module) -> Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor], Tensor]:
        def call(weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
            own = {**weights, **buffers}
            given = {name: own[self._own_names[name]] for name in self._slots}
            return functional_call(skeleton, given, (x,), tie_weights=False)

        return call


def _names(network: nn.Module) -> tuple[dict[str, str], list[str]]:
    """First name of the tensor that each name stands for, and one name of each place that holds a tensor.

    A tensor in two places (tied weights) has two names, and so has each tensor of a module that is in two places. The
    copies on the meta device do not keep what is tied, and torch would replace a tensor twice that has two names.
    """
    first: dict[int, str] = {}
    own: dict[str, str] = {}
    places: dict[tuple[int, str], str] = {}
    for find in (network.named_parameters, network.named_buffers):
        for name, tensor in find(remove_duplicate=False):
            own[name] = first.setdefault(id(tensor), name)
            owner, _, attribute = name.rpartition(".")
            places.setdefault((id(network.get_submodule(owner)), attribute), name)
    return own, list(places.values())
