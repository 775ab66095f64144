"""Schema of kernel regression and logistic studies."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import Renamed, choice, renamed, setting


@dataclass
class RegressionConfig(Renamed):
    """Kernel machines of a network, against the network itself."""

    task: str = choice(
        "function",
        "logistic",
        "head",
        default="function",
        help="function: regression at every snapshot; logistic: two classes at every snapshot; head: refit the output "
        "layer.",
    )
    cutoff: float | None = setting(
        None,
        "Relative cut-off of the pseudo-inverse; null is N times the rounding unit, on a Gram's eigenvalues.",
        at_least=0,
    )
    window: list[int] = setting([5, 40], "First and last eigenvalue index of the decay slope.", at_least=1)
    penalty: float = setting(1e-3, "logistic: penalty λ of the corrected protocol.", above=0)
    penalty_unit: str = choice(
        "absolute",
        "trace",
        default="absolute",
        help="logistic: trace multiplies λ by the mean diagonal of each training Gram, so that the same λ weighs "
        "alike on kernels of different size.",
    )
    protocol: str = choice(
        "corrected",
        "published",
        default="corrected",
        help="logistic: published has no penalty and takes twelve Newton steps.",
    )
    floor: float = setting(1e-12, "logistic: smallest probability in a cross-entropy.", above=0, below=0.5)
    stop_accuracy: float = setting(
        0.99, "logistic: a run ends at the first snapshot whose training accuracy reaches this.", above=0
    )
    sizes: list[int] = setting(
        [250, 1000], "head: training rows of the refitted heads, besides all.", at_least=1, distinct=True
    )
    redraws: int = setting(5, "head: draws of each size.", at_least=1)
    seed: int = setting(0, "Seed of the draws.", at_least=0)
    centers: int | None = setting(
        None, "logistic: Nyström centers of the corrected protocol; null solves on the whole Gram.", at_least=1
    )
    centres: int | None = renamed("regression.centers")
