"""What products with a kernel cost, measured on one batch, against what the kernel matrix would."""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernels.contraction.plan import Plan
from kernels.machine.memory import available_memory, show_bytes


@dataclass(frozen=True)
class OperatorPlan:
    """Cost of products with a kernel that is not formed.

    Attributes
    ----------
    kind, precision, device : str
        What is multiplied, in which arithmetic, where.
    rows, columns : int
        Shape of the kernel.
    parameters : int
        Parameters that take part.
    repeats : int
        Backward and tangent passes per vector: the number of classes for ``trntk``, else 1.
    batch : int
        Samples per pass.
    route : str
        How J w is computed: ``forward``, ``double`` or ``loop``.
    kept : bool
        Whether the passes are kept between products.
    product_seconds : float
        Of one product, measured on one batch.
    bytes : int
        Passes that are held, and parameter vectors.
    gram : Plan or None
        The engine's plan for the matrix; None where that does not fit.
    refusal : str
        Why it does not fit.
    """

    kind: str
    precision: str
    device: str
    rows: int
    columns: int
    parameters: int
    repeats: int
    batch: int
    route: str
    kept: bool
    product_seconds: float
    bytes: int
    gram: Plan | None
    refusal: str

    @property
    def passes(self) -> int:
        """Samples sent through the model for one product, a sample once for each direction."""
        return self.rows + self.columns

    def seconds(self, products: int) -> float:
        """Return the expected wall time of some products."""
        return products * self.product_seconds

    def wins_from(self, products: int) -> int | None:
        """Find the samples from which so many products take less time than the matrix.

        Both are scaled from this size: passes with the samples, the contraction with their square. None for a
        rectangular kernel, or without the matrix's plan.
        """
        if self.gram is None or not self.gram.square:
            return None
        samples = self.gram.rows
        linear = samples * self.gram.pass_seconds
        square = max(self.gram.seconds - self.gram.passes * self.gram.pass_seconds, 1e-12)
        return max(1, math.ceil(samples * (self.seconds(products) - linear) / square))

    def fits_until(self) -> int | None:
        """Find the samples up to which a square matrix fits the free main memory."""
        if self.gram is None or not self.gram.square:
            return None
        entry = self.gram.result_bytes / self.gram.rows**2
        return int(math.sqrt(0.9 * available_memory() / entry))

    def __str__(self) -> str:
        """Return the cost of products beside that of the matrix."""
        how = "kept between products" if self.kept else "computed again for each product"
        lines = [
            f"{self.kind} operator {self.rows} x {self.columns} in {self.precision} on {self.device}, "
            f"{self.parameters} parameters",
            f"one product: {self.passes} sample passes, {self.repeats} backward and tangent passes each "
            f"({self.route}), about {self.product_seconds:.3g} s; batch {self.batch}, passes {how}, "
            f"{show_bytes(self.bytes)}",
        ]
        if self.gram is None:
            return "\n".join([*lines, f"the matrix does not fit: {self.refusal}"])
        lines.append(
            f"the matrix: {self.gram.passes:.0f} sample passes, {self.gram.flops:.3g} FLOP, about "
            f"{self.gram.seconds:.3g} s and {show_bytes(self.gram.result_bytes)}, the time of "
            f"{self.gram.seconds / max(self.product_seconds, 1e-12):.3g} products"
        )
        for products in (30, 100):
            start = self.wins_from(products)
            if start is not None:
                lines.append(
                    f"{products} products: about {self.seconds(products):.3g} s; the operator is faster from about "
                    f"{start} samples, and the matrix fits main memory up to {self.fits_until()}"
                )
        return "\n".join(lines)
