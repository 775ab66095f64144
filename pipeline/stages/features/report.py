"""Report section of the features: how alike seeds are inside, layer by layer (CKA, rotations, neighbors)."""

from __future__ import annotations

import numpy as np

from analysis.comparison.layer_result import LayerComparison
from analysis.comparison.layers import compare_layers
from analysis.pages.blocks import Block, Headline, Section, Text
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
    return Section("How alike seeds are inside", blocks, headlines)


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
        return f"The runs have other {split} rows, so that their layers cannot be compared."
    count = min(NEIGHBORS, len(ids[0]) - 1)
    if len(ids[0]) <= 4:
        return f"There are {len(ids[0])} {split} rows, too few to compare layers on."
    return compare_layers(runs, measures=["procrustes", "neighbors"], neighbors=count)
