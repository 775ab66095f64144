"""What a kernel or a set of features shares with an array: NumPy, torch and Python's operators take it as one."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from kernels.machine.memory import show_bytes


class ArrayLike:
    """A result that NumPy and torch take for the tensor that it holds.

    ``numpy.asarray(K)``, ``torch.as_tensor(K)``, ``torch.from_dlpack(K)``, functions of both libraries, ``K[i, j]``,
    ``K @ v`` and arithmetic refer to one tensor, without a copy where it is in main memory. What they return is a plain
    array or tensor.
    """

    def _array(self) -> Tensor:
        """Return the tensor that stands for the whole."""
        raise NotImplementedError

    @property
    def shape(self) -> torch.Size:
        """Shape of the array."""
        return self._array().shape

    @property
    def dtype(self) -> torch.dtype:
        """Type of the entries."""
        return self._array().dtype

    @property
    def device(self) -> torch.device:
        """Where the entries are."""
        return self._array().device

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return self._array().ndim

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._array())

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over rows."""
        return iter(self._array())

    def __getitem__(self, index: Any) -> Tensor:
        """Index the array."""
        return self._array()[index]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say where a method of tensors is; NumPy's functions look for some, and convert where there is none."""
            hint = f": use torch.as_tensor(result).{name}" if not name.startswith("_") and hasattr(Tensor, name) else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return a NumPy array, without a copy where none is needed."""
        array = self._array()
        if copy is False and array.device.type != "cpu":
            raise ValueError(f"an array on {array.device} cannot be shown to NumPy without a copy")
        found = array.detach().cpu().numpy()
        if copy:
            return np.array(found, dtype=dtype, copy=True)
        if copy is False and dtype is not None and found.dtype != np.dtype(dtype):
            raise ValueError(f"{found.dtype} cannot become {np.dtype(dtype)} without a copy")
        return np.asarray(found, dtype=dtype)

    def __dlpack__(self, **options: Any) -> Any:
        """Share the memory with another library."""
        return self._array().__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        """Device, in the terms of DLPack."""
        return self._array().__dlpack_device__()

    def numpy(self) -> np.ndarray:
        """Return a NumPy array, without a copy where the entries are in main memory."""
        return self._array().detach().cpu().numpy()

    def tolist(self) -> list[Any]:
        """Return nested lists of numbers."""
        return self._array().tolist()

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a torch function on the tensors."""
        return func(*_plain(tuple(args)), **_plain(dict(kwargs or {})))

    def __matmul__(self, other: Any) -> Any:
        """Multiply by a vector or matrix of torch or NumPy."""
        return _operate(operator.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Any:
        """Multiply a vector or matrix by this one."""
        return _operate(operator.matmul, other, self)

    def __add__(self, other: Any) -> Any:
        """Add entry by entry."""
        return _operate(operator.add, self, other)

    def __radd__(self, other: Any) -> Any:
        """Add entry by entry."""
        return _operate(operator.add, other, self)

    def __sub__(self, other: Any) -> Any:
        """Subtract entry by entry."""
        return _operate(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        """Subtract entry by entry."""
        return _operate(operator.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        """Multiply entry by entry."""
        return _operate(operator.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        """Multiply entry by entry."""
        return _operate(operator.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        """Divide entry by entry."""
        return _operate(operator.truediv, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        """Divide entry by entry."""
        return _operate(operator.truediv, other, self)

    def __pow__(self, other: Any) -> Any:
        """Raise each entry to a power."""
        return _operate(operator.pow, self, other)

    def __neg__(self) -> Tensor:
        """Negate each entry."""
        return -self._array()

    def __abs__(self) -> Tensor:
        """Absolute value of each entry."""
        return self._array().abs()

    def __eq__(self, other: Any) -> Any:
        """Compare entry by entry, as arrays do; :meth:`equals` compares the whole."""
        return _operate(operator.eq, self, other)

    def __ne__(self, other: Any) -> Any:
        """Compare entry by entry."""
        return _operate(operator.ne, self, other)

    def __lt__(self, other: Any) -> Any:
        """Compare entry by entry."""
        return _operate(operator.lt, self, other)

    def __le__(self, other: Any) -> Any:
        """Compare entry by entry."""
        return _operate(operator.le, self, other)

    def __gt__(self, other: Any) -> Any:
        """Compare entry by entry."""
        return _operate(operator.gt, self, other)

    def __ge__(self, other: Any) -> Any:
        """Compare entry by entry."""
        return _operate(operator.ge, self, other)

    __hash__ = object.__hash__

    def _repr_html_(self) -> str:
        """Return the same few lines for a notebook."""
        from html import escape

        return f"<pre>{escape(repr(self))}</pre>"


Function = TypeVar("Function", bound=Callable[..., Any])


def takes_results(function: Function) -> Function:
    """Let a function of tensors be called with results too."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*_plain(args), **_plain(kwargs))

    return cast(Function, call)


def _plain(nested: Any) -> Any:
    """Replace results by their tensors, in arguments of a torch function."""
    if isinstance(nested, ArrayLike):
        return nested._array()
    if isinstance(nested, dict):
        return {key: _plain(value) for key, value in nested.items()}
    if type(nested) in (list, tuple):
        return type(nested)(map(_plain, nested))
    return nested


def _operate(of: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Apply an operator to the tensors; beside a NumPy array the answer is one."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return of(*(np.asarray(x) if isinstance(x, ArrayLike) else x for x in (left, right)))
    try:
        return of(_plain(left), _plain(right))
    except TypeError:
        if isinstance(left, (ArrayLike, Tensor, int, float, complex)) and isinstance(
            right, (ArrayLike, Tensor, int, float, complex)
        ):
            raise
        return NotImplemented


def same_tensors(left: Tensor | None, right: Tensor | None) -> bool:
    """Whether two tensors, or their absences, are the same in type, shape and every entry; NaN equals NaN."""
    if left is None or right is None:
        return left is right
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return bool(((left == right) | (left.isnan() & right.isnan())).all())


def shown_array(kind: str, array: Tensor) -> str:
    """First line of a description: what it is, its shape and type."""
    size = " x ".join(map(str, array.shape))
    kept = show_bytes(array.numel() * array.element_size())
    return f"{kind}: {size}, {str(array.dtype).removeprefix('torch.')}, on {array.device}, {kept}"


def tidy_table(whole: Tensor, parts: Mapping[str, Tensor], axes: Sequence[str]) -> Any:
    """Return a pandas table with one row per entry: of every part where there are parts, else of the whole."""
    try:
        import pandas as pd
    except ImportError:
        raise ImportError("to_dataframe needs pandas: run pip install pandas") from None
    tables = []
    for named, values in [({"part": name}, part) for name, part in parts.items()] or [({}, whole)]:
        places = torch.meshgrid(*(torch.arange(size) for size in values.shape), indexing="ij")
        columns = {axis: place.reshape(-1).numpy() for axis, place in zip(axes, places, strict=True)}
        tables.append(pd.DataFrame(columns | named | {"value": values.detach().cpu().reshape(-1).numpy()}))
    return pd.concat(tables, ignore_index=True)
