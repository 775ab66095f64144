"""Schema of probes on layer features."""

from __future__ import annotations

from dataclasses import dataclass

from models.fields import choice, setting


@dataclass
class ProbesConfig:
    """Surrogate classifiers on principal components of layer features."""

    neighbors: list[int] = setting(
        [10], "Neighbors of the k-NN probes; the first one enters the onset.", at_least=1, filled=True, distinct=True
    )
    components: int = setting(256, "Principal components.", at_least=1)
    tolerance: float = setting(
        0.01,
        "Largest spread of the surrogates' accuracies that counts as agreement (0.01: one point).",
        at_least=0,
        below=1,
    )
    costs: list[float] = setting(
        [1e-3, 1e-2, 1e-1],
        "Candidates for the SVM's C, chosen between on held-out training rows.",
        above=0,
        filled=True,
        distinct=True,
    )
    scaling: str = choice("none", "global", "whitening", default="global", help="Scaling of the components.")
    solver_tolerance: float = setting(1e-3, "Tolerance of the SVM's solver.", above=0)
    draws: int = setting(1000, "Bootstrap draws of the onset.", at_least=1)
    seed: int = setting(0, "Seed of held-out rows and bootstrap.", at_least=0)
    history: bool = setting(
        False, "Also measure collapse and onset at every recorded snapshot (needs snapshots.record=[weights])."
    )
    controls: bool = setting(False, "Also fit on permuted labels, and score on the features.noise copies.")
