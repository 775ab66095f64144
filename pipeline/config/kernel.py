"""Schema of Gram matrices."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting


@dataclass
class KernelConfig:
    """A Gram matrix over training and test points."""

    kind: str = choice(
        "trntk", "pntk", "conjugate", "embedding", "loss_gradient", default="pntk", help="Which feature map."
    )
    normalize: bool = setting(True, "Divide by the norms, so that the diagonal is 1.")
    layerwise: bool = setting(False, "Also write the kernel of every layer.")
    precision: str = choice(
        "float32", "float64", "tf32", "bfloat16", "bf16", default="float32", help="Arithmetic of the matrix products."
    )
    n_train: int | None = setting(1000, "Training points; null takes all.", at_least=1)
    n_test: int | None = setting(500, "Points of each test split; null takes all.", at_least=1)
    memory: str = setting(
        "2GiB",
        "Memory that one kernel may take; auto is 2GiB on every machine, since the size of tiles decides last bits. As "
        "many kernels are made at the same time as fit.",
    )
    test_splits: list[str] = setting(
        ["test"],
        "Splits compared with the training points (test_triggered of a poisoned view).",
        filled=True,
        distinct=True,
    )
    sketch: str | None = choice(
        "tensorsketch",
        "countsketch",
        "rademacher",
        default=None,
        help="Estimate the kernel from sketched gradients (the proj- kernels of arXiv 2305.14585); null: exact.",
    )
    dim: int = setting(2048, "Features of a sketch.", at_least=1)
    spectrum: str = choice(
        "auto",
        "whole",
        "leading",
        default="auto",
        help="Eigenvalues of the training square: all, or the 64 largest with an estimated effective rank; auto takes "
        "all of up to 4,096 points, since their time grows with the cube (46 s at 10,000).",
    )
    certify: str = choice(
        "every",
        "sampled",
        "off",
        default="sampled",
        help="Check per-sample gradients against the network's own: every pass whole, a few samples of each, nothing.",
    )

    def __post_init__(self) -> None:
        """Give ``auto`` the budget that all machines share."""
        if self.memory == "auto":
            self.memory = "2GiB"


@dataclass
class LayerKernelsConfig:
    """The tangent kernel layer by layer; ``kernel`` says which and on what, ``surrogate`` which machine is fitted."""

    points: int = setting(32, "Training points on which every route to the kernel is compared in float64.", at_least=1)
