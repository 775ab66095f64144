"""Projected kernels: a Gram matrix of sketched gradients, with the error to expect of its entries."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import nn

from kernels.capture.summary import joined
from kernels.contraction.finish import refuse_zero
from kernels.contraction.result import KernelResult, divide_by_diagonals
from kernels.feature_result import KernelFeatures
from kernels.features import kernel_features
from kernels.inputs.options import KernelOptions, PassOptions, entries

SKETCHED_KINDS = ("trntk", "pntk", "loss_gradient")
EXACT_ONLY = ("forms", "memory", "block_rows", "out")


def sketched_kernel(
    model: nn.Module, train: Any, test: Any, options: KernelOptions, *, sketch: str, dim: int | None, seed: int
) -> KernelResult:
    r"""Estimate a kernel from sketched gradients, :math:`\sum_c (S g_c) \cdot (S g'_c)` (arXiv:2305.14585, proj-trNTK).

    Parameters
    ----------
    model, train, test, options
        As for :func:`kernels.kernel_matrix`.
    sketch : {"tensorsketch", "countsketch", "rademacher"}
        Random map S, the same for every class and for train and test.
    dim : int
        Features per sample and class.
    seed : int
        Of the map.

    Returns
    -------
    KernelResult
        ``metadata["sketch"]`` holds what fixes the map, and the mean absolute error to expect of a cosine between
        orthogonal gradients.

    Raises
    ------
    ValueError
        For a kind without a sketch, or an option that only the exact kernel has.
    """
    kind = options["kind"]
    if kind not in SKETCHED_KINDS:
        raise ValueError(f"kind {kind!r} has no sketch: use one of {', '.join(SKETCHED_KINDS)}, or sketch=None")
    given = [name for name, value in options.items() if name in EXACT_ONLY and value is not None]
    if options["layerwise"] is not False or given:
        what = ", ".join([*given, *(["layerwise"] if options["layerwise"] is not False else [])])
        raise ValueError(
            f"{what}: not for a sketched kernel; kernel_features(...) stores features and keeps those of each layer"
        )
    start = time.perf_counter()
    common: dict[str, Any] = {name: value for name, value in options.items() if name in entries(PassOptions)}
    common |= {"kind": options["kind"], "sketch": sketch, "dim": dim, "seed": seed}
    columns = kernel_features(model, train, labels=options["labels"], **common)
    rows = columns if test is None else kernel_features(model, test, labels=options["test_labels"], **common)
    matrix = columns.gram(None if test is None else rows, normalize=False)
    left, right = _squares(rows), _squares(columns)
    if options["normalize"]:
        refuse_zero(left, "train" if test is None else "test", options["zero_gradient"])
        refuse_zero(right, "train", options["zero_gradient"])
        divide_by_diagonals(matrix, left, right, exact_diagonal=test is None)
    metadata = {
        "kind": options["kind"],
        "precision": options["precision"],
        "normalize": options["normalize"],
        "sketch": columns.about,
        "certificate": joined([one.metadata["certificate"] for one in {id(x): x for x in (rows, columns)}.values()]),
        "seconds": time.perf_counter() - start,
    }
    return KernelResult(matrix, left, left if test is None else right, {}, metadata)


def _squares(features: KernelFeatures) -> torch.Tensor:
    return features.values.square().sum(1)
