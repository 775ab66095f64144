"""Arrays of any library as those that a signature asks for, and what is wrong with those that cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def as_array(values: Any, what: str) -> np.ndarray:
    """Turn an array, tensor (of any device, with or without a gradient), table or list into a NumPy array.

    Parameters
    ----------
    values : array_like
        Numbers. A half-precision tensor comes back as float32.
    what : str
        Name in messages.

    Raises
    ------
    ValueError
        For objects, texts, ragged lists and complex numbers.

    Examples
    --------
    >>> import torch
    >>> from kernels.arrays import as_array
    >>> as_array(torch.tensor([[1.0, 2.0]], requires_grad=True), "outputs")
    array([[1., 2.]], dtype=float32)
    """
    if _is_tensor(values):  # torch need not be imported for it
        tensor = values.detach().cpu()
        values = (tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor).numpy()
    elif isinstance(values, (list, tuple)) and any(hasattr(row, "detach") for row in values):
        values = [as_array(row, what) for row in values]
    elif isinstance(values, (str, bytes)) or not (hasattr(values, "__array__") or isinstance(values, Sequence)):
        given = "None" if values is None else f"a {type(values).__name__}"
        raise ValueError(f"{what} is {given}: give an array, a tensor or lists of numbers.")
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{what} has rows of different lengths: every example needs as many numbers.") from None
    if array.dtype == object:
        raise ValueError(
            f"{what} is an array of Python objects (the first is a {type(array.ravel()[0]).__name__}): convert it with "
            "np.array(values.tolist(), dtype=float), which also says where rows differ in length."
            if array.size
            else f"{what} is empty."
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{what} holds {_kind(array)}, numbers are needed.")
    return array


def _is_tensor(values: Any) -> bool:
    return hasattr(values, "detach") and hasattr(values, "cpu")


def _kind(array: np.ndarray) -> str:
    return {"U": "texts", "S": "bytes", "c": "complex numbers", "M": "dates"}.get(array.dtype.kind, str(array.dtype))


def fitted(values: Any, name: str, shapes: Sequence[Any]) -> Any:
    """Bring an argument to one of the arrays of its annotation.

    Parameters
    ----------
    values : array_like
        What was given.
    name : str
        Of the argument.
    shapes : sequence of type
        Annotations of jaxtyping, such as ``Float[np.ndarray, "n p"]``, of which one is enough. Whole numbers become
        float64 where real numbers are asked for, real numbers that are whole become int64, and 0 and 1 truth values.

    Returns
    -------
    ndarray or Tensor
        The argument itself where it fits already; a tensor stays one where the annotation allows tensors.

    Raises
    ------
    ValueError
        If it is no array of numbers, is empty, or has another number of axes or other numbers than every annotation.

    Examples
    --------
    >>> import numpy as np
    >>> from jaxtyping import Float
    >>> from kernels.arrays import fitted
    >>> fitted([[1, 2], [3, 4]], "gram", [Float[np.ndarray, "n n"]])
    array([[1., 2.],
           [3., 4.]])
    """
    tensors = [one for one in shapes if one.array_type is not np.ndarray]
    if _is_tensor(values) and tensors and not values.is_complex():
        array, allowed = values, tensors
    else:
        array = as_array(values, name)
        allowed = [one for one in shapes if one.array_type is np.ndarray] or tensors
    axes = tuple(array.shape)
    possible = [one for one in allowed if _sizes(one, axes) is not None]
    if not possible:
        count = f"{len(axes)} {'axis' if len(axes) == 1 else 'axes'}"
        raise ValueError(f"{name} has {count} (shape {axes}), {' or '.join(map(_wanted, allowed))} needed.")
    if 0 in axes:
        raise ValueError(f"{name} is empty (shape {axes}).")
    families = {one.__name__.partition("[")[0] for one in possible}
    array = _of_kind(array, name, families)
    if isinstance(array, np.ndarray) and all(one.array_type is not np.ndarray for one in possible):
        import torch

        return torch.from_numpy(array if array.flags.writeable and min(array.strides, default=0) >= 0 else array.copy())
    return array


def _wanted(shape: Any) -> str:
    """Say what axes an annotation asks for."""
    names = shape.dim_str.split()
    if all(name == "_" for name in names):
        return {1: "one is", 2: "two are", 3: "three are"}.get(len(names), f"{len(names)} are")
    return f"{_written(shape)} is"


def _written(shape: Any) -> str:
    names = shape.dim_str.split()
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _sizes(shape: Any, axes: tuple[int, ...]) -> list[tuple[str, int]] | None:
    """Name and size of each named axis; None where the number of axes or a stated size does not fit."""
    names = shape.dim_str.split()
    many = [i for i, one in enumerate(names) if one.startswith(("...", "*"))]
    if many:
        tail = len(names) - many[0] - 1
        if len(axes) < many[0] + tail:
            return None
        names, axes = names[: many[0]] + names[many[0] + 1 :], axes[: many[0]] + axes[len(axes) - tail :]
    pairs = list(zip(names, axes, strict=False))
    if len(names) != len(axes) or any(name.isdigit() and int(name) != size for name, size in pairs):
        return None
    return [(name, size) for name, size in pairs if name.isidentifier() and not name.startswith("_")]


def _of_kind(array: Any, name: str, families: set[str]) -> Any:
    """Bring numbers to real, whole or truth values, as an annotation asks."""
    tensor = not isinstance(array, np.ndarray)
    real = array.is_floating_point() if tensor else array.dtype.kind == "f"
    truth = str(array.dtype).removeprefix("torch.") == "bool"
    if families & {"Shaped"} or (families & {"Num", "Real"} and not truth):
        return array
    if (real and "Float" in families) or (truth and "Bool" in families):
        return array
    if not real and not truth and families & {"Int", "Integer", "UInt"}:
        unsigned = str(array.dtype).removeprefix("torch.").startswith("u") and families.isdisjoint({"Integer", "UInt"})
        return array if not unsigned else array.long() if tensor else array.astype(np.int64)  # 0 - 1 would be 255
    if "Float" in families:
        return array.double() if tensor else array.astype(np.float64)
    if families & {"Int", "Integer", "Num"}:
        if real and not bool((array == array.round()).all()):  # NaN is not equal to itself; infinity is refused below
            raise ValueError(f"{name} must hold whole numbers; some of these are not.")
        if real and not bool((abs(array) < 2**53).all()):
            raise ValueError(f"{name} must hold whole numbers; some of these are infinite.")
        return array.long() if tensor else array.astype(np.int64)
    if "Bool" in families and bool(((array == 0) | (array == 1)).all()):
        return array.bool() if tensor else array.astype(bool)
    raise ValueError(f"{name} must hold truth values, and these are {'real' if real else 'whole'} numbers.")


def agree(arrays: Mapping[str, tuple[Any, Sequence[Any]]]) -> None:
    """Refuse arrays whose axes of one name have different lengths.

    Parameters
    ----------
    arrays : mapping of name to (array, annotations)
        As `fitted` takes and returns them.

    Raises
    ------
    ValueError
        With both arrays and their shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from jaxtyping import Float
    >>> from kernels.arrays import agree
    >>> agree({"gram": (np.ones((2, 3)), [Float[np.ndarray, "n n"]])})
    Traceback (most recent call last):
        ...
    ValueError: gram has the shape (2, 3), (n, n) is needed.
    """
    known: dict[str, tuple[int, str]] = {}
    for name, (array, shapes) in arrays.items():
        axes = tuple(array.shape)
        fitting = [one for one in shapes if _sizes(one, axes) is not None]
        if len({one.dim_str for one in fitting}) != 1:
            continue  # several readings: the function decides
        shape = fitting[0]
        for axis, size in _sizes(shape, axes) or ():
            other, of = known.setdefault(axis, (size, name))
            if other == size:
                continue
            if of == name:
                raise ValueError(f"{name} has the shape {axes}, {_written(shape)} is needed.")
            there, theirs = arrays[of]
            first = next(one for one in theirs if _sizes(one, tuple(there.shape)) is not None)
            raise ValueError(
                f"{name} has the shape {axes} and {of} {tuple(there.shape)}: with {of} as {_written(first)}, {name} is "
                f"{_written(shape)} with {axis} = {other}."
            )
