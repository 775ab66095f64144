"""Schema of attribution to training points."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting

METHODS = (
    "kernel",
    "similarity",
    "grad_dot",
    "grad_cos",
    "tracin",
    "trak",
    "influence",
    "exact_influence",
    "cg_influence",
    "magic",
    "source",
    "representer",
    "embedding",
    "activations",
    "pixels",
    "bm25",
    "same_label",
    "random",
)


@dataclass
class AttributionConfig:
    """Which training points speak for a decision."""

    method: str = choice(
        *METHODS,
        default="kernel",
        help="Method of the gallery and the sparsity curves; kernel is the surrogate's weight times the kernel.",
    )
    target: str = choice("predicted", "true", default="predicted", help="The class that is attributed.")
    top: int = setting(8, "Training points shown for each test point.", at_least=1)
    gallery: int = setting(6, "Test points shown.", at_least=0)
    methods: list[str] = choice(*METHODS, default=[], help="Methods compared on masks besides method.")
    checkpoints: list[int] = setting(
        [],
        "tracin: optimizer steps whose weights are used, recorded in another training; -1 stands for the last.",
        at_least=-1,
        distinct=True,
    )
    rates: list[float] = setting(
        [],
        "tracin with weights.path: learning rate at each of checkpoints, in the order of their steps; empty weighs all "
        "alike.",
        above=0,
    )
    other_seeds: list[int] = setting([], "trak: seeds of further trainings, averaged with the run's own.", at_least=0)
    dim: int = setting(512, "Features of the gradient sketches (grad_dot, grad_cos, trak).", at_least=1)
    ridge: float = setting(1e-3, "trak: ridge over the mean eigenvalue of its Gram matrix.", at_least=0)
    damping: float = setting(0.1, "influence: damping over each block's mean eigenvalue (EK-FAC).", at_least=0)
    exact_damping: float | None = setting(
        None,
        "exact_influence and cg_influence: damping itself; null takes 1 over the training time (sum of learning rates "
        "over 1 - momentum) plus the weight decay or, under Adam, damping times the mean eigenvalue.",
        above=0,
    )
    damping_sweep: list[float] = setting(
        [], "stage=retraining: multiples of the damping at which influences are judged too.", above=0, distinct=True
    )
    cg_tol: float = setting(1e-8, "cg_influence: relative residual to stop at.", above=0, below=1)
    cg_steps: int = setting(500, "cg_influence: most steps; the residual is reported.", at_least=1)
    segments: int = setting(
        3, "source: segments of training, each with the gradients and the curvature of its middle.", at_least=1
    )
    tokens: int = setting(
        0,
        "Texts: for this many of the test texts shown, split the tangent kernel with their strongest training texts "
        "over tokens.",
        at_least=0,
    )
    penalty: float = setting(1e-3, "representer: penalty of the refitted head.", at_least=0)
    seed: int = setting(0, "Seed of the sketches and the random control.", at_least=0)
