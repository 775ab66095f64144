"""Report section of the kernel-regression study: errors by epoch, bounds, decay, logistic fits, refitted heads."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.figures_regression import (
    MACHINES,
    decay_figure,
    error_by_epoch_figure,
    logistic_figure,
    residual_figure,
)
from analysis.kernel_regularity import eigenvalue_decay
from pipeline.build import Gathered
from pipeline.claim_tests import Decided, at_least, at_most
from pipeline.report_blocks import Picture, Section, Table, Verdict, summary_cells
from pipeline.report_train import grouped
from pipeline.schema import RunConfig

EARLY = 30
"""Epoch of the published early comparison."""
_TRUNCATED = "ck_loo"


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show whatever the members computed: functions at snapshots, logistic fits at snapshots, or refitted heads."""
    task = members[0].config.regression.task
    if task == "function":
        return _functions(members)
    return _logistic(members) if task == "logistic" else _heads(members)


def _functions(members: list[Gathered]) -> Section:
    groups = grouped(members)
    rows, points, verdicts, findings = [], [], [], []
    for name, group in groups.items():
        activation, target = _activation(group[0]), _target(group[0])
        runs = [member.artifact.table("machines.parquet").to_pylist() for member in group]
        for seed, run in enumerate(runs):
            points += [
                {**row, "activation": activation, "target": target, "epoch": row["step"], "seed": seed}
                for row in run
                if row["machine"] != _TRUNCATED
            ]
        last = [_at(run, run[-1]["step"]) for run in runs]
        for machine in ("nn", "ck", "ck_svd", _TRUNCATED, "ntk"):
            values = [entry[machine]["test_rms"] for entry in last]
            edge = float(np.median([entry[machine]["edge_rms"] for entry in last]))
            ratio = [entry[machine]["ratio"] for entry in last]
            bounds = "–" if machine == "nn" else "yes" if all(e[machine]["bounds_hold"] for e in last) else "no"
            slope = last[0][machine].get("slope")
            rows.append(
                [
                    name,
                    MACHINES.get(machine, "CK (features, rank by LOO)"),
                    *summary_cells(values),
                    float(np.median(values)),
                    edge,
                    "–" if machine == "nn" else float(np.median(ratio)),
                    bounds,
                    last[0][machine].get("rank") or "–",
                    "–" if slope is None else slope,
                ]
            )
        medians = {machine: float(np.median([entry[machine]["test_rms"] for entry in last])) for machine in last[0]}
        findings.append(
            f"{name}: final test RMSE (median of {len(group)}): network {medians['nn']:.2g}, CK {medians['ck']:.2g}, "
            f"CK through features {medians['ck_svd']:.2g}, NTK {medians['ntk']:.2g}."
        )
        verdicts += _function_verdicts(name, activation, target, runs)
    panels = list(dict.fromkeys((row["activation"], row["target"]) for row in points))
    table = Table(
        [
            "cells",
            "machine",
            "runs",
            "test RMSE",
            "sd",
            "95 % interval",
            "median",
            "edge RMSE",
            "loss ratio ρ",
            "bounds hold",
            "rank",
            "decay slope",
        ],  # fmt: skip
        rows,
        "Last snapshot. ρ is the machine's test error over the network's; |1-τ|-β ≤ ρ ≤ 1+τ+β is checked with every "
        "term computed. Edge: the two test points beyond the last training point.",
        keys=[member.artifact.key for member in members],
        command=members[0].command,
    )
    pictures = [
        Picture(
            error_by_epoch_figure(points, panels),
            "Test error by epoch, median and range over seeds.",
            "Test error of network and kernel machines by epoch",
        ),
        *_last_pictures(groups),
    ]
    return Section("Kernel regression", [table, *pictures, *verdicts], findings)


def _last_pictures(groups: dict[str, list[Gathered]]) -> list[Picture]:
    pictures = []
    for name, group in groups.items():
        arrays = group[0].artifact.arrays("last.safetensors")
        order = np.argsort(arrays["x"][:, 0])
        fits = {machine: arrays[machine][order, 0] for machine in ("nn", "ck", "ck_svd", "ntk")}
        figure = residual_figure(arrays["x"][order, 0], arrays["target"][order, 0], fits, arrays["x_train"][:, 0])
        pictures.append(Picture(figure, f"{name}: fits and errors of the first seed.", f"Fits and errors, {name}"))
        first, last = group[0].config.regression.window
        window = (first, min(last, len(arrays["gram_ck"])))
        decays = {kernel.upper(): eigenvalue_decay(arrays[f"gram_{kernel}"], window=window) for kernel in ("ck", "ntk")}
        text = f"{name}: eigenvalues of the kernels on the training grid, with the fitted window."
        pictures.append(Picture(decay_figure(decays), text, f"Eigenvalue decay, {name}"))
    return pictures


