"""Stage ``regression``: kernel machines of a network (CK, NTK, refitted head) against the network itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from analysis.regression.least_squares import Factorization, KernelMachine, factorize_features, factorize_gram
from analysis.regression.logistic import LogisticFit, fit_kernel_logistic, fit_published_logistic
from analysis.regression.loss_ratio import kernel_loss_ratio
from analysis.regression.nystrom import NystromFit, choose_centers, fit_nystrom_logistic
from analysis.regression.regularity import eigenvalue_decay
from kernels import kernel_matrix
from pipeline.config.regression import RegressionConfig
from pipeline.data.datamodule import open_data
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.stages.regression.heads import refitted_heads
from pipeline.stages.regression.read import HEADS, LAST, MACHINES, FunctionRow, LogisticRow
from pipeline.stages.train.read import has_weights, load_snapshot, read_recorded_steps
from pipeline.training.networks import build_network

EDGE = 2
"""Last test points of the published grid, which are beyond the last training point."""


@dataclasses.dataclass(frozen=True)
class Grams:
    """Kernels of one snapshot: train x train and test x train by name, and CK features with a column of ones.

    Of a classifier both kernels are those of the logit difference, so that one penalty weighs alike on them.
    With Nyström centers both have one column for each center instead of each training point.
    """

    square: dict[str, np.ndarray]
    cross: dict[str, np.ndarray]
    features: tuple[np.ndarray, np.ndarray]


def regression(build: Build) -> dict[str, Any]:
    """Fit kernel machines of the run's network.

    ``function`` and ``logistic`` look at every snapshot and write ``machines.parquet`` (one row for each step and
    machine) and, for functions, ``last.safetensors`` (predictions, eigenvalues). ``head`` writes ``heads.parquet``.

    Raises
    ------
    UserError
        If the task does not fit the data, or no weights were recorded.
    """
    config = build.config
    task = config.regression.task
    if task == "head":
        heads, metrics = refitted_heads(build)
        build.write_rows(HEADS, heads)
        return metrics
    data = open_data(config, build.inputs["data"])
    if (task == "function") == bool(data.n_classes):
        raise UserError(f"regression.task={task} does not fit data={config.data.name} with {data.n_classes} classes.")
    train, test = (data.kernel_inputs(split) for split in ("train", "test"))
    if isinstance(train.inputs, dict) or isinstance(test.inputs, dict):
        raise UserError("regression at snapshots reads vectors or images; for texts set regression.task=head.")
    centers = None
    if task == "logistic" and config.regression.centers is not None:
        count, generator = config.regression.centers, np.random.default_rng([config.regression.seed, 2])
        centers = choose_centers(len(train.ids), min(count, len(train.ids)), generator)
    rows: list[FunctionRow | LogisticRow] = []
    arrays: dict[str, np.ndarray] = {}
    with arithmetic(config.numerics):
        for step, network in _snapshots(build, build_network(config, data)):
            with torch.no_grad():
                outputs = tuple(network(x).double().numpy() for x in (train.inputs, test.inputs))
            grams = _grams(network, train.inputs, test.inputs, difference=task == "logistic", centers=centers)
            labels = (train.labels.double().numpy(), test.labels.double().numpy())
            if task == "function":
                machines, arrays = _function(step, config.regression, labels, outputs, grams)
                rows += machines
            else:
                fitted = _logistic(step, config.regression, labels, outputs, grams, centers)
                rows += fitted.values()
                if fitted["nn"].train_accuracy >= config.regression.stop_accuracy:
                    break
    build.write_rows(MACHINES, rows)
    if arrays:
        build.write_arrays(LAST, {**arrays, "x": test.inputs.numpy(), "x_train": train.inputs.numpy()})
    error = "test_rms" if task == "function" else "cross_entropy"
    last = rows[-1].step
    return {"task": task, "snapshots": len({row.step for row in rows}), "last_step": last} | {
        f"{error}_{row.machine}": getattr(row, error) for row in rows if row.step == last
    }


def _snapshots(build: Build, network: nn.Module) -> Iterator[tuple[int, nn.Module]]:
    upstream = build.inputs["snapshots"]
    steps = [moment["step"] for moment in read_recorded_steps(upstream) if has_weights(upstream, moment["step"])]
    if not steps:
        raise UserError("regression needs weights at snapshots: set snapshots.record=[weights].")
    for step in steps:
        if step > 0:
            yield step, load_snapshot(network, upstream, step)


def _grams(
    network: nn.Module, train: Tensor, test: Tensor, *, difference: bool, centers: np.ndarray | None = None
) -> Grams:
    """Compute both kernels; ``difference``: of f₁ - f₀ in place of the network's one output.

    The CK is the NTK's last-layer part. That of one output is h·h' + 1; the weights of both logits move their
    difference, which gives 2 (h·h' + 1).
    """
    square, cross = {}, {}
    columns = train if centers is None else train[torch.as_tensor(centers)]
    for name, kind in (("ck", "conjugate"), ("ntk", "pntk")):
        options: dict[str, Any] = {"kind": kind, "normalize": False, "precision": "float64"}
        if kind == "conjugate":
            options["append_one"] = True
        elif difference:
            options["output"] = _logit_difference
        scale = 2.0 if difference and kind == "conjugate" else 1.0
        rows = () if centers is None else (train,)
        square[name] = scale * kernel_matrix(network, columns, *rows, **options).matrix.double().numpy()
        cross[name] = scale * kernel_matrix(network, columns, test, **options).matrix.double().numpy()
    caught: list[Tensor] = []
    handle = network.get_submodule("head").register_forward_pre_hook(lambda _, args: caught.append(args[0].detach()))
    try:
        with torch.no_grad():
            network(train)
            network(test)
    finally:
        handle.remove()
    features = [np.column_stack([h.double().numpy(), np.ones(len(h))]) for h in caught]
    return Grams(square, cross, (features[0], features[1]))


def _logit_difference(logits: Tensor) -> Tensor:
    return logits[:, 1:] - logits[:, :1]


def _function(
    step: int,
    config: RegressionConfig,
    targets: tuple[np.ndarray, np.ndarray],
    outputs: tuple[np.ndarray, np.ndarray],
    grams: Grams,
) -> tuple[list[FunctionRow], dict[str, np.ndarray]]:
    rows = [FunctionRow(step, "nn", *_errors(outputs[1], targets[1]))]
    arrays = {"target": targets[1], "nn": outputs[1]}
    phi, phi_test = grams.features
    svd = factorize_features(phi)
    rank = int(svd.rank_path(targets[0]).best())
    machines: list[tuple[str, Factorization, np.ndarray, dict[str, Any]]] = [
        ("ck", factorize_gram(grams.square["ck"]), grams.cross["ck"], {"cutoff": config.cutoff}),
        ("ntk", factorize_gram(grams.square["ntk"]), grams.cross["ntk"], {"cutoff": config.cutoff}),
        ("ck_svd", svd, phi_test, {}),
        ("ck_loo", svd, phi_test, {"rank": rank}),
    ]
    for name, factors, points, options in machines:
        machine = factors.solve(targets[0], **options)
        arrays[name] = machine.predict(points)
        against = _against(factors, points, options, targets, outputs, machine)
        if name in grams.square:
            first, last = config.window
            decay = eigenvalue_decay(grams.square[name], window=(first, min(last, len(phi))))
            against |= {"slope": decay.slope, "decay_r2": decay.r_squared}
            arrays[f"gram_{name}"] = grams.square[name]
        rows.append(FunctionRow(step, name, *_errors(arrays[name], targets[1]), **against))
    return rows, arrays


def _against(
    factors: Factorization,
    points: np.ndarray,
    options: dict[str, Any],
    targets: tuple[np.ndarray, np.ndarray],
    outputs: tuple[np.ndarray, np.ndarray],
    machine: KernelMachine,
) -> dict[str, Any]:
    def extend(values: np.ndarray) -> np.ndarray:
        return factors.solve(values, **options).predict(points)

    terms = kernel_loss_ratio(targets, outputs, extend)
    return {
        "rank": machine.rank,
        "cutoff": machine.cutoff,
        "ratio": terms.ratio,
        "extension": terms.extension,
        "bracket": terms.bracket_rms,
        "lower": terms.lower,
        "upper": terms.upper,
        "bounds_hold": terms.holds,
        "gap": terms.gap,
    }


def _errors(guess: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Root mean square miss on all test points, without the ones beyond the training points, and on those alone."""
    miss = (guess - truth)[:, 0]
    whole, interior, edge = (float(np.sqrt(np.mean(part**2))) for part in (miss, miss[:-EDGE], miss[-EDGE:]))
    return whole, interior, edge


def _logistic(
    step: int,
    config: RegressionConfig,
    labels: tuple[np.ndarray, np.ndarray],
    outputs: tuple[np.ndarray, np.ndarray],
    grams: Grams,
    centers: np.ndarray | None,
) -> dict[str, LogisticRow]:
    odds = [values[:, 1] - values[:, 0] for values in outputs]
    fitted: LogisticFit | NystromFit
    scores: dict[str, tuple[np.ndarray, np.ndarray, LogisticFit | NystromFit | None]] = {"nn": (odds[0], odds[1], None)}
    for name in ("ck", "ntk"):
        gram = grams.square[name]
        penalty = config.penalty
        if config.penalty_unit == "trace":
            penalty *= float(np.mean(np.diagonal(gram if centers is None else gram[centers])))
        if centers is not None:
            fitted = fit_nystrom_logistic(gram, centers, labels[0], penalty=penalty)
        elif config.protocol == "published":
            fitted = fit_published_logistic(gram, labels[0], generator=np.random.default_rng([config.seed, len(name)]))
        else:
            fitted = fit_kernel_logistic(gram, labels[0], penalty=penalty)
        scores[name] = (fitted.log_odds(gram), fitted.log_odds(grams.cross[name]), fitted)
    floor = special.logit(config.floor)
    found = {}
    for name, (inside, outside, fit) in scores.items():
        signs = np.where(labels[1] > 0.5, 1.0, -1.0)
        bounded = np.clip(outside, floor, -floor)
        found[name] = LogisticRow(
            step,
            name,
            cross_entropy=float(np.logaddexp(0.0, -signs * bounded).mean()),
            accuracy=float(np.mean(signs * outside > 0)),
            train_accuracy=float(np.mean((inside > 0) == (labels[0] > 0.5))),
            separable=fit is not None and bool(((inside > 0) == (labels[0] > 0.5)).all()),
            penalty=math.nan if fit is None else fit.penalty,
            converged=fit is None or fit.converged,
        )
    return found
