"""The published code's defects, one switch each, so that its numbers can be made beside the corrected ones.

All of them were found in the code that accompanies arXiv:2305.14585 (pnnl/projection_ntk) and none is needed
to use the methods. A switch changes its own number and no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import softmax
from scipy.stats import kendalltau

LEFT_OUT_SEEDS = (3, 4, 5, 6)
"""Seeds that the published FMNIST2 τ and R² leave out."""


@dataclass(frozen=True)
class PublishedDefects:
    """Which defects of the published code to repeat.

    Attributes
    ----------
    positive_class_tau : bool
        Binary τ ranks the positive class's probability of every point and drops points at exactly 0 or 1.
    one_hot_index : bool
        Poisoned CNN: one-hot labels index the probabilities, so that columns 0 and 1 are ranked.
    reused_machine : bool
        Poisoned CNN: the machine fitted on the trNTK predicts from the trNTK⁰.
    squared_conjugate : bool
        BERT: the conjugate kernel, already N x N, is multiplied by its transpose.
    test_labels : bool
        Grad-Cos takes the test points' true labels.
    raw_logit_loss : bool
        Grad-Cos on BERT: negative log-likelihood of raw logits, a same-label mask.
    first_tensor : bool
        Grad-Cos on the poisoned CNN stops after the first parameter tensor.
    uncentred_output : bool
        FMNIST2 trains f(θ) - f(θ₀) and evaluates f(θ).
    left_out_seeds : bool
        FMNIST2's τ and R² leave out seeds 3 to 6.
    stored_kernel : bool
        CIFAR2 overwrites its kernel from a stored file.
    test_axis_r2 : bool
        R²: softmax over test points, arguments swapped, Nelder-Mead.
    unseeded_solver : bool
        The GLM's SGD takes no seed.
    unguarded_cosine : bool
        Cosine divides by the norms of zero gradients.
    """

    positive_class_tau: bool = False
    one_hot_index: bool = False
    reused_machine: bool = False
    squared_conjugate: bool = False
    test_labels: bool = False
    raw_logit_loss: bool = False
    first_tensor: bool = False
    uncentred_output: bool = False
    left_out_seeds: bool = False
    stored_kernel: bool = False
    test_axis_r2: bool = False
    unseeded_solver: bool = False
    unguarded_cosine: bool = False

    @classmethod
    def all(cls) -> PublishedDefects:
        """Return `protocol=published`: every switch on."""
        return cls(**{field.name: True for field in fields(cls)})


@dataclass(frozen=True)
class PublishedTau:
    """Kendall's τ_b with the number of points ranked and dropped."""

    tau: float
    n: int
    dropped: int


def positive_class_tau(network: Float[np.ndarray, " n"], surrogate: Float[np.ndarray, " n"]) -> PublishedTau:
    """Rank the positive class's probabilities; points at exactly 0 or 1 in either model drop out.

    Parameters
    ----------
    network, surrogate : ndarray of float32 or float64, shape (n,)
        Probabilities of class 1. How many saturate depends on their precision.
    """
    kept = (network > 0) & (network < 1) & (surrogate > 0) & (surrogate < 1)
    tau = float(kendalltau(network[kept], surrogate[kept]).statistic) if kept.sum() > 1 else float("nan")
    return PublishedTau(tau, int(kept.sum()), int((~kept).sum()))


def one_hot_index_tau(
    network: Float[np.ndarray, "n C"], surrogate: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"]
) -> PublishedTau:
    """Rank what a one-hot label picks as an index: column 0 of every point C-1 times and column 1 once."""
    one_hot = np.eye(network.shape[1], dtype=np.int64)[labels]
    rows = np.arange(len(labels))[:, None]
    a, b = network[rows, one_hot].ravel(), surrogate[rows, one_hot].ravel()
    return PublishedTau(float(kendalltau(a, b).statistic), a.size, 0)


def test_axis_r2(network: Float[np.ndarray, "n C"], surrogate: Float[np.ndarray, "n C"]) -> float:
    """R² as published: softmax over the test points, a Nelder-Mead line, and the two arguments exchanged.

    Parameters
    ----------
    network, surrogate : ndarray, shape (n, C)
        Logits. The residual is divided by the variance of the fitted values rather than of the network's.
    """
    target, source = (np.log(softmax(s, axis=0)).ravel() for s in (network, surrogate))
    line = minimize(
        lambda p: float(((p[0] * source + p[1] - target) ** 2).mean()), np.array([1.0, 0.0]), method="Nelder-Mead"
    ).x
    fitted = line[0] * source + line[1]
    return float(1 - ((fitted - target) ** 2).sum() / ((fitted - fitted.mean()) ** 2).sum())


def conjugate_kernel(kernel: Float[np.ndarray, "N N"], defects: PublishedDefects) -> Float[np.ndarray, "N N"]:
    """Return the conjugate kernel over training and test points together, or its square."""
    return kernel @ kernel.T if defects.squared_conjugate else kernel


def machine_kernel(kernels: Mapping[str, str], kind: str, defects: PublishedDefects) -> str:
    """Name the kernel whose fitted machine predicts from kernel `kind`; `kernels` maps kinds to artefacts."""
    return kernels["trntk"] if defects.reused_machine and kind == "trntk0" else kernels[kind]


def gradient_labels(
    labels: Int[np.ndarray, " m"], predicted: Int[np.ndarray, " m"], defects: PublishedDefects
) -> Int[np.ndarray, " m"]:
    """Choose the labels of the test points' loss gradients: predicted ones, or (a leak) the true ones."""
    return labels if defects.test_labels else predicted


def loss_error(
    logits: Float[np.ndarray, "n C"], labels: Int[np.ndarray, " n"], defects: PublishedDefects
) -> Float[np.ndarray, "n C"]:
    """Return ∂loss/∂logits: softmax minus one-hot, or minus one-hot where the loss takes raw logits."""
    one_hot = np.eye(logits.shape[1])[labels]
    return -one_hot if defects.raw_logit_loss else softmax(logits, axis=1) - one_hot


def gradient_parts(names: Sequence[str], defects: PublishedDefects) -> list[str]:
    """Choose the parameter tensors that enter Grad-Cos."""
    return list(names[:1]) if defects.first_tensor else list(names)


def network_output(
    trained: Float[np.ndarray, " n"], initial: Float[np.ndarray, " n"], defects: PublishedDefects
) -> Float[np.ndarray, " n"]:
    """Return the log-odds of a network that was trained on f(θ) - f(θ₀)."""
    return trained if defects.uncentred_output else trained - initial


def counted_seeds(seeds: Sequence[int], defects: PublishedDefects) -> list[int]:
    """Choose the seeds that enter FMNIST2's averages."""
    return [s for s in seeds if not (defects.left_out_seeds and s in LEFT_OUT_SEEDS)]


def kernel_in_use(
    computed: Float[np.ndarray, "m n"], stored: Float[np.ndarray, "m n"] | None, defects: PublishedDefects
) -> Float[np.ndarray, "m n"]:
    """Return the kernel of this network, or the stored one that replaces it."""
    if not defects.stored_kernel:
        return computed
    if stored is None or stored.shape != computed.shape:
        shape = None if stored is None else stored.shape
        raise ValueError(f"stored_kernel needs a stored kernel of shape {computed.shape}, got {shape}.")
    return stored


def solver_seed(seed: int, defects: PublishedDefects) -> int | None:
    """Return the seed of the published SGD solver, or None."""
    return None if defects.unseeded_solver else seed
