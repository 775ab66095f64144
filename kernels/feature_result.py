"""A set of computed features, which can be used as an array."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.contraction.array_like import ArrayLike, same_tensors, shown_array, tidy_table
from kernels.contraction.result import certificate_line, divide_by_diagonals
from kernels.contraction.result_files import PART, read_result, write_result
from kernels.machine.precision import float32_products

NAME = "features"


@dataclass(eq=False, repr=False)
class KernelFeatures(ArrayLike):
    r"""Features of N samples, which can be used as an array: see :class:`kernels.KernelResult`.

    Attributes
    ----------
    values : Tensor, shape (N, R * k)
        Cotangent by cotangent; mapped from the file where they were written to one.
    cotangents : int
        R; 1 but for ``trntk`` and ``entk``.
    about : dict
        What fixes the map (kind, sketch, dim, seed, version, weights, layers, precision), and ``expected_error``: the
        mean absolute error that a sketch leaves in a cosine between orthogonal gradients, "0" without one.
    parts : dict of str to Tensor
        Features of each parameter, which add up to ``values`` where those are sketched.
    metadata : dict
        ``certificate``: what was checked against the network's own gradient.

    Examples
    --------
    >>> import torch
    >>> from kernels import KernelFeatures
    >>> features = KernelFeatures(torch.tensor([[3.0, 4.0], [4.0, 3.0]]), cotangents=1, about={"sketch": "none"})
    >>> features.gram()
    tensor([[1.0000, 0.9600],
            [0.9600, 1.0000]])
    """

    values: Float[Tensor, "n rk"]
    cotangents: int
    about: dict[str, str]
    parts: dict[str, Tensor] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def _array(self) -> Tensor:
        return self.values

    @property
    def T(self) -> Tensor:  # noqa: N802
        """Features in rows, samples in columns; a view."""
        return self.values.T

    def equals(self, other: object) -> bool:
        """Whether features, parts and what fixes the map are the same, entry by entry."""
        return (
            isinstance(other, KernelFeatures)
            and same_tensors(self.values, other.values)
            and (self.cotangents, self.about) == (other.cotangents, other.about)
            and self.parts.keys() == other.parts.keys()
            and all(same_tensors(part, other.parts[name]) for name, part in self.parts.items())
        )

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file, which appears whole; :meth:`load` gives it back exactly.

        Raises
        ------
        ValueError
            If the path is a directory or holds something that is none of this library's.
        """
        tensors = {NAME: self.values} | {f"{PART}{name}": part for name, part in self.parts.items()}
        write_result(
            path, "features", tensors, {"cotangents": self.cotangents, "about": self.about, "metadata": self.metadata}
        )

    @classmethod
    def load(cls, path: str | Path) -> KernelFeatures:
        """Read what :meth:`save` or ``out=`` wrote; the arrays are mapped from the file, not read into memory.

        Raises
        ------
        ValueError
            If the file holds no features, or is damaged.
        """
        tensors, found = read_result(path, "features")
        return cls(tensors.pop(NAME), found["cotangents"], found["about"], without_prefix(tensors), found["metadata"])

    def to_dataframe(self) -> Any:
        """Features as a tidy pandas table, one row per entry: of every part where there are parts, else of the whole.

        Returns
        -------
        pandas.DataFrame
            Columns ``row`` (position of the sample), ``cotangent``, ``feature`` (within the cotangent), ``part`` (where
            there are parts) and ``value``.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """

        def by_cotangent(values: Tensor) -> Tensor:
            return values.unflatten(1, (self.cotangents, -1))

        parts = {name: by_cotangent(part) for name, part in self.parts.items()}
        return tidy_table(by_cotangent(self.values), parts, ("row", "cotangent", "feature"))

    def __repr__(self) -> str:
        """Return five lines: size, kind, map, expected error and certificate."""
        about = self.about
        size = f", {about['dim']} per cotangent" if "dim" in about else ""
        parts = f", {len(self.parts)} parts" if self.parts else ""
        lines = [
            shown_array("KernelFeatures", self.values),
            f"  kind: {about.get('kind', 'unknown')}, {self.cotangents} cotangents{parts}",
            f"  sketch: {about.get('sketch', 'unknown')}{size}",
            f"  expected error of a cosine: {about.get('expected_error', 'unknown')}",
            f"  certificate: {certificate_line(self.metadata.get('certificate'))}",
        ]
        return "\n".join(lines)

    @float32_products()
    def gram(self, rows: KernelFeatures | None = None, *, normalize: bool = True) -> Float[Tensor, "m n"]:
        """Kernel of these features, or ``rows`` x these.

        Parameters
        ----------
        rows : KernelFeatures, optional
            Features of test points under the same map.
        normalize : bool
            Divide by the root of both diagonals; a sample without features gets zeros.

        Raises
        ------
        ValueError
            When the two sets went through different maps.
        """
        if rows is not None:
            check_same_map(rows.about, self.about)
        left = self.values if rows is None else rows.values
        matrix = left @ self.values.T
        if normalize:
            norms = [torch.linalg.vector_norm(x, dim=1).square() for x in (left, self.values)]
            divide_by_diagonals(matrix, *norms, exact_diagonal=rows is None)
        return matrix


def check_same_map(left: dict[str, str], right: dict[str, str]) -> None:
    """Refuse to compare features that went through different maps."""
    keys = [key for key in left | right if left.get(key) != right.get(key)]
    if keys:
        pairs = "; ".join(f"{key}: {left.get(key)} and {right.get(key)}" for key in keys)
        raise ValueError(
            f"these features went through different maps ({pairs}); make both with the same model, sketch, dim and seed"
        )


def without_prefix(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give parts their own names back, which a store or file keeps apart from ours."""
    return {name.removeprefix(PART): array for name, array in arrays.items()}
