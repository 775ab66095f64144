"""Stage ``kernel``: Gram matrices of a network on training points and test splits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kernels import KernelFeatures, kernel_features, kernel_matrix, plan_kernel
from kernels.capture.summary import joined
from kernels.diagnostics import effective_rank, kernel_spectrum, target_alignment
from kernels.inputs.samples import NotFiniteError
from kernels.operator.gram_spectrum import leading_spectrum
from pipeline.data.datamodule import KernelInputs, open_data
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.kernel.options import exact_options, sketch_options
from pipeline.stages.kernel.read import GRAM, SPECTRUM, recognized
from pipeline.training.networks import trained_network

WHOLE = 4096
"""Points up to which ``kernel.spectrum=auto`` takes every eigenvalue."""
LEADING = 64
PLAN = "plan.txt"
"""In the artifact's logs: form, work and time of each layer."""


def kernel(build: Build) -> dict[str, Any]:
    """Compute one kernel of the run's network on training points, and every test split x train.

    Writes ``gram.safetensors``: ``train`` (n, n), ``test`` (m, n) and any further split of ``kernel.test_splits``,
    their unnormalized diagonals, sample ids and labels; ``spectrum.safetensors``: eigenvalues of the training square,
    float64, descending, all or the largest, and their ``trace``.
    """
    config = build.config
    choice = config.kernel
    data = open_data(config, build.inputs["data"])
    train = data.kernel_inputs("train", choice.n_train)
    sides = {split: data.kernel_inputs(split, choice.n_test) for split in choice.test_splits}
    certificates: list[dict[str, Any]] = []
    with arithmetic(config.numerics) as device:
        network = trained_network(config, data, build.inputs["weights"]).to(device)
        make = _sketched_kernels if choice.sketch else _exact_kernels
        try:
            arrays = make(build, network, train, sides, certificates)
        except NotFiniteError as error:
            raise UserError(f"stage=kernel: {error}. Where training diverged, lower training.lr.") from error
        gram = arrays["train"]
        spectrum, ranks = _spectrum(gram, choice.spectrum)
    for name, points in (("train", train), *sides.items()):
        arrays |= {f"{name}_ids": points.ids, f"{name}_labels": points.labels}
    build.write_tensors(GRAM, arrays)
    build.write_tensors(SPECTRUM, spectrum)
    metrics: dict[str, Any] = {
        "kind": choice.kind,
        "n_train": len(gram),
        "n_test": len(arrays[choice.test_splits[0]]),
        **ranks,
    }
    if certificate := joined(certificates):
        metrics["certificate"] = certificate
    if choice.sketch:
        metrics["sketch"] = f"{choice.sketch}, {choice.dim} features"
    if data.n_classes:
        metrics["label_alignment"] = target_alignment(gram, train.labels)
    return metrics


def _spectrum(gram: Tensor, which: str) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Eigenvalues and trace of the training square, and its effective rank, with its interval if that is estimated."""
    if which == "whole" or which == "auto" and len(gram) <= WHOLE:
        values = kernel_spectrum(gram)
        return {"eigenvalues": values, "trace": values.sum()}, {"effective_rank": effective_rank(values)}
    found = leading_spectrum(gram, min(LEADING, len(gram)))
    rank = found.effective_rank
    return {"eigenvalues": found.values, "trace": torch.tensor(found.trace, dtype=torch.float64)}, {
        "effective_rank": rank.value,
        "effective_rank_low": rank.low,
        "effective_rank_high": rank.high,
    }


def _exact_kernels(
    build: Build,
    network: nn.Module,
    train: KernelInputs,
    sides: dict[str, KernelInputs],
    certificates: list[dict[str, Any]],
) -> dict[str, Tensor]:
    options = exact_options(build.config, train.labels)
    plan = plan_kernel(network, train.inputs, **options)
    build.logs.mkdir(exist_ok=True)
    (build.logs / PLAN).write_text(f"{plan}\n", encoding="utf-8")
    build.say(f"{plan.summary}\neach layer's form and time: logs/{PLAN} of this artifact")
    arrays: dict[str, Tensor] = {}
    for name, points in (("train", None), *sides.items()):
        rows = () if points is None else (points.inputs,)
        # Written beside its tiles in scratch, so that a killed stage resumes from its finished tiles.
        out = recognized(build.scratch / f"{name}.safetensors")
        found = kernel_matrix(network, train.inputs, *rows, out=out, **options)
        certificates.append(found.metadata["certificate"])
        arrays[name] = found.matrix.cpu()
        if found.diagonal is not None:
            arrays[f"{name}_diagonal"] = found.diagonal.cpu()
        arrays |= {f"{name}_part.{part}": values.cpu() for part, values in found.parts.items()}
    return arrays


def _sketched_kernels(
    build: Build,
    network: nn.Module,
    train: KernelInputs,
    sides: dict[str, KernelInputs],
    certificates: list[dict[str, Any]],
) -> dict[str, Tensor]:
    choice = build.config.kernel
    found: dict[str, KernelFeatures] = {}
    for name, points in (("train", train), *sides.items()):
        found[name] = kernel_features(network, points.inputs, **sketch_options(build.config, choice.dim))
        certificates.append(found[name].metadata["certificate"])
    build.say(f"sketch of {choice.dim} features; expected error {found['train'].about['expected_error']}")
    return {name: found["train"].gram(None if name == "train" else rows).cpu() for name, rows in found.items()}
