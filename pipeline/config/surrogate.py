"""Schema of kernel machines in the place of networks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class SurrogateConfig:
    """Kernel machine that stands in for the network."""

    kind: str = "glm"
    """glm | svm | ridge | knn."""
    link: str = "ovr"
    """glm: ovr | softmax."""
    targets: str = "labels"
    """labels | network: true labels, or the network's probabilities (glm) and logits (ridge)."""
    penalty: str = "coefficients"
    """glm: coefficients | rkhs."""
    alpha: float | None = 1e-4
    """Regularisation; null chooses it by cross-validation (glm)."""
    protocol: str = "corrected"
    """corrected | published: the latter adds the published code's numbers, defect by defect, beside the corrected."""
    draws: int = 200
    """Bootstrap draws over test points."""
    neighbours: int = 10
    """knn: votes."""
    cost: float = 1.0
    """svm: price of slack."""
    seed: int = 0
    """Seed of folds, solver and bootstrap."""
