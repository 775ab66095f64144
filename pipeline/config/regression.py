"""Schema of kernel regression and logistic studies."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RegressionConfig:
    """Kernel machines of a network, against the network itself."""

    task: str = "function"
    """function: regression at every snapshot; logistic: two classes at every snapshot; head: refit the output layer."""
    cutoff: float | None = None
    """Relative cut-off of the pseudo-inverse; null is N times the rounding unit, on a Gram's eigenvalues."""
    window: list[int] = field(default_factory=lambda: [5, 40])
    """Eigenvalue indices of the decay slope."""
    penalty: float = 1e-3
    """logistic: penalty λ of the corrected protocol."""
    penalty_unit: str = "absolute"
    """logistic: absolute | trace. trace multiplies λ by the mean diagonal of each training Gram, so that the same λ
    weighs alike on kernels of different size."""
    protocol: str = "corrected"
    """logistic: corrected | published (no penalty, twelve Newton steps)."""
    floor: float = 1e-12
    """logistic: smallest probability in a cross-entropy."""
    stop_accuracy: float = 0.99
    """logistic: a run ends at the first snapshot whose training accuracy reaches this."""
    sizes: list[int] = field(default_factory=lambda: [250, 1000])
    """head: training rows of the refitted heads, besides all."""
    redraws: int = 5
    seed: int = 0
    centres: int | None = None
    """logistic: Nyström centres of the corrected protocol; null solves on the whole Gram."""
