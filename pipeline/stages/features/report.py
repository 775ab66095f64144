"""Report section of the features: how alike seeds are inside, by layer, and at which layer decisions are made."""

from __future__ import annotations

import numpy as np

from analysis.comparison.layer_result import LayerComparison
from analysis.comparison.layers import compare_layers
from analysis.pages.blocks import Block, Headline, Section, Table, Text
from analysis.pages.cells import OVER_SEEDS, summary_cells
from analysis.probes.example_depth import PUBLISHED_NEIGHBORS, layer_votes, prediction_depth, rank_correlations
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of, seeds_of
from pipeline.stages.features.read import read_feature_arrays

ROWS = 1000
"""Rows that are compared, the first ones: the neighbors of all rows take the square of their number."""
NEIGHBORS = 10


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Compare each layer between the seeds of every group of cells, on rows that all of them have."""
    blocks: list[Block] = []
    headlines: list[Headline] = []
    groups = grouped(members)
    for name, group in groups.items():
        about = f"{name}. " if len(groups) > 1 and name else ""
        found = _compared(group)
        if isinstance(found, str):
            blocks.append(Text(about + found))
            continue
        blocks += found.blocks(about, keys=keys_of(group), command=group[0].command)
        headlines = headlines or found.headlines()
        blocks += _depths(about, group)
    return Section("How alike the networks are inside", blocks, headlines)


def _depths(about: str, group: list[Gathered]) -> list[Block]:
    """Show at which layer decisions are made, and whether it is the same in every run."""
    splits, layers = group[0].config.features.splits, list(group[0].artifact.metrics["layers"])
    if not {"train", "test"} <= {*splits} or len(layers) < 2:
        lacking = "features of at least two layers, on training and on test rows"
        return [Text(f"{about}There is no prediction depth: it takes {lacking}.")]
    depths, right = [], []
    for member in group:
        arrays = read_feature_arrays(member.artifact)
        if arrays["train.labels"].dtype.kind != "i" or len(arrays["train.labels"]) <= PUBLISHED_NEIGHBORS:
            lacking = f"classes, and more than {PUBLISHED_NEIGHBORS} training rows"
            return [Text(f"{about}There is no prediction depth: it takes {lacking}.")]
        decided = arrays["test.logits"][:ROWS].argmax(axis=1)
        sides = [[arrays[f"{split}.{layer}"][:ROWS] for layer in layers] for split in ("train", "test")]
        votes = layer_votes(sides[0], arrays["train.labels"][:ROWS], sides[1])
        depths.append(prediction_depth(votes, decided))
        right.append(decided == arrays["test.labels"][:ROWS])
    rows = []
    for place, layer in enumerate([*layers, "no layer"]):
        there = [depth == place for depth in depths]
        shares = [100 * float(one.mean()) for one in there]
        hits = [100 * float(hit[one].mean()) for hit, one in zip(right, there, strict=True) if one.any()]
        known = summary_cells(hits, (0, 100))[1] if hits else "–"
        rows.append([layer, *summary_cells(shares, (0, 100)), known])
    alike = rank_correlations(np.stack(depths))[np.triu_indices(len(depths), 1)]
    said = f"Spearman's ρ of the depths of two runs over test rows: {alike.mean():.2f}, mean over pairs of runs."
    if not np.isfinite(alike).all():
        said = "In some runs all test rows have one depth, so that depths of runs have no correlation."
    return [
        Table(
            ["prediction depth", "runs", "test rows %", "sd", "95 %", "network's accuracy there %"],
            rows,
            f"{about}Prediction depth: the first layer from which on the {PUBLISHED_NEIGHBORS} nearest training rows "
            f"vote as the network decides (Baldock et al., 2021); share of test rows by depth. {OVER_SEEDS}",
            keys=keys_of(group),
            command=group[0].command,
        ),
        Text(about + said, keys=keys_of(group)),
    ]


def _compared(group: list[Gathered]) -> LayerComparison | str:
    """Compare the layers of a group, or say why they cannot be compared."""
    if len(group) < 2:
        return "There is one run, and nothing between seeds to compare."
    split = "test" if "test" in group[0].config.features.splits else group[0].config.features.splits[-1]
    layers = group[0].artifact.metrics["layers"]
    runs, ids = {}, []
    for seed, member in zip(seeds_of(group), group, strict=True):
        arrays = read_feature_arrays(member.artifact)
        ids.append(arrays[f"{split}.ids"])
        runs[f"seed {seed}"] = {layer: arrays[f"{split}.{layer}"][:ROWS] for layer in layers}
    if not all(np.array_equal(ids[0], other) for other in ids):
        return f"The runs have different {split} rows, so that their layers cannot be compared."
    count = min(NEIGHBORS, len(ids[0]) - 1)
    if len(ids[0]) <= 4:
        return f"There are {len(ids[0])} {split} rows, too few to compare layers on."
    return compare_layers(runs, measures=["procrustes", "neighbors"], neighbors=count)
