"""Report section of the kernel-regression study: errors by epoch, bounds, decay, logistic fits, refitted heads."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np

from analysis.pages.blocks import Block, Finding, Picture, Section, Table, Text
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.regression.figures import (
    MACHINES,
    decay_figure,
    error_by_epoch_figure,
    logistic_figure,
    residual_figure,
)
from analysis.regression.regularity import eigenvalue_decay
from analysis.verdicts import Claim
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import about, grouped, keys_of
from pipeline.reporting.headlines import over_seeds
from pipeline.stages.regression.claims import function_claims, head_claim, head_cost, last_step, logistic_claims
from pipeline.stages.regression.read import (
    FunctionRow,
    LogisticRow,
    read_functions,
    read_heads,
    read_last,
    read_logistic,
)

PAPER = "2310.18612"
_TRUNCATED = "ck_loo"


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show what the members computed: functions at snapshots, logistic fits at snapshots, or refitted heads."""
    task = members[0].config.regression.task
    if task == "function":
        return _functions(members)
    return _logistic(members) if task == "logistic" else _heads(members)


def _functions(members: list[Gathered]) -> Section:
    groups = grouped(members)
    rows, points, claims, findings = [], [], [], []
    for name, group in groups.items():
        activation, target = _activation(group[0]), _target(group[0])
        runs = [read_functions(member.artifact) for member in group]
        shown = [group[0].labels.get(axis, value) for axis, value in (("activation", activation), ("target", target))]
        for seed, run in enumerate(runs):
            points += [
                {**asdict(row), "activation": shown[0], "target": shown[1], "epoch": row.step, "seed": seed}
                for row in run
                if row.machine != _TRUNCATED
            ]
        last = [last_step(run) for run in runs]
        for machine in ("nn", "ck", "ck_svd", _TRUNCATED, "ntk"):
            values = [entry[machine].test_rms for entry in last]
            edge = float(np.median([entry[machine].edge_rms for entry in last]))
            ratio = [value for entry in last if (value := entry[machine].ratio) is not None]
            bounds = "–" if machine == "nn" else "yes" if all(e[machine].bounds_hold for e in last) else "no"
            slope = last[0][machine].slope
            rows.append(
                [
                    name,
                    MACHINES.get(machine, "CK (features, rank by LOO)"),
                    *summary_cells(values, within=(0, math.inf)),
                    float(np.median(values)),
                    edge,
                    "–" if machine == "nn" else float(np.median(ratio)),
                    bounds,
                    last[0][machine].rank or "–",
                    "–" if slope is None else slope,
                ]
            )
        medians = {machine: float(np.median([entry[machine].test_rms for entry in last])) for machine in last[0]}
        said = (
            f"{name}: final test RMSE (median of {len(group)}): network {medians['nn']:.2g}, CK {medians['ck']:.2g}, "
            f"CK through features {medians['ck_svd']:.2g}, NTK {medians['ntk']:.2g}."
        )
        findings.append(Finding(said, keys_of(group)))
        claims += about(group, function_claims(name, activation, target, runs), PAPER)
    panels = list(dict.fromkeys((row["activation"], row["target"]) for row in points))
    table = Table(
        [
            "group",
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
        "term computed. Edge: the two test points beyond the last training point. " + OVER_SEEDS,
        keys=keys_of(members),
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
    blocks: list[Block] = [*findings, table, *pictures, *claims]
    headlines = over_seeds(
        "ratio",
        "Does refitting the last layer exactly beat gradient descent?",
        "Refitting the last layer (CK) lowers the log10 of the network's test error by {} (below 0 it raises it)",
        groups,
        lambda member: _gain(last_step(read_functions(member.artifact))),
        heading="log10 of the network's error / CK's",
        about="Test RMSE of the network over that of its conjugate kernel at the last snapshot, in powers of ten: the "
        "mean is that of the logarithms, since errors range over decades.",
        reference=0.0,
    )
    return Section("Kernel regression", blocks, headlines)


def _gain(last: dict[str, FunctionRow]) -> float | None:
    return math.log10(last["nn"].test_rms / last["ck"].test_rms) if last["ck"].test_rms else None


def _last_pictures(groups: dict[str, list[Gathered]]) -> list[Picture]:
    pictures = []
    for name, group in groups.items():
        arrays = read_last(group[0].artifact)
        order = np.argsort(arrays["x"][:, 0])
        fits = {machine: arrays[machine][order, 0] for machine in ("nn", "ck", "ck_svd", "ntk")}
        figure = residual_figure(arrays["x"][order, 0], arrays["target"][order, 0], fits, arrays["x_train"][:, 0])
        pictures.append(
            Picture(
                figure,
                f"{name}: fits and errors of the first seed.",
                f"What network and kernel machines of {name} fit to the target, and how far they miss it",
            )
        )
        first, last = group[0].config.regression.window
        window = (first, min(last, len(arrays["gram_ck"])))
        decays = {kernel.upper(): eigenvalue_decay(arrays[f"gram_{kernel}"], window=window) for kernel in ("ck", "ntk")}
        text = f"{name}: eigenvalues of the kernels on the training grid, with the fitted window."
        pictures.append(
            Picture(decay_figure(decays), text, f"Eigenvalues of the kernels of {name} by rank, with fitted slopes")
        )
    return pictures


def _logistic(members: list[Gathered]) -> Section:
    rows, findings = [], []
    blocks: list[Picture | Claim] = []
    for name, group in grouped(members).items():
        runs = [read_logistic(member.artifact) for member in group]
        points = [{**asdict(row), "epoch": row.step, "run": i} for i, run in enumerate(runs) for row in run]
        last = [last_step(run) for run in runs]
        for machine in ("nn", "ck", "ntk"):
            loss = [entry[machine].cross_entropy for entry in last]
            accuracy = float(np.mean([entry[machine].accuracy for entry in last]))
            separable = sum(entry[machine].separable for entry in last)
            rows.append(
                [
                    name,
                    MACHINES[machine],
                    *summary_cells(loss, within=(0, math.inf)),
                    accuracy,
                    f"{separable} of {len(last)}",
                ]
            )
        blocks.append(
            Picture(
                logistic_figure(points),
                f"{name}: test cross-entropy and accuracy, mean and sd over the runs that reached that epoch.",
                f"Test cross-entropy and accuracy of network and kernel machines of {name} by epoch",
            )
        )
        protocol = group[0].config.regression.protocol
        blocks += about(group, logistic_claims(name, runs, protocol), PAPER)
        means = {MACHINES[m]: float(np.mean([entry[m].cross_entropy for entry in last])) for m in ("nn", "ck", "ntk")}
        said = ", ".join(f"{machine} {mean:.3g}" for machine, mean in means.items())
        findings.append(Finding(f"{name}: test cross-entropy, mean of {len(group)}: {said}.", keys_of(group)))
    table = Table(
        ["group", "machine", "runs", "cross-entropy (nats)", "sd", "95 % interval", "accuracy", "separable"],
        rows,
        "Last snapshot of every run. Cross-entropy has a stated probability floor. Separable: the fit classifies every "
        "training point, so that an unpenalized optimum does not exist. " + OVER_SEEDS,
        keys=keys_of(members),
        command=members[0].command,
    )
    headlines = over_seeds(
        "gap",
        "How far below the network's test cross-entropy does its own kernel lie?",
        "The network's test cross-entropy minus that of its conjugate kernel is {} nats; above 0 the kernel is better",
        grouped(members),
        lambda member: _distance(last_step(read_logistic(member.artifact)), "ck"),
        heading="network minus CK, nats",
        about="Difference in test cross-entropy at the last snapshot; above 0 the kernel is better.",
        reference=0.0,
    )
    return Section("Kernel logistic regression", [*findings, table, *blocks], headlines)


def _distance(last: dict[str, LogisticRow], machine: str) -> float:
    return last["nn"].cross_entropy - last[machine].cross_entropy


def _heads(members: list[Gathered]) -> Section:
    rows, findings = [], []
    blocks: list[Claim | Text] = []
    for name, group in grouped(members).items():
        runs = [read_heads(member.artifact) for member in group]
        for size in sorted({row.size for run in runs for row in run}):
            here = [[row for row in run if row.size == size] for run in runs]
            values = [float(np.mean([row.balanced_accuracy for row in run])) for run in here if run]
            loss = float(np.mean([row.cross_entropy for run in here for row in run]))
            label = "the network's own head" if size == 0 else "refitted"
            rows.append([name, label, "–" if size == 0 else size, *summary_cells(values, within=(0, 1)), loss])
        gain = [
            member.artifact.metrics["refit_balanced_accuracy"] - member.artifact.metrics["head_balanced_accuracy"]
            for member in group
        ]
        trained = group[0].config.weights.source == "train"
        blocks += about(group, [head_claim(name, gain)], PAPER)
        if trained:  # here, so that the epochs are known
            blocks.append(Text(f"{name}: {head_cost(group[0].config.training.epochs)}", keys_of(group)))
        said = f"{name}: refitting the head changes balanced accuracy by {100 * np.mean(gain):.1f} points."
        findings.append(Finding(said, keys_of(group)))
    table = Table(
        ["group", "head", "training rows", "runs", "balanced accuracy", "sd", "95 % interval", "cross-entropy (nats)"],
        rows,
        "Heads on the last hidden features, scored on test rows; the penalty is chosen inside the training rows. "
        "Redraws of one run are averaged before the interval over runs.",
        keys=keys_of(members),
        command=members[0].command,
    )
    headlines = over_seeds(
        "refit",
        "What does a converged last layer gain over the head that training left?",
        "Refitting the head changes balanced accuracy by {} points",
        grouped(members),
        lambda member: (
            100
            * (member.artifact.metrics["refit_balanced_accuracy"] - member.artifact.metrics["head_balanced_accuracy"])
        ),
        heading="change of balanced accuracy, points",
        about="Refitted head minus the network's own, on test rows.",
        within=(-100.0, 100.0),
        reference=0.0,
    )
    return Section("Refitted heads", [*findings, table, *blocks], headlines)


def _activation(member: Gathered) -> str:
    return str(getattr(member.config.model, "activation", "relu"))


def _target(member: Gathered) -> str:
    return str(member.config.data.synthetic.function)
