"""Report section of the Gram matrices: eigenvalue decay and alignment with the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from analysis.pages.blocks import Block, Finding, Picture, Section, Table
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.style import PALETTE, in_style, legend_below, new_figure, of_seed
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of, seeds_of
from pipeline.reporting.headlines import over_seeds
from pipeline.stages.kernel.read import read_spectrum_shares

if TYPE_CHECKING:
    from matplotlib.figure import Figure


KINDS = {
    "trntk": "inner products of gradients, summed over the outputs",
    "pntk": "inner products of gradients of the summed outputs",
    "entk": "inner products of gradients for each pair of outputs",
    "loss_gradient": "inner products of gradients of the loss",
    "conjugate": "inner products of what enters the output layer",
    "embedding": "inner products of the outputs of all layers",
}
"""What each kind of kernel compares."""


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate effective rank and alignment per group of cells and draw the spectra."""
    groups = grouped(members)
    rows = []
    there = dict.fromkeys(str(member.artifact.metrics["kind"]) for member in members)
    kinds = ", ".join(f"{kind}: {KINDS[kind]}" for kind in there)
    for name, group in groups.items():
        metrics = [member.artifact.metrics for member in group]
        # real targets are no labels to be aligned with
        alignment = [float(entry["label_alignment"]) for entry in metrics if "label_alignment" in entry]
        rank = float(np.mean([entry["effective_rank"] for entry in metrics]))
        cells = summary_cells(alignment, within=(-1, 1)) if alignment else [len(group), "–", "–", "–"]
        rows.append([name, metrics[0]["kind"], metrics[0]["n_train"], *cells, rank])
    findings = [
        Finding(f"{name}: {line}", keys_of(group)) for name, group in groups.items() for line in certified(group)
    ]
    table = Table(
        ["group", "kernel", "points", "runs", "alignment", "sd", "95 % interval", "effective rank"],
        rows,
        f"Kernels of the trained networks on training points; {kinds}. Alignment is centered, with the one-hot label "
        "kernel; the effective rank is the exponential of the spectrum's entropy. " + OVER_SEEDS,
        keys=keys_of(members),
        command=members[0].command,
    )
    picture = Picture(
        spectra(groups),
        "Eigenvalues of the training Gram matrix divided by its trace, one line per seed; the 64 largest "
        "where there are more than 4,096 points.",
        "Eigenvalues of the kernels by rank, as shares of the trace",
    )
    blocks: list[Block] = [*findings, table, picture]
    headlines = over_seeds(
        "alignment",
        "How far do the kernels agree with the labels?",
        "Centered alignment of the kernel with the labels is {}, where 1 is a kernel of the labels and 0 is unrelated",
        groups,
        lambda member: member.artifact.metrics.get("label_alignment"),
        heading="alignment with the labels",
        about="Kernels of the trained networks on training points.",
        within=(-1, 1),
    )
    return Section("Kernels", blocks, headlines)


def certified(group: list[Gathered]) -> list[str]:
    """Say what was checked of a group's kernels against the networks' own gradients."""
    from kernels.capture.summary import joined, told

    found = joined([member.artifact.metrics.get("certificate", {}) for member in group])
    return [f"checked while its kernels were computed: {told(found)}."] if found else []


@in_style
def spectra(groups: dict[str, list[Gathered]]) -> Figure:
    """Draw eigenvalues against their rank on logarithmic axes."""
    figure, axes = new_figure(width=5.2, height=3.6)
    axis = axes[0, 0]
    for (name, group), color in zip(groups.items(), PALETTE, strict=False):
        for i, (seed, member) in enumerate(zip(seeds_of(group), group, strict=True)):
            share = read_spectrum_shares(member.artifact)
            kept = share > 1e-9
            ranks, label = np.arange(1, len(share) + 1)[kept], name if i == 0 else None
            of_seed(axis.plot(ranks, share[kept], color=color, alpha=0.7, label=label), seed)
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="rank of the eigenvalue",
        ylabel="share of the trace",
        title="Eigenvalue decay",
    )
    legend_below(axis, columns=2)
    return figure
