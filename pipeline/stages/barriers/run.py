"""Stage ``barriers``: evaluate networks on the straight line from one seed's network to another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from analysis.interpolation.barrier import barrier_height
from models.classifier_module import ClassifierModule
from models.logits import Batch, logits_of, predicted_class, targets_of
from pipeline.data.batches import EVALUATION_ROWS, cast
from pipeline.data.datamodule import DataModule, open_data
from pipeline.engine.artifacts import finite_or_none
from pipeline.engine.build import Build
from pipeline.engine.needs import partner_seed
from pipeline.machine.arithmetic import arithmetic, network_dtype
from pipeline.machine.progress import note_progress
from pipeline.stages.barriers.networks import groups_of, matched, on_the_line
from pipeline.stages.barriers.read import PATHS, PathRow
from pipeline.training.fit import make_module
from pipeline.training.kept_files import KeptFiles
from pipeline.training.networks import trained_network

SPLITS = ("train", "test")


def barriers(build: Build) -> dict[str, Any]:
    """Walk from the run's network to the other seed's, as it is and with its units matched to the run's.

    Writes ``paths.parquet`` (:class:`pipeline.stages.barriers.read.PathRow`). The path of each way to match is kept in
    scratch once it is done.
    """
    config, choice = build.config, build.config.barriers
    data = open_data(config, build.inputs["data"])
    places = np.linspace(0, 1, choice.points)
    rows: list[PathRow] = []
    with arithmetic(config.numerics) as device:
        networks = [trained_network(config, data, build.inputs[role]).to(device) for role in ("weights", "other")]
        module = make_module(networks[0], data, config, steps_per_epoch=1)
        batches = {split: _batches(data, split, build, device) for split in SPLITS}
        count = sum(len(batch["id"]) for found in batches.values() for batch in found)
        passes = choice.points * len(choice.matching) * count
        build.say(f"{choice.points} networks on each of {len(choice.matching)} lines, {passes:,} rows in all")
        groups = None
        if {*choice.matching} - {"none"}:
            groups = groups_of(networks[0], batches["train"][0], config.model.name)
        first, second = ({n: v.detach().cpu() for n, v in net.state_dict().items()} for net in networks)
        kept = KeptFiles(build.scratch / "barriers")
        for number, matching in enumerate(choice.matching):
            found = kept.load(matching)
            if found is None:
                end = second
                if groups is not None and matching != "none":
                    end = matched(matching, networks, groups, batches["train"], choice)
                line = on_the_line(networks[0], (first, end), places.tolist(), batches["train"])
                found = _walk(line, module, batches)
                kept.save(matching, found)
            note_progress(build.scratch, number + 1, len(choice.matching), matching, None)
            rows += [
                {
                    "matching": matching,
                    "split": split,
                    "place": float(place),
                    "loss": float(found[f"{split}.loss"][i]),
                    "error": float(found[f"{split}.error"][i]),
                }
                for split in SPLITS
                for i, place in enumerate(places)
            ]
    build.write_rows(PATHS, rows)
    return _summary(rows, choice.matching) | {"pair": [config.seed, partner_seed(config)]}


def _batches(data: DataModule, split: str, build: Build, device: torch.device) -> list[Batch]:
    """Rows of a split in the network's precision; training rows as they are, without augmentation."""
    config = build.config
    count = min(data.size(split), config.barriers.rows or data.size(split))
    dtype, layout = network_dtype(config.numerics.precision), config.numerics.memory_format
    parts = torch.arange(count).split(EVALUATION_ROWS)
    if len(parts) > 1 and len(parts[-1]) == 1:  # batch norm has no statistics of one row
        parts = (*parts[:-2], torch.cat(parts[-2:]))
    found = [cast(data.batch(split, part), dtype, layout) for part in parts]
    return [{name: value.to(device) for name, value in batch.items()} for batch in found]


@torch.no_grad()
def _walk(line: Any, module: ClassifierModule, batches: dict[str, list[Batch]]) -> dict[str, Tensor]:
    """Loss and error of each network of a line on every split."""
    found: dict[str, list[float]] = {f"{split}.{name}": [] for split in batches for name in ("loss", "error")}
    for network in line:
        for split, parts in batches.items():
            loss, error = _scores(network, module, parts)
            found[f"{split}.loss"].append(loss)
            found[f"{split}.error"].append(error)
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in found.items()}


def _scores(network: nn.Module, module: ClassifierModule, parts: Sequence[Batch]) -> tuple[float, float]:
    outputs = torch.cat([logits_of(network, batch).double() for batch in parts])
    targets = torch.cat([targets_of(batch) for batch in parts])
    wrong = (predicted_class(outputs) != targets).double().mean()
    return float(module.loss(outputs, targets)), float(wrong)


def _summary(rows: Sequence[PathRow], ways: Sequence[str]) -> dict[str, Any]:
    """Height of each barrier, by way to match: ``WAY_SPLIT_loss`` and ``WAY_SPLIT_error``."""
    found: dict[str, Any] = {}
    for matching in ways:
        for split in SPLITS:
            path = [row for row in rows if row["matching"] == matching and row["split"] == split]
            for name in ("loss", "error"):
                values = np.array([row[name] for row in path])
                found[f"{matching}_{split}_{name}"] = finite_or_none(barrier_height(values))
    return found
