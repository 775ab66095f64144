"""What a report shows of recorded curvature: sharpness, its threshold, and the kernel's spectrum of the same steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.pages.blocks import Block, Headline, Picture, Table, Text
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.spectra.curvature_figures import CurvatureRun, density_figure, rank_figure, sharpness_figure
from analysis.spectra.stability import StabilityThreshold, stability_threshold
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import keys_of, seeds_of
from pipeline.reporting.headlines import over_seeds
from pipeline.stages.train.read import read_recorded_steps, read_snapshot_arrays

MATRICES = ("hessian", "gauss_newton")
ABOUT = (
    "Hessian and Gauss-Newton matrix of the loss that is trained, weight decay left out, over the {rows} training rows "
    "of the probe batch, in evaluation mode; λ₁ is the largest eigenvalue (sharpness, of the Hessian). "
)


def curvature_blocks(groups: dict[str, list[Gathered]]) -> list[Block]:
    """Tabulate and draw the curvature of every group, with the kernel where it was recorded at the same steps."""
    runs = {
        name: [curvature_run(member, seed) for seed, member in zip(seeds_of(group), group, strict=True)]
        for name, group in groups.items()
    }
    members = [member for group in groups.values() for member in group]
    first = members[0].config.snapshots
    about = ABOUT.format(rows=first.probe)
    kernel = "kernel" in first.record
    blocks: list[Block] = [
        _table(groups, runs, about, members),
        Picture(
            sharpness_figure(runs),
            f"{about}Over training, one line per seed"
            + (f"; dotted: largest eigenvalue of the {first.kernel} kernel of these rows, over n." if kernel else ".")
            + _threshold_words(groups),
            "Largest eigenvalues of curvature and kernel over training",
        ),
        Picture(
            rank_figure(runs),
            "Largest eigenvalues at the last step, by rank."
            + (
                " Under squared error those of the Gauss-Newton matrix are the ones of the whole kernel (entk) times a "
                f"constant; other losses weight its samples. Drawn is the {first.kernel} kernel, over n."
                if kernel
                else ""
            ),
            "Largest eigenvalues by rank",
        ),
        Picture(
            density_figure({name: found[0] for name, found in runs.items()}),
            "Density of all eigenvalues by stochastic Lanczos quadrature (arXiv:1901.10159), first seed; the axis is "
            "linear below 0.01 and logarithmic beyond.",
            "Spectral densities before and after training",
        ),
    ]
    if not kernel:
        blocks.append(Text("The kernel was not recorded; snapshots.record=[kernel,curvature] sets it beside these."))
    return blocks


def sharpness_headline(groups: dict[str, list[Gathered]]) -> list[Headline]:
    """Answer how close training ends to the edge of stability, or how sharp it ends where there is no edge."""
    edge = all(_threshold(group[0].config, 1.0).value is not None for group in groups.values())
    edge = edge and all(group[0].config.weights.source != "path" for group in groups.values())
    return over_seeds(
        "sharpness",
        "How sharp is the loss where training ends?",
        "Training ends at a sharpness of {}" + (" times the edge of stability of its steps" if edge else ""),
        groups,
        lambda member: _relative(member) if edge else member.artifact.metrics["sharpness_end"],
        heading="sharpness / edge of stability" if edge else "sharpness",
        about="Largest eigenvalue of the Hessian of the training loss on the probe batch, at the last step"
        + (
            ", over that at which full-batch steps of the optimizer begin to grow, at the run's largest rate."
            if edge
            else "."
        ),
        within=(0, math.inf),
        reference=1.0 if edge else None,
    )


def curvature_run(member: Gathered, seed: str) -> CurvatureRun:
    """Read one run's curvature, and its kernel's spectrum where that was recorded too."""
    moments = read_recorded_steps(member.artifact)
    steps = [row["step"] for row in moments]
    arrays = [read_snapshot_arrays(member.artifact, step, "curvature") for step in steps]
    top = {matrix: np.stack([found[f"{matrix}.eigenvalues"] for found in arrays]) for matrix in MATRICES}
    if "kernel" in member.config.snapshots.record:
        count = top["hessian"].shape[1]
        top["kernel"] = np.stack([_kernel_top(member, step, count) for step in steps])
    thresholds = [_threshold_at(member.config, row["lr"]) for row in moments]
    densities = {
        matrix: [(found[f"{matrix}.nodes"], found[f"{matrix}.weights"]) for found in (arrays[0], arrays[-1])]
        for matrix in MATRICES
    }
    return CurvatureRun(seed, np.array(steps), top, np.array(thresholds), densities)


def _kernel_top(member: Gathered, step: int, count: int) -> np.ndarray:
    kernel = read_snapshot_arrays(member.artifact, step, "kernel")["kernel"].astype(np.float64)
    samples = len(kernel)
    if kernel.ndim == 4:  # entk: a block of logits for every pair of samples
        kernel = kernel.transpose(0, 2, 1, 3).reshape(samples * kernel.shape[2], -1)
    if not np.isfinite(kernel).all():
        return np.full(count, np.nan)
    values = np.linalg.eigvalsh((kernel + kernel.T) / 2)[::-1][:count] / samples
    return np.concatenate([values, np.full(count - len(values), np.nan)])


def _threshold(config: RunConfig, rate: float) -> StabilityThreshold:
    training = config.training
    momentum = training.momentum if training.optimizer in ("sgd", "nesterov") else 0.0
    return stability_threshold(training.optimizer, rate, min(momentum, 1 - 1e-9), training.weight_decay)


def _threshold_at(config: RunConfig, rate: float) -> float:
    """Threshold at a recorded rate; NaN where the optimizer has none, the rate is 0, or files do not tell it."""
    if rate <= 0 or config.weights.source == "path":
        return math.nan
    found = _threshold(config, rate).value
    return math.nan if found is None else found


def _relative(member: Gathered) -> float | None:
    """Give the final sharpness over the edge at the largest rate: a schedule that ends at 0 has no edge there."""
    sharpness = member.artifact.metrics["sharpness_end"]
    edge = _threshold(member.config, member.config.training.lr).value
    return None if sharpness is None or edge is None else float(sharpness) / edge


def _table(
    groups: dict[str, list[Gathered]], runs: dict[str, list[CurvatureRun]], about: str, members: list[Gathered]
) -> Table:
    rows = []
    for name, group in groups.items():
        tops = {matrix: [run.top[matrix] for run in runs[name]] for matrix in runs[name][0].top}
        edge = _threshold_at(group[0].config, group[0].config.training.lr)
        most = [float(np.nanmax(top[:, 0])) if np.isfinite(top[:, 0]).any() else math.nan for top in tops["hessian"]]
        end = [float(top[-1, 0]) for top in tops["hessian"] if math.isfinite(top[-1, 0])]
        rows.append(
            [
                name,
                _mean([float(top[0, 0]) for top in tops["hessian"]]),
                *(summary_cells(end, (0, math.inf)) if end else (0, math.nan, math.nan, "–")),
                _mean(most),
                edge,
                _mean([float(top[-1, 0]) for top in tops["gauss_newton"]]),
                _mean([float(top[-1, 0]) for top in tops["kernel"]]) if "kernel" in tops else math.nan,
                _mean([_negative(run) for run in runs[name]]),
            ]
        )
    return Table(
        ["group", "sharpness at start", "runs", "at the end", "sd", "95 % interval", "largest", "edge of stability"]
        + ["Gauss-Newton λ₁", "kernel λ₁ / n", "negative %"],
        rows,
        f"{about}Negative: share of the Hessian's eigenvalues below minus 1 % of its largest, at the last step."
        f"{_threshold_words(groups)} {OVER_SEEDS}",
        keys=keys_of(members),
        command=members[0].command,
    )


def _negative(run: CurvatureRun) -> float:
    nodes, weights = run.densities["hessian"][-1]
    if not np.isfinite(nodes).all():
        return math.nan
    return 100 * float(weights[nodes < -0.01 * np.abs(run.top["hessian"][-1, 0])].sum())


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _threshold_words(groups: dict[str, list[Gathered]]) -> str:
    """Say how the edge was computed, for which groups there is none, and what batches change."""
    said: dict[str, list[str]] = {}
    batches = False
    for name, group in groups.items():
        config = group[0].config
        if config.weights.source == "path":
            said.setdefault("files of weights do not tell the rate, so that no edge is known", []).append(name)
            continue
        found = _threshold(config, config.training.lr)
        batches = batches or (found.value is not None)
        formula = f"edge of stability {found.formula}" if found.value is not None else found.formula
        said.setdefault(formula, []).append(name)
    words = " ".join(f" {', '.join(names)}: {formula}." for formula, names in said.items())
    if batches:
        words += " It is the edge of full-batch steps; the noise of small batches holds the sharpness below it."
    return words
