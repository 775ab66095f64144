"""Schema of the stages to the right of training: what each one computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class FeaturesConfig:
    """Layer outputs streamed once over a split and shared by probes and shift tests."""

    layers: list[str] = field(default_factory=lambda: ["penultimate"])
    """Module paths, globs, or ``penultimate``, ``blocks``, ``embedding``."""
    pool: str = "flatten"
    """flatten | mean | last | first."""
    splits: list[str] = field(default_factory=lambda: ["train", "test"])
    limit: int | None = None
    noise: float = 0.0
    """Standard deviation of Gaussian noise on the normalised images or vectors of a further copy of every split
    after the first, ``SPLIT_noisy``; 0 makes no copy."""


@dataclass
class KernelConfig:
    """A Gram matrix over training and test points."""

    kind: str = "pntk"
    normalize: bool = True
    layerwise: bool = False
    precision: str = "float32"
    n_train: int | None = 1000
    n_test: int | None = 500
    memory: str = "2GiB"
    test_splits: list[str] = field(default_factory=lambda: ["test"])
    """Splits compared with the training points, ``n_test`` rows of each (``test_triggered`` of a poisoned view)."""
    sketch: str | None = None
    """null (exact) | tensorsketch | countsketch | rademacher: the proj- kernels of arXiv 2305.14585."""
    dim: int = 2048
    """Features of a sketch."""


@dataclass
class LayerKernelsConfig:
    """The tangent kernel layer by layer; ``kernel`` says which and on what, ``surrogate`` which machine is fitted."""

    points: int = 32
    """Training points on which every route to the kernel is compared in float64."""


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


@dataclass
class RetrainingConfig:
    """Train again without some training points, and compare with what attributions predict."""

    subsets: int = 50
    """Random parts of the training rows for the linear datamodeling score; 0 leaves it out."""
    fraction: float = 0.5
    """Share of the training rows in each part."""
    seeds: int = 5
    """Seeds 0 to seeds - 1 of every retraining, the same for all cells."""
    k: int = 20
    """Training points dropped for one test point (leave-k-out)."""
    points: int = 4
    """Test points whose strongest points are dropped; 0 leaves it out."""
    draws: int = 1000
    """Bootstrap draws over test points."""
    seed: int = 0
    """Seed of the parts, the random controls and the bootstrap."""


@dataclass
class AdversarialConfig:
    """Attacked test points: how far a kernel machine follows its network off the data."""

    radii: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.2, 0.3])
    """L∞ radii in pixels of [0, 1]."""
    steps: int = 7
    """Steps of projected gradient ascent (PGD-7)."""
    other: int = 1000
    """Seed of the other training that attacks are transferred from."""
    seed: int = 0
    """Seed of the attacks' random starts, apart from the seeds of data and training."""


@dataclass
class ProbesConfig:
    """Surrogate classifiers on principal components of layer features."""

    neighbors: list[int] = field(default_factory=lambda: [10])
    """Neighbours of the k-NN probes; the first one enters the onset."""
    components: int = 256
    tolerance: float = 0.01
    """Largest spread of the surrogates' accuracies that counts as agreement (0.01: one point)."""
    costs: list[float] = field(default_factory=lambda: [1e-3, 1e-2, 1e-1])
    """Candidates for the SVM's C, decided on held-out training rows."""
    scaling: str = "global"
    """none | global | whitening."""
    solver_tolerance: float = 1e-3
    draws: int = 1000
    """Bootstrap draws of the onset."""
    seed: int = 0
    history: bool = False
    """Also measure collapse and onset at every recorded snapshot (needs snapshots.record=[weights])."""
    controls: bool = False
    """Also fit on permuted labels, and score on ``features.noise`` where there is any."""


@dataclass
class SpectraConfig:
    """Random-matrix reading of weight and kernel spectra."""

    min_side: int = 50
    null_draws: int = 200
    layers: list[str] = field(default_factory=lambda: ["*"])


@dataclass
class StatisticsConfig:
    """Seed statistics over the runs of every group of cells."""

    quantity: str = "auto"
    """auto (gap with two classes, margin with more) | gap | signed_gap | prob | loss | margin | top_two."""
    split: str = "test"
    eps: float = 0.01
    deltas: list[float] = field(default_factory=lambda: [0.05, 0.1])
    """Fixed resolutions reported beside the DKW threshold."""
    draws: int = 200
    seed: int = 0
    """Seed of the bootstrap and of random splits of the runs."""
    on_bad_run: str = "error"
    """error | drop: what to do with runs that diverged."""
    claims: list[str] = field(default_factory=list)
    """Any of A1, A2, B1, B2, B3, B4: published claims to decide for every group of cells."""
    arms: list[str] = field(default_factory=list)
    """For B4: label of the group trained from scratch, then of the fine-tuned one."""
    stand_in: bool = False
    """The networks stand in for the published kind (ViT), so that B4 stays undecided."""
    subsets: int = 20
    """Random subsets of runs at each size, for the curve over the number of seeds."""
    bins: int = 15
    history: bool = False
    """Also levels after each epoch, from snapshots: needs snapshots.record=[logits] and snapshots.schedule=epochs."""
    released: bool = False
    """Also compute levels under the released protocols, switch by switch."""


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


@dataclass
class ShiftConfig:
    """Two-sample tests between embeddings of a reference P and a sample M."""

    reference: str = "train"
    """Split that P and P' are drawn from."""
    sample: str = "test"
    """Split that holds M."""
    layer: str | None = None
    """One of features.layers; null takes the first."""
    per_side: int | None = 359
    permutations: int = 300
    redraws: int = 5
    """Draws of P and P'."""
    components: int = 10
    """Pooled principal components tested by KS and used by the Fréchet distance."""
    null_draws: int = 100
    """Pairs drawn from P alone to measure each test's level."""
    power_sizes: list[int] = field(default_factory=lambda: [20, 40, 80])
    power_draws: int = 40
    probe_sizes: list[int] = field(default_factory=lambda: [100, 250, 500, 1000, 2400])
    probe_redraws: int = 20
    seed: int = 0
    rivals: list[str] = field(default_factory=list)
    """Scored beside the probe trained on P, on the same rows of M: any of fine_tuned (all weights trained on P),
    head_only (its head alone), random_features (of the same embedding), random_weights (a probe on the same
    architecture without pre-training)."""
    head_lr: float = 1e-2
    """Learning rate of head_only: a head alone takes a larger one than all weights together."""


@dataclass
class SnapshotsConfig:
    """What to record while training, and when."""

    record: list[str] = field(default_factory=list)
    """Any of weights, logits, spectra, kernel; empty records nothing."""
    schedule: str = "log"
    """log | epochs | steps."""
    steps: list[int] = field(default_factory=list)
    per_decade: int = 4
    probe: int = 64
    """Training examples in the fixed probe batch."""
    kernel: str = "pntk"
    options: dict[str, Any] = field(default_factory=dict)