def _function_verdicts(name: str, activation: str, target: str, runs: list[list[dict[str, Any]]]) -> list[Verdict]:
    def ratios(over: str, under: str, step: int | None = None) -> list[float]:
        values = []
        for run in runs:
            entry = _at(run, run[-1]["step"] if step is None else step)
            values.append(entry[over]["test_rms"] / entry[under]["test_rms"] if entry else np.nan)
        return values

    found: list[tuple[str, Decided]] = []
    if target in ("exp_sin", "exp_3x"):
        for kernel in ("ck", "ntk"):
            found.append(
                (
                    f"(a) at epoch {EARLY} the {kernel.upper()} machine beats the network threefold",
                    at_least(ratios("nn", kernel, EARLY), 3.0, "network's test RMSE over the machine's"),
                )
            )
    orders = {
        ("relu", "exp_sin"): [("nn", "ck", "(b) CK below the network"), ("ntk", "nn", "(b) network below NTK")],
        ("relu", "exp_3x"): [("ck", "nn", "(b) network below CK"), ("ntk", "ck", "(b) CK below NTK")],
        ("relu", "cos_exp_3x"): [("ck", "nn", "(e) negative case: the CK does not help")],
    }
    for over, under, claim in orders.get((activation, target), []):
        bound = 0.9 if claim.startswith("(e)") else 1.0
        found.append((claim, at_least(ratios(over, under), bound, f"test RMSE, {over} over {under}")))
    if activation == "tanh":
        for kernel in ("ck", "ntk"):
            claim = f"(c) the {kernel.upper()} machine beats the network tenfold"
            found.append((claim, at_least(ratios("nn", kernel), 10.0, "network's test RMSE over the machine's")))
        if target != "cos_exp_3x":
            decided = at_least(ratios("ck", "ck_svd"), 100.0, "Gram route's test RMSE over the feature route's")
            found.append(("the feature route is a hundred times better than the Gram", decided))
    bracket = [_at(run, run[-1]["step"])["ck"]["bracket"] for run in runs]
    found.append(("(d) the CK fitted to the network returns it", at_most(bracket, 7e-5, "RMS distance on test points")))
    return [Verdict(f"{name}: {claim}", d.verdict, d.evidence, "orderings", "derived") for claim, d in found]


def _logistic(members: list[Gathered]) -> Section:
    rows, findings = [], []
    blocks: list[Picture | Verdict] = []
    for name, group in grouped(members).items():
        runs = [member.artifact.table("machines.parquet").to_pylist() for member in group]
        points = [{**row, "epoch": row["step"], "run": i} for i, run in enumerate(runs) for row in run]
        last = [_at(run, run[-1]["step"]) for run in runs]
        for machine in ("nn", "ck", "ntk"):
            loss = [entry[machine]["cross_entropy"] for entry in last]
            accuracy = float(np.mean([entry[machine]["accuracy"] for entry in last]))
            separable = sum(entry[machine]["separable"] for entry in last)
            rows.append([name, MACHINES[machine], *summary_cells(loss), accuracy, f"{separable} of {len(last)}"])
        blocks.append(
            Picture(
                logistic_figure(points),
                f"{name}: test cross-entropy and accuracy, mean and sd over the runs that reached that epoch.",
                f"Logistic machines by epoch, {name}",
            )
        )
        for kernel in ("ck", "ntk"):
            gap = [entry[kernel]["cross_entropy"] - entry["nn"]["cross_entropy"] for entry in last]
            decided = at_most(gap, 0.0, "machine's minus network's test cross-entropy, nats")
            claim = f"{name}: the {kernel.upper()} machine lies below the network in cross-entropy"
            blocks.append(Verdict(claim, decided.verdict, decided.evidence, "well below", "derived, ordering only"))
        findings.append(
            f"{name}: test cross-entropy, mean of {len(group)}: "
            + ", ".join(
                f"{MACHINES[m]} {np.mean([entry[m]['cross_entropy'] for entry in last]):.3g}"
                for m in ("nn", "ck", "ntk")
            )
            + "."
        )
    table = Table(
        ["cells", "machine", "runs", "cross-entropy (nats)", "sd", "95 % interval", "accuracy", "separable"],
        rows,
        "Last snapshot of every run. Cross-entropy has a stated probability floor. Separable: the fit classifies every "
        "training point, so that an unpenalised optimum does not exist.",
        keys=[member.artifact.key for member in members],
        command=members[0].command,
    )
    return Section("Kernel logistic regression", [table, *blocks], findings)


def _heads(members: list[Gathered]) -> Section:
    rows, verdicts, findings = [], [], []
    for name, group in grouped(members).items():
        runs = [member.artifact.table("heads.parquet").to_pylist() for member in group]
        for size in sorted({row["size"] for run in runs for row in run}):
            here = [[row for row in run if row["size"] == size] for run in runs]
            values = [float(np.mean([row["balanced_accuracy"] for row in run])) for run in here if run]
            loss = float(np.mean([row["cross_entropy"] for run in here for row in run]))
            label = "the network's own head" if size == 0 else "refitted"
            rows.append([name, label, "–" if size == 0 else size, *summary_cells(values), loss])
        gain = [
            member.artifact.metrics["refit_balanced_accuracy"] - member.artifact.metrics["head_balanced_accuracy"]
            for member in group
        ]
        decided = at_least(gain, 0.0, "gain of balanced accuracy over the network's own head, all rows")
        claim = f"{name}: a converged last layer is at least as good as the network's own"
        verdicts.append(Verdict(claim, decided.verdict, decided.evidence, "no digits", "published contrast"))
        findings.append(f"{name}: refitting the head changes balanced accuracy by {100 * np.mean(gain):.1f} points.")
    table = Table(
        ["cells", "head", "training rows", "runs", "balanced accuracy", "sd", "95 % interval", "cross-entropy (nats)"],
        rows,
        "Heads on the last hidden features, scored on test rows; the penalty is chosen inside the training rows. "
        "Redraws of one run are averaged before the interval over runs.",
        keys=[member.artifact.key for member in members],
        command=members[0].command,
    )
    return Section("Refitted heads", [table, *verdicts], findings)


def _at(run: list[dict[str, Any]], step: int) -> dict[str, dict[str, Any]]:
    return {row["machine"]: row for row in run if row["step"] == step}


def _activation(member: Gathered) -> str:
    return str(getattr(member.config.model, "activation", "relu"))


def _target(member: Gathered) -> str:
    return str(member.config.data.synthetic.function)
