r"""A kernel as an operator: products, trace, norm, rank, eigenvalues and alignment without the matrix.

With :math:`K = \sum_r G_r G_r^T`, a product :math:`K v` is :math:`G_r^T v` (backward passes) and then :math:`G_r w`
(tangents). Time and memory grow with the samples, not with their square.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.contraction.finish import refuse_zero
from kernels.contraction.result import inverse_roots
from kernels.gram import plan_kernel
from kernels.inputs.loan import Loan
from kernels.inputs.model_checks import check_model
from kernels.inputs.options import KernelOptions, documents, entries
from kernels.machine.precision import precision_named
from kernels.operator.cost import OperatorPlan
from kernels.operator.multiply import Multiplier
from kernels.operator.options import OperatorOptions, operator_options
from kernels.operator.spectral_numbers import Facts, SpectralNumbers
from kernels.operator.targets import read_vectors

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


@documents(OperatorOptions)
class KernelOperator(SpectralNumbers):
    """A kernel matrix of a classifier that is multiplied with, and never formed.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode, on the device to use. Its weights must stay as they are.
    train, test : Tensor, mapping of tensors, or DataLoader
        As for :func:`kernels.kernel_matrix`. Without ``test`` the kernel is train x train, with it test x train.
    **options : OperatorOptions
        Kind, arithmetic, memory and more: see the section Options.

    Attributes
    ----------
    metadata : dict
        Kind, options, passes so far, and ``certificate``: samples that were compared with plain autograd, products
        whose identity :math:`u^T K u = |G^T u|^2` was checked, and the largest differences.

    Raises
    ------
    ValueError, TypeError, RuntimeError
        With the sample, layer or option concerned.

    Examples
    --------
    >>> import torch
    >>> from kernels import KernelOperator
    >>> points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> op = KernelOperator(torch.nn.Linear(2, 3), points, kind="trntk")  # 3 classes times (x @ x.T + 1)
    >>> op.shape, op @ torch.tensor([1.0, 0.0, 0.0])
    ((3, 3), tensor([6., 3., 6.]))
    >>> float(op.trace()), op.eigenvalues(1).values.round(3).tolist()
    (21.0, [17.485])
    """

    def __init__(self, model: nn.Module, train: Any, test: Any = None, **options: Unpack[OperatorOptions]) -> None:
        self.options = operator_options(**options)
        self._arithmetic = precision_named(self.options["precision"])
        self._arithmetic.refuse_narrowing(model)
        self._loan = Loan(model, self._arithmetic.passes, eval_mode=self.options["eval_mode"])
        with self._loan.lent() as own, self._arithmetic.strict_passes():
            self._products = Multiplier(own, train, test, self.options, self._arithmetic.passes)
        self._versions = [_version(p) for p in model.parameters()]
        super().__init__()
        self._roots: tuple[Tensor, Tensor] | None = None

    @property
    def square(self) -> bool:
        """Whether both sides are the training samples."""
        return self._products.square

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns; samples, or samples times logits for ``entk``."""
        return self._products.rows.size, self._products.columns.size

    @property
    def metadata(self) -> dict[str, Any]:
        """How products are computed, what they have cost, and what was checked."""
        return self._products.description() | {
            "normalize": self.options["normalize"],
            "precision": self.options["precision"],
            "certificate": asdict(self._products.certificate),
        }

    def __repr__(self) -> str:
        """Return kind, shape and arithmetic."""
        rows, columns = self.shape
        return f"KernelOperator({self.options['kind']}, {rows} x {columns}, {self.options['precision']})"

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    __array_ufunc__ = None  # `array @ op` is ours, not NumPy's attempt to make an array of the operator

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Refuse to be made an array."""
        raise TypeError(
            "a KernelOperator holds no matrix: multiply with it, or pass the same arguments to kernel_matrix"
        )

    def __matmul__(self, v: Any) -> Any:
        """Multiply with a vector (n,) or a block of vectors (n, k); a tensor gives a tensor, an array an array."""
        given, back = read_vectors(v, self.shape[1], "columns")
        return back(self._times(given, transposed=False))

    def __rmatmul__(self, v: Any) -> Any:
        """Multiply a vector (m,), or the rows of a block (k, m), with the kernel."""
        given, back = read_vectors(v.T if getattr(v, "ndim", 0) == 2 else v, self.shape[0], "rows")
        found = back(self._times(given, transposed=True))
        return found.T if found.ndim == 2 else found

    def diagonal(self) -> Float[Tensor, " n"]:
        """Exact diagonal of a square kernel in float64, from one pass of the engine; ones under a cosine."""
        self._require_square("a diagonal")
        if self.options["normalize"]:
            return (self._scales()[0] > 0).double()
        with self._ready():
            return self._products.squared_norms()[0]

    def as_linear_operator(self) -> LinearOperator:
        """Return SciPy's view of the kernel, for ``scipy.sparse.linalg``.

        Examples
        --------
        >>> import torch
        >>> from scipy.sparse.linalg import cg
        >>> from kernels import KernelOperator
        >>> op = KernelOperator(torch.nn.Linear(2, 1), torch.eye(2)).as_linear_operator()  # [[2, 1], [1, 2]]
        >>> [float(one.round(5)) for one in cg(op, [3.0, 3.0])[0]]
        [1.0, 1.0]
        """
        from scipy.sparse.linalg import LinearOperator

        def forward(x: np.ndarray) -> np.ndarray:
            return self @ np.asarray(x, np.float64)

        def backward(x: np.ndarray) -> np.ndarray:
            return np.asarray(x, np.float64).T @ self if x.ndim == 1 else (np.asarray(x, np.float64).T @ self).T

        return LinearOperator(
            self.shape, matvec=forward, rmatvec=backward, matmat=forward, rmatmat=backward, dtype=np.float64
        )

    def plan(self) -> OperatorPlan:
        """Measure one batch, and set the cost of products beside the engine's plan for the matrix."""
        samples = [side.jacobian.samples for side in (self._products.columns, self._products.rows)]
        settings: dict[str, Any] = {
            name: value
            for name, value in self.options.items()
            if name in entries(KernelOptions) and name not in ("labels", "test_labels", "batch_size")
        }
        gram, refusal = None, ""
        try:
            gram = plan_kernel(self._loan.model, samples[0], None if self.square else samples[1], **settings)
        except MemoryError as error:
            refusal = str(error)
        with self._ready():
            return self._products.plan(gram, refusal)

    @property
    def _facts(self) -> Facts:
        own = self._products
        labels = own.columns.jacobian.samples.labels
        rounding = 16 * torch.finfo(self._arithmetic.passes).eps
        return Facts(self.options["kind"], own.classes, labels, self.options["normalize"], rounding)

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Refuse weights that have changed, and lend the model in the operator's mode and arithmetic."""
        for (name, p), version in zip(self._loan.model.named_parameters(), self._versions, strict=True):
            if _version(p) != version:
                raise RuntimeError(f"{name} has changed since the operator was made: make a new one for these weights")
        with self._loan.lent() as own, self._arithmetic.strict_passes():
            check_model(own)  # its modes may have changed since
            yield

    def _times(self, vectors: Float[np.ndarray, "n k"], *, transposed: bool) -> Float[np.ndarray, "m k"]:
        left, right = self._scales() if self.options["normalize"] else (None, None)
        if transposed:
            left, right = right, left
        given = torch.from_numpy(vectors) if right is None else right[:, None] * torch.from_numpy(vectors)
        with self._ready():
            found = self._products(given, transposed=transposed)
        return (found if left is None else left[:, None] * found).numpy()

    def _scales(self) -> tuple[Tensor, Tensor]:
        """1 / root of the exact diagonals, for rows and columns."""
        if self._roots is None:
            with self._ready():
                rows, columns = self._products.squared_norms()
            square = self._products.square
            refuse_zero(rows, "train" if square else "test", self.options["zero_gradient"])
            refuse_zero(columns, "train", self.options["zero_gradient"])
            self._roots = inverse_roots(rows), inverse_roots(columns)
        return self._roots


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
