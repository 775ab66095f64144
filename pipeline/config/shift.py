"""Schema of two-sample tests between embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting


@dataclass
class ShiftConfig:
    """Two-sample tests between embeddings of a reference P and a sample M."""

    reference: str = setting("train", "Split that P and P' are drawn from.")
    sample: str = setting("test", "Split that holds M.")
    layer: str | None = setting(None, "One of features.layers; null takes the first.")
    per_side: int | None = setting(359, "Rows on each side of a test; null takes as many as M has.", at_least=1)
    permutations: int = setting(300, "Permutations behind each p-value.", at_least=1)
    redraws: int = setting(5, "Draws of P and P'.", at_least=1)
    components: int = setting(
        10, "Pooled principal components tested by KS and used by the Fréchet distance.", at_least=1
    )
    null_draws: int = setting(100, "Pairs drawn from P alone to measure each test's level.", at_least=1)
    power_sizes: list[int] = setting(
        [20, 40, 80], "Rows on each side at which power is measured.", at_least=4, distinct=True
    )
    power_draws: int = setting(40, "Draws at each of these sizes.", at_least=1)
    probe_sizes: list[int] = setting(
        [100, 250, 500, 1000, 2400], "Rows of P that probes are trained on.", at_least=4, distinct=True
    )
    probe_redraws: int = setting(20, "Draws at each of these sizes.", at_least=1)
    seed: int = setting(0, "Seed of draws and permutations.", at_least=0)
    rivals: list[str] = choice(
        "fine_tuned",
        "head_only",
        "random_features",
        "random_weights",
        default=[],
        help="Scored beside the probe trained on P, on the same rows of M: all weights trained on P, the head alone, "
        "random features of the same embedding, a probe on the same network without pre-training.",
    )
    head_lr: float = setting(
        1e-2, "Learning rate of head_only: a head alone takes a larger one than all weights together.", above=0
    )
