"""How far a kernel machine stands for a network: one call from Gram matrices to numbers, a figure and a page."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from analysis.checks import check_every_class
from analysis.comparison.arrays import as_labels, unique_names
from analysis.comparison.outputs import as_logits, one_run
from analysis.comparison.surrogate_result import SurrogateComparison, SurrogateRow
from analysis.surrogates.faithfulness import confidences, log_odds, measure_faithfulness
from analysis.surrogates.glm import KernelGLM
from analysis.surrogates.glm_cv import KernelGLMCV
from analysis.surrogates.neighbors import KernelNeighbors
from analysis.surrogates.ridge import KernelRidgeSurrogate
from analysis.surrogates.svm import KernelSVM
from kernels.arguments import checked_arguments
from kernels.arrays import as_array

MACHINES = {
    "glm": KernelGLM,
    "glm_cv": KernelGLMCV,
    "svm": KernelSVM,
    "ridge": KernelRidgeSurrogate,
    "neighbors": KernelNeighbors,
}
"""Machines by name, each at its defaults."""

FEW = 20
"""Test points below which it is said that percentile intervals are too narrow."""


@checked_arguments
def surrogate_report(
    kernel_train: Any,
    kernel_test: Any,
    labels: Any,
    network_logits: Any,
    *,
    test_labels: Any = None,
    machine: Any = "glm",
    is_probability: bool | None = None,
    draws: int = 200,
    seed: int = 0,
) -> SurrogateComparison:
    """Fit kernel machines in a network's place, and measure how closely they follow it.

    Parameters
    ----------
    kernel_train : array_like, shape (n, n), or mapping of name to array_like
        Kernel between the training points; several kernels of one network by name. Arrays, tensors, results of
        `kernels.kernel_matrix`.
    kernel_test : array_like, shape (m, n), or mapping with the same names
        Kernel of test points (rows) against training points.
    labels : array_like, shape (n,), or pair of such
        True classes 0..C-1 of the training points; or the pair (training, test).
    network_logits : array_like, shape (m, C), (m, 1) or (m,)
        The network's outputs on the test points; one output is the log-odds of class 1.
    test_labels : array_like, shape (m,), or None
        True classes of the test points, where ``labels`` is no pair.
    machine : str or estimator
        "glm" (`KernelGLM`), "glm_cv", "svm", "ridge", "neighbors", or an unfitted estimator of `analysis.surrogates`.
    is_probability : bool or None
        As in `compare_runs`.
    draws : int
        Bootstrap resamples of the test points behind the intervals.
    seed : int
        Of these resamples: the same call gives the same numbers.

    Returns
    -------
    SurrogateComparison
        ``table`` is a pandas table, ``plot()`` one figure, ``report(path)`` an HTML page; ``machines`` are the fitted
        estimators. Intervals are over test points: the network and its kernel are fixed.

    Raises
    ------
    ValueError
        In one sentence that says what to write instead; docs/compare.md lists them.

    References
    ----------
    Engel et al., arXiv 2305.14585.

    Examples
    --------
    >>> import numpy as np
    >>> from analysis import surrogate_report
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(120, 4))
    >>> logits = x @ rng.normal(size=(4, 3))  # a linear network
    >>> labels = (logits + rng.normal(size=(120, 3))).argmax(1)
    >>> kernel = x @ x.T  # and its kernel
    >>> result = surrogate_report(kernel[:80, :80], kernel[80:, :80], (labels[:80], labels[80:]), logits[80:])
    >>> round(result.value("kendall", "correct"), 2), round(result.value("agreement"), 2)
    (0.78, 0.97)
    """
    if draws < 20:
        raise ValueError(f"draws={draws}: intervals need at least 20 resamples.")
    kernels = _kernels(kernel_train, kernel_test)
    rows_train, rows_test = next(iter(kernels.values()))[1].shape[::-1]
    notes: list[str] = []
    network = _network(network_logits, rows_test, is_probability, notes)
    known = _labels(labels, test_labels, network.shape[1], rows_train, rows_test)
    if rows_test < FEW:
        notes.append(
            "There is one test point: nothing can be resampled, and no interval is given."
            if rows_test == 1
            else f"There are {rows_test} test points: intervals that resample so few are too narrow. Use {FEW} or more."
        )
    table: list[SurrogateRow] = []
    machines: dict[str, Any] = {}
    scores: dict[str, np.ndarray] = {}
    for name, (train, test) in kernels.items():
        made = _machine(machine)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            made.fit(train, known[0])
        notes += [f"{name}: {one.message}" for one in caught if issubclass(one.category, ConvergenceWarning)]
        scores[name] = made.log_scores(test)
        machines[name] = made
        found = measure_faithfulness(
            network, scores[name], known[1], n_resamples=draws, rng=np.random.default_rng(seed)
        )
        table += [
            SurrogateRow(
                kernel=name,
                metric=row.metric,
                variant=row.variant,
                value=row.value,
                low=row.low if rows_test > 1 else float("nan"),
                high=row.high if rows_test > 1 else float("nan"),
                points=row.n,
                note=row.note if row.value != row.value else "",
            )
            for row in found
        ]
    first = next(iter(kernels))
    odds = confidences(log_odds(network), log_odds(scores[first]), known[1], "correct")
    return SurrogateComparison(
        rows=tuple(table),
        machines=machines,
        scores=scores,
        network=network,
        right=network.argmax(1) == known[1],
        confidence=np.stack([odds[0][:, 0], odds[1][:, 0]]),
        n_train=rows_train,
        notes=tuple(notes),
    )


def _kernels(train: Any, test: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pair kernels by name and check their shapes."""
    if isinstance(train, Mapping) != isinstance(test, Mapping):
        raise ValueError("kernel_train and kernel_test must both be mappings of names to kernels, or both kernels.")
    if not isinstance(train, Mapping):
        train, test = {"kernel": train}, {"kernel": test}
    names = unique_names(train, len(train), "kernels")
    if sorted(map(str, test)) != sorted(names) or not names:
        raise ValueError(
            f"kernel_train has the kernels {names}, kernel_test {sorted(map(str, test))}: name the same ones."
        )
    tests = {str(name): kernel for name, kernel in test.items()}
    pairs = {}
    for name, kernel in zip(names, train.values(), strict=True):
        pairs[name] = _pair(name, as_array(kernel, f"kernel_train[{name!r}]"), as_array(tests[name], "kernel_test"))
    shapes = {pair[1].shape for pair in pairs.values()}
    if len(shapes) > 1:
        raise ValueError(f"Kernels of one network have one shape, these have {sorted(shapes)}: use the same points.")
    return pairs


