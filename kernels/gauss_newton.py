r"""Products with the Gauss-Newton matrix of a data set, :math:`\sum_i J_i^T (\partial^2\ell_i/\partial f^2) J_i / n`.

Neither the matrix nor a per-sample gradient is formed: a product is one push through the network and one pull
(:mod:`kernels.operator.jacobian`), in float64.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.inputs.samples import Samples
from kernels.operator.certificate import Certificate, certify
from kernels.operator.jacobian import Jacobian

_ROWS = 256
"""Samples of a pass."""


class GaussNewton:
    """Gauss-Newton matrix H of a mean loss over training points, and scores of these points.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; a float64 copy is used.
    data : Tensor, mapping of tensors, or DataLoader
        Training points, as for :func:`kernels.kernel_matrix`.
    curvatures : Tensor, shape (n, C, C)
        Second derivative of each point's loss by its logits.
    slopes : Tensor, shape (n, C)
        First derivative.

    Raises
    ------
    ValueError
        If the samples of a batch depend on each other, or the derivatives are of other points or logits or not finite.

    Examples
    --------
    >>> import torch
    >>> from kernels import GaussNewton
    >>> model, points = torch.nn.Linear(2, 1, bias=False), torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    >>> matrix = GaussNewton(model, points, torch.ones(2, 1, 1), torch.ones(2, 1))  # squared loss: XᵀX / n
    >>> matrix.product(torch.eye(2))
    tensor([[0.5000, 0.0000],
            [0.0000, 2.0000]], dtype=torch.float64)
    """

    def __init__(
        self, model: nn.Module, data: Any, curvatures: Float[Tensor, "n c c"], slopes: Float[Tensor, "n c"]
    ) -> None:
        network = copy.deepcopy(model).double().eval()
        parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.names = list(parameters)
        self.jacobian = Jacobian(network, parameters, Samples(data, None, "train"), None, torch.float64, _ROWS)
        device = self.jacobian.device
        self.curvatures, self.slopes = curvatures.double().to(device), slopes.double().to(device)
        self._require_derivatives()
        self.certificate = Certificate()
        certify(self.jacobian, self.certificate, np.random.default_rng([0, *b"certificate"]))

    def _require_derivatives(self) -> None:
        with self.jacobian.prepared():
            logits = self.jacobian.logits(self.jacobian.batch(slice(0, 1))).shape[1]
        points = self.jacobian.samples.count
        shapes = tuple(self.slopes.shape), tuple(self.curvatures.shape)
        if shapes != ((points, logits), (points, logits, logits)):
            raise ValueError(
                f"slopes {shapes[0]} and curvatures {shapes[1]} must be ({points}, {logits}) and ({points}, {logits}, "
                f"{logits}): one derivative of each of {points} points by its {logits} logits"
            )
        for name, values in (("slopes", self.slopes), ("curvatures", self.curvatures)):
            if not bool(values.isfinite().all()):
                raise ValueError(f"{name} has values that are NaN or infinite")

    def _require_width(self, vectors: Tensor) -> None:
        if vectors.ndim != 2 or vectors.shape[1] != self.width:
            raise ValueError(f"vectors of shape {tuple(vectors.shape)} must be rows of {self.width} parameters")

    @property
    def width(self) -> int:
        """Number of parameters."""
        return self.jacobian.width

    def split(self, vectors: Float[Tensor, "m p"]) -> dict[str, Tensor]:
        """Vectors by parameter name, each with a leading axis of m."""
        parts = vectors.split(self.jacobian.sizes, 1)
        shapes = [p.shape for p in self.jacobian.parameters.values()]
        return {n: part.reshape(-1, *shape) for n, part, shape in zip(self.names, parts, shapes, strict=True)}

    def join(self, vectors: dict[str, Tensor]) -> Float[Tensor, "m p"]:
        """Inverse of :meth:`split`."""
        return torch.cat([vectors[name].flatten(1) for name in self.names], 1)

    def product(self, vectors: Float[Tensor, "m p"]) -> Float[Tensor, "m p"]:
        """Each row times H."""
        self._require_width(vectors)
        weighted: dict[int, Tensor] = {}

        def keep(rows: slice, logits: Tensor, tangents: Tensor) -> None:
            weighted[rows.start] = torch.einsum("mbc,bcd->mbd", tangents, self.curvatures[rows])

        self.jacobian.push(vectors.double(), keep)
        pulled = self.jacobian.pull(lambda rows, logits: weighted[rows.start], len(vectors))
        return pulled / self.jacobian.samples.count

    def along_gradients(self, vectors: Float[Tensor, "m p"]) -> Float[Tensor, "m n"]:
        """Product of each row with the loss gradient of every training point."""
        self._require_width(vectors)
        found = torch.zeros(len(vectors), self.jacobian.samples.count, dtype=torch.float64, device=vectors.device)

        def keep(rows: slice, logits: Tensor, tangents: Tensor) -> None:
            found[:, rows] = torch.einsum("mbc,bc->mb", tangents, self.slopes[rows])

        self.jacobian.push(vectors.double(), keep)
        return found
