"""Schema of kernel machines in the place of networks."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import Renamed, choice, renamed, setting


@dataclass
class SurrogateConfig(Renamed):
    """Kernel machine that stands in for the network."""

    kind: str = choice("glm", "svm", "ridge", "knn", default="glm", help="Kernel machine in the network's place.")
    link: str = choice("ovr", "softmax", default="ovr", help="glm: one machine per class, or one for all.")
    targets: str = choice(
        "labels",
        "network",
        default="labels",
        help="True labels, or the network's probabilities (glm) and logits (ridge).",
    )
    penalty: str = choice("coefficients", "rkhs", default="coefficients", help="glm: which norm is penalized.")
    alpha: float | None = setting(1e-4, "Regularization; null chooses it by cross-validation (glm).", at_least=0)
    protocol: str = choice(
        "corrected",
        "published",
        default="corrected",
        help="published adds the published code's numbers, defect by defect, beside the corrected ones.",
    )
    draws: int = setting(200, "Bootstrap draws over test points.", at_least=0)
    refits: int = setting(
        5,
        "Refits of the published, unseeded solver in protocol=published: most of its time at 10,000 points.",
        at_least=0,
    )
    neighbors: int = setting(10, "knn: votes.", at_least=1)
    cost: float = setting(1.0, "svm: price of slack.", above=0)
    seed: int = setting(0, "Seed of folds, solver and bootstrap.", at_least=0)
    neighbours: int | None = renamed("surrogate.neighbors")