def _pair(name: str, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if train.ndim != 2 or train.shape[0] != train.shape[1] or not train.size:
        raise ValueError(
            f"kernel_train of {name!r} has the shape {train.shape}: a square matrix, training points against training "
            "points, is needed."
        )
    n = len(train)
    if test.ndim != 2 or test.shape[1] != n:
        turned = test.ndim == 2 and test.shape[0] == n
        remedy = "write kernel_test.T" if turned else "compute it against the same training points"
        raise ValueError(
            f"kernel_test of {name!r} has the shape {test.shape} for {n:,} training points, (test points, {n}) is "
            f"needed: {remedy}."
        )
    for side, kernel in (("kernel_train", train), ("kernel_test", test)):
        bad = ~np.isfinite(kernel).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{side} of {name!r} is NaN or infinite in {int(bad.sum())} row(s), first in row {int(bad.argmax())}: "
                "recompute it in float32 or float64."
            )
    return train.astype(np.float64), test.astype(np.float64)


def _network(outputs: Any, points: int, is_probability: bool | None, notes: list[str]) -> Float[np.ndarray, "m C"]:
    run = one_run("network_logits", outputs, points, "network_logits")
    if len(run) != points:
        raise ValueError(
            f"network_logits has {len(run):,} rows for {points:,} test points of the kernel: give one each."
        )
    bad = ~np.isfinite(run).all(axis=1)
    if bad.any():
        raise ValueError(
            f"network_logits is NaN or infinite in {int(bad.sum())} row(s), first in row {int(bad.argmax())}."
        )
    return as_logits(run[None], is_probability, notes)[0]


def _labels(
    labels: Any, test_labels: Any, classes: int, n: int, m: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]]:
    if test_labels is None:
        if not (
            isinstance(labels, (tuple, list)) and len(labels) == 2 and all(hasattr(one, "__len__") for one in labels)
        ):
            raise ValueError(
                "The true classes of the test points are missing: write labels=(training labels, test labels), or give "
                "test_labels=."
            )
        labels, test_labels = labels
    train = as_labels(labels, classes, n, "training labels")
    check_every_class(train, classes, "the training labels")
    return train, as_labels(test_labels, classes, m, "test_labels")


def _machine(machine: Any) -> Any:
    if isinstance(machine, str):
        if machine not in MACHINES:
            raise ValueError(f"machine={machine!r} is none of {', '.join(MACHINES)}.")
        return MACHINES[machine]()
    if isinstance(machine, type) or not (hasattr(machine, "fit") and hasattr(machine, "log_scores")):
        raise ValueError(
            f"machine is a {machine.__name__ if isinstance(machine, type) else type(machine).__name__}: give a name "
            f"({', '.join(MACHINES)}) or an unfitted machine of analysis.surrogates, such as KernelGLM(alpha=1e-3)."
        )
    return clone(machine)
