"""Report section of the snapshots: spectra of weights and the movement of the probe kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from analysis.pages.blocks import Block, Picture, Section, Table, Text
from analysis.spectra.evolution_figure import evolution_figure
from analysis.spectra.figures import figure_waterfall
from analysis.spectra.kernel_evolution import spectral_evolution
from analysis.spectra.weights import ks_between
from analysis.style import in_style, new_figure, of_seed, seed_color, seed_legend
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of, seeds_of
from pipeline.reporting.headlines import over_seeds
from pipeline.stages.train.read import read_probe_batch, read_recorded_steps, read_snapshot_arrays
from pipeline.stages.train.report_curvature import curvature_blocks, sharpness_headline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Callable[[Gathered], tuple[list[int], list[float]]]
"""From a run to steps and values."""
BULK = 50
"""Fewest singular values that make a bulk worth drawing; if no matrix has so many, the largest is drawn."""


def kernel_movement(member: Gathered) -> tuple[list[int], list[float]]:
    """Relative Frobenius distance of the probe kernel to the one before training, per step."""
    steps = [row["step"] for row in read_recorded_steps(member.artifact)]
    kernels = [read_snapshot_arrays(member.artifact, step, "kernel")["kernel"].astype(np.float64) for step in steps]
    scale = np.linalg.norm(kernels[0])
    return steps, [float(np.linalg.norm(kernel - kernels[0]) / scale) for kernel in kernels]


def _evolution(member: Gathered) -> tuple[list[int], dict[str, np.ndarray]]:
    steps = [row["step"] for row in read_recorded_steps(member.artifact)]
    labels = read_probe_batch(member.artifact).get("label")
    kernels = [read_snapshot_arrays(member.artifact, step, "kernel")["kernel"] for step in steps]
    return steps, spectral_evolution(steps, kernels, labels)


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Show how far the probe kernel moved and how the largest singular values grew."""
    record = config.snapshots.record
    blocks: list[Block] = []
    groups = grouped(members)
    if "kernel" in record:
        rows = []
        evolutions = {name: [_evolution(member) for member in group] for name, group in groups.items()}
        for name, group in groups.items():
            final = [kernel_movement(member)[1][-1] for member in group]
            aligned = np.mean([found["alignment"][[0, -1]] for _, found in evolutions[name]], 0)
            rows.append([name, len(final), float(np.mean(final)), min(final), max(final), *map(float, aligned)])
        blocks.append(
            Table(
                ["network", "runs", "mean movement", "least", "most", "alignment at start", "at the end"],
                rows,
                f"‖K − K₀‖ / ‖K₀‖ in Frobenius norm at the last step, {config.snapshots.kernel} kernel of a fixed "
                f"probe batch of {config.snapshots.probe} training examples, not normalized; its mean centered "
                "alignment with the labels before and after.",
                keys=keys_of(members),
                command=members[0].command,
            )
        )
        blocks.append(
            Picture(
                _lines(groups, kernel_movement, "‖K − K₀‖ / ‖K₀‖"),
                "Movement of the probe kernel since initialization, one line per seed.",
                "How far the probe kernel has moved from its start, by training step",
            )
        )
        blocks.append(
            Picture(
                evolution_figure(evolutions, {name: seeds_of(group) for name, group in groups.items()}),
                "The probe kernel while training, one line per seed (eigenvalues: one color per rank): leading "
                "eigenvalues, effective rank, centered alignment with the labels and how fast the kernel turns.",
                "Leading eigenvalues, effective rank, alignment and turning of the probe kernel by training step",
            )
        )
    if "spectra" in record:
        blocks.append(
            Picture(
                _lines(groups, _largest_growth, "largest σ₁ / its initial value"),
                "Growth of the largest singular value, over all weight matrices of a network, one line per seed.",
                "Growth of the largest singular value of any weight matrix, by training step",
            )
        )
        blocks += [_waterfall(name, group[0]) for name, group in groups.items()]
    if "curvature" in record:
        blocks += curvature_blocks(groups)
    if not blocks:
        blocks.append(Text(f"Recorded at {len(read_recorded_steps(members[0].artifact))} steps: {', '.join(record)}."))
    headlines = []
    if "kernel" in record:
        headlines = over_seeds(
            "movement",
            "How far does training move the kernel?",
            "Training moved the probe kernel by {} times its norm at the start",
            groups,
            lambda member: kernel_movement(member)[1][-1],
            heading="‖K − K₀‖ / ‖K₀‖",
            about=f"Change of the {config.snapshots.kernel} kernel of {config.snapshots.probe} training rows.",
            within=(0, math.inf),
        )
    if "curvature" in record:
        headlines += sharpness_headline(groups)
    return Section("What happened while training", blocks, headlines)


def _largest_growth(member: Gathered) -> tuple[list[int], list[float]]:
    steps = [row["step"] for row in read_recorded_steps(member.artifact)]
    spectra = [read_snapshot_arrays(member.artifact, step, "spectra") for step in steps]
    first = {name: values.max() for name, values in spectra[0].items()}
    return steps, [max(float(values.max() / first[name]) for name, values in step.items()) for step in spectra]


def _waterfall(name: str, member: Gathered) -> Picture:
    """Every recorded spectrum of the matrix that moved most."""
    steps = [row["step"] for row in read_recorded_steps(member.artifact)]
    spectra = [read_snapshot_arrays(member.artifact, step, "spectra") for step in steps]
    first, last = spectra[0], spectra[-1]
    size = max(values.size for values in first.values())
    wide = [label for label, values in first.items() if values.size >= min(size, BULK)]
    matrix = max(wide, key=lambda label: float(np.nan_to_num(ks_between(first[label] ** 2, last[label] ** 2))))
    unit = float(np.mean(first[matrix] ** 2)) or 1.0
    eigenvalues = np.stack([step[matrix] ** 2 / unit for step in spectra])
    edge = 1.05 * float(eigenvalues[0].max())
    return Picture(
        figure_waterfall(eigenvalues, steps, edge, f"{matrix}, {name}", "eigenvalue / mean at the start"),
        f"{name}, first seed: spectrum over training of the matrix that moved most (KS distance to its start). Dashed: "
        "5 % above its largest eigenvalue before training; dots are beyond it.",
        f"Eigenvalues of {matrix} of {name} at each recorded step, those beyond the first edge as dots",
    )


@in_style
def _lines(groups: dict[str, list[Gathered]], curve: Curve, label: str) -> Figure:
    figure, axes = new_figure(1, len(groups), sharey=True)
    for axis, (name, group) in zip(axes[0], groups.items(), strict=True):
        seeds = seeds_of(group)
        for place, (seed, member) in enumerate(zip(seeds, group, strict=True)):
            steps, values = curve(member)
            lines = axis.plot(steps, values, marker="o", markersize=3, color=seed_color(place), alpha=0.8)
            of_seed(lines, seed)
        seed_legend(axis, seeds)
        axis.set_xscale("symlog", linthresh=1)
        axis.set(title=name, xlabel="training step", ylabel=label)
    return figure
