"""Stage ``spectra``: what training did to the singular values of every weight and to the probe kernel."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from analysis.spectra.alignment import kernel_target_alignment
from analysis.spectra.classes import classify_spectrum
from analysis.spectra.critical_rate import gauss_newton_critical_rate
from analysis.spectra.heavy_tails import TailReport, gaussian_null, shuffled_null, tail_report
from analysis.spectra.matrix_views import weight_matrices
from analysis.spectra.power_law import MIN_TAIL
from analysis.spectra.weights import (
    SpectrumRow,
    describe_spectrum,
    failed_row,
    ks_between,
    reference_law,
    weight_spectrum,
)
from analysis.spectra.weightwatcher import weightwatcher_alpha
from kernels.diagnostics import kernel_alignment, relative_change
from models.initialization import seeded
from models.logits import targets_of
from pipeline.config.run import RunConfig
from pipeline.config.spectra import SpectraConfig
from pipeline.data.batches import TrainingData, cast
from pipeline.data.datamodule import open_data
from pipeline.engine.artifacts import Artifact, finite_or_none
from pipeline.engine.build import Build
from pipeline.machine.arithmetic import network_dtype
from pipeline.stages.spectra.layers import wide_enough
from pipeline.stages.spectra.read import HISTORY, KERNEL, LAYERS, SPECTRA, KernelRow, LayerRow
from pipeline.stages.train.read import load_snapshot, read_probe_batch, read_recorded_steps, read_snapshot_arrays
from pipeline.training.fit import make_module
from pipeline.training.networks import starting_network, trained_network

KERNEL_METRICS: tuple[Literal["kta", "movement", "distance", "ks_start", "largest"], ...] = (
    "kta",
    "movement",
    "distance",
    "ks_start",
    "largest",
)
"""Numbers of the last probe kernel that are metrics of the run."""


def spectra(build: Build) -> dict[str, Any]:
    """Describe the spectrum of every chosen weight against its law and its own start, at every snapshot.

    Writes ``spectra.parquet`` (a row per step and matrix), ``layers.parquet`` (a row per matrix: class, tail,
    null), ``spectra.safetensors`` (``<matrix>/start`` and ``/end``, singular values) and, where the probe kernel
    was recorded, ``kernel.parquet`` (a row per step).
    """
    config = build.config
    data = open_data(config, build.inputs["data"])
    start_network = starting_network(config, data, build.inputs.get("pretrained"))
    snapshots = build.inputs.get("snapshots")
    if config.weights.source == "path" and snapshots is not None:  # the first file, where training began elsewhere
        load_snapshot(start_network, snapshots, read_recorded_steps(snapshots)[0]["step"])
    first = weight_matrices(start_network)
    last = weight_matrices(trained_network(config, data, build.inputs["weights"]))
    kept, skipped = wide_enough(first, config.spectra)
    steps = [] if snapshots is None else [int(row["step"]) for row in read_recorded_steps(snapshots)]
    recorded = [] if snapshots is None or "spectra" not in config.snapshots.record else steps
    build.say(f"{len(kept)} weight matrices, {len(skipped)} skipped, {len(recorded)} recorded steps")
    history: list[dict[str, Any]] = []
    layers: list[LayerRow] = []
    arrays: dict[str, np.ndarray] = {}
    for label in kept:
        shape = (first[label].shape[0], first[label].shape[1])
        start = weight_spectrum(first[label])
        end, row = _last_row(first[label], last[label], start)
        for step in recorded[:-1]:
            now = read_snapshot_arrays(snapshots, step, "spectra")[label]  # type: ignore[arg-type]
            if step == 0 and not np.allclose(now, start, rtol=1e-5, atol=1e-5 * start[0]):
                raise ArithmeticError(f"{label}: the rebuilt initial weights differ from the recorded ones")
            history.append(
                {"step": step, "matrix": label, **dataclasses.asdict(describe_spectrum(now, shape, start=start))}
            )
        final = steps[-1] if steps else -1
        history.append({"step": final, "matrix": label, **dataclasses.asdict(row)})
        arrays[f"{label}/start"] = start
        if end is not None:
            arrays[f"{label}/end"] = end
        layers.append(_layer(label, row, start, end, last[label], config.spectra))
    build.write_rows(HISTORY, history)
    build.write_rows(LAYERS, layers)
    build.write_arrays(SPECTRA, arrays)
    metrics = _summary(layers, skipped)
    metrics["critical_rate"] = starting_rate(config, data, start_network)
    if snapshots is not None and "kernel" in config.snapshots.record:
        kernels = _kernel_rows(snapshots, steps)
        build.write_rows(KERNEL, kernels)
        last_kernel = kernels[-1]
        metrics |= {f"kernel_{name}": finite_or_none(last_kernel[name]) for name in KERNEL_METRICS}
        metrics["kernel_kta_start"] = finite_or_none(kernels[0]["kta"])
    return metrics


def starting_rate(config: RunConfig, data: TrainingData, network: nn.Module) -> float:
    """Critical rate of the untrained network on its first training batch, in training mode (momentum left out)."""
    module = make_module(network, data, config, steps_per_epoch=1)
    rows = torch.arange(min(config.training.batch_size, data.size("train")))
    batch = cast(data.batch("train", rows), network_dtype(config.numerics.precision), config.numerics.memory_format)
    module.model.train()
    with seeded(config.streams.dropout):
        outputs = module(batch)
        parameters = [p for p in module.model.parameters() if p.requires_grad]
        targets = targets_of(batch)
        generator = torch.Generator().manual_seed(0)
        return gauss_newton_critical_rate(outputs, lambda f: module.loss(f, targets), parameters, generator)


def _last_row(first: Tensor, last: Tensor, start: np.ndarray) -> tuple[np.ndarray | None, SpectrumRow]:
    """Spectrum and row of the trained weight; a failed row where it is not finite."""
    shape = (first.shape[0], first.shape[1])
    try:
        end, change = weight_spectrum(last), weight_spectrum(last.double() - first.double())
    except ValueError as error:
        return None, failed_row(shape, str(error))
    return end, describe_spectrum(end, shape, start=start, change=change)


def _layer(
    label: str, row: SpectrumRow, start: np.ndarray, end: np.ndarray | None, weight: Tensor, config: SpectraConfig
) -> LayerRow:
    """Class and tail of one trained matrix."""
    named = classify_spectrum(row.outliers, row.ks_start, size=min(row.rows, row.columns))
    tail = _tail(row, start, end, weight, config)
    return {
        "matrix": label,
        "status": row.status,
        "note": row.note,
        "rows": row.rows,
        "columns": row.columns,
        "outliers": row.outliers,
        "largest": row.largest,
        "ks_law": row.ks_law,
        "ks_start": row.ks_start,
        "wasserstein_start": row.wasserstein_start,
        "stable_rank": row.stable_rank,
        "change_frobenius": row.change_frobenius,
        "change_operator": row.change_operator,
        "margin": row.margin,
        "class": named.label if end is not None else "failed",
        "evidence": named.evidence if end is not None else row.note,
        "alpha": math.nan if tail is None or tail.alpha is None else tail.alpha,
        "fitted_alpha": math.nan if tail is None else tail.fit.alpha,
        "p_distance": math.nan if tail is None else tail.p_distance,
        "p_alpha": math.nan if tail is None else tail.p_alpha,
        "hill": math.nan if tail is None else tail.hill,
        "tail": "no tail fitted" if tail is None else tail.statement,
        "weightwatcher_alpha": math.nan if end is None else weightwatcher_alpha(end**2) or math.nan,
    }


def _tail(
    row: SpectrumRow, start: np.ndarray, end: np.ndarray | None, weight: Tensor, config: SpectraConfig
) -> TailReport | None:
    """Tail against simulated noise where the start was iid, else against the layer's own shuffled entries."""
    if end is None or end.size <= MIN_TAIL or config.null_draws < 1:
        return None
    law, _, _ = reference_law(start, (row.rows, row.columns))
    if law is not None:
        null = gaussian_null(row.rows, row.columns, config.null_draws, 0)
    else:
        null = shuffled_null(weight.double().cpu().numpy(), min(config.null_draws, 39), 0)
    return tail_report(end**2, null)


