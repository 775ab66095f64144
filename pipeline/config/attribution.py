"""Schema of attribution to training points."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class AttributionConfig:
    """Which training points speak for a decision."""

    method: str = "kernel"
    """Method of the gallery and the sparsity curves: kernel (the surrogate's weight times kernel) or one below."""
    target: str = "predicted"
    """predicted | true: the class that is attributed."""
    top: int = 8
    gallery: int = 6
    """Test points shown."""
    methods: list[str] = field(default_factory=list)
    """Compared on masks besides ``method``: similarity, grad_dot, grad_cos, tracin, trak, influence, representer,
    embedding, same_label, random."""
    checkpoints: list[int] = field(default_factory=list)
    """tracin: optimiser steps whose weights are used, trained again to record them; -1 stands for the last."""
    other_seeds: list[int] = field(default_factory=list)
    """trak: seeds of further trainings averaged with the run's own."""
    dim: int = 512
    """Features of the gradient sketches (grad_dot, grad_cos, trak)."""
    ridge: float = 1e-3
    """trak: ridge over the mean eigenvalue of its Gram matrix."""
    damping: float = 0.1
    """influence: damping over each block's mean eigenvalue (EK-FAC)."""
    penalty: float = 1e-3
    """representer: penalty of the refitted head."""
    seed: int = 0