def _kernel_rows(snapshots: Artifact, steps: Sequence[int]) -> list[KernelRow]:
    """Alignment, movement and spectrum of the probe kernel at each step, against its own start."""
    probe = read_probe_batch(snapshots)
    targets = probe["y"].astype(np.float64) if "y" in probe else np.eye(int(probe["label"].max()) + 1)[probe["label"]]
    rows: list[KernelRow] = []
    start = torch.empty(0, 0)
    for step in steps:
        kernel = read_snapshot_arrays(snapshots, step, "kernel")["kernel"].astype(np.float64)
        kernel = (kernel + kernel.T) / 2
        now = torch.from_numpy(kernel)
        start = now if step == steps[0] else start
        rows.append(
            {
                "step": step,
                "kta": kernel_target_alignment(kernel, targets, centered=True).value,
                "movement": relative_change(start, now),
                "distance": 1.0 - kernel_alignment(start, now),
                "ks_start": ks_between(np.linalg.eigvalsh(kernel), torch.linalg.eigvalsh(start).numpy()),
                "largest": float(torch.linalg.eigvalsh(now)[-1]),
            }
        )
    return rows


def _summary(layers: list[LayerRow], skipped: dict[str, str]) -> dict[str, Any]:
    """Numbers of the run as a whole."""
    distances = [row["ks_start"] for row in layers if math.isfinite(row["ks_start"])]
    classes = sorted({row["class"] for row in layers})
    return {
        "matrices": len(layers),
        "skipped": skipped,
        "ks_start_mean": float(np.mean(distances)) if distances else None,
        "ks_start_max": max(distances) if distances else None,
        "outliers": sum(max(0, row["outliers"]) for row in layers),
        "classes": {name: sum(row["class"] == name for row in layers) for name in classes},
        "heavy_tails": sum(math.isfinite(row["alpha"]) for row in layers),
    }
