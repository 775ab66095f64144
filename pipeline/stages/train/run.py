"""Stages ``pretrain``, ``train``, ``initial`` and ``snapshots``: weights, outputs and snapshots of training."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from torch import nn

from pipeline.data.batches import TrainingData
from pipeline.data.datamodule import open_data
from pipeline.engine.artifacts import METRICS, write_json
from pipeline.engine.build import Build, construction
from pipeline.machine.ranks import is_main_process
from pipeline.stages.train.block_files import take_member
from pipeline.stages.train.tracked_spectra import track_snapshot
from pipeline.training.fit import replay, train_classifier
from pipeline.training.foresight import refuse_unfit_network
from pipeline.training.history import EpochRow
from pipeline.training.networks import WEIGHTS, save_weights, starting_network
from pipeline.training.snapshot_metrics import snapshot_metrics
from pipeline.training.snapshots import SnapshotWriter

STEPS = "steps"


def train(build: Build) -> dict[str, Any]:
    """Train one network; if snapshots are configured but missing, record them in the same pass."""
    config = build.config
    if config.numerics.engine == "ensemble":
        return take_member(build)
    data = open_data(config, build.inputs["data"])
    refuse_unfit_network(build, data)
    model = _start(build, data)
    with ExitStack() as stack:
        writer = None
        if config.snapshots.record:
            node = build.own_node("snapshots", config, build.node.overrides)
            sibling = stack.enter_context(
                construction(
                    node, build.graph, build.store, rebuild=build.rebuild, inputs={"data": build.inputs["data"]}
                )
            )
            if sibling is not None:
                writer = _writer(sibling, data, build)
        outcome = train_classifier(
            model,
            data,
            config,
            build.folder,
            scratch=build.scratch,
            snapshots=writer,
            on_epoch=lambda row: _track_row(build, row),
            progress=config.hardware.progress,
            label=build.node.slug,
        )
        if writer is not None and sibling is not None:
            _publish(sibling, writer)
    return outcome.metrics


def initial(build: Build) -> dict[str, Any]:
    """Write the weights of the network before any training (random or pre-trained).

    Its outputs are not written: they say little, and who wants those of some rows computes them
    (:func:`pipeline.stages.kernel.read.read_kernel_sides`) in place of the outputs of 60,000 images.
    """
    data = open_data(build.config, build.inputs["data"])
    refuse_unfit_network(build, data)
    network = _start(build, data)
    save_weights(network, build.folder / WEIGHTS)
    return {"parameters": sum(parameter.numel() for parameter in network.parameters())}


def snapshots(build: Build) -> dict[str, Any]:
    """Train again to record snapshots; refuse to finish unless the stored weights are reproduced."""
    config = build.config
    data = open_data(config, build.inputs["data"])
    writer = _writer(build, data, build)
    stored = build.inputs["weights"]
    stored.path(WEIGHTS)
    replay(
        _start(build, data),
        data,
        config,
        build.scratch,
        writer,
        stored.manifest["files"][WEIGHTS]["sha256"],
        progress=config.hardware.progress,
        label=f"replay {build.node.slug}",
    )
    writer.publish(build.folder)
    return snapshot_metrics(build.folder, config.snapshots.record)


def _start(build: Build, data: TrainingData) -> nn.Module:
    return starting_network(build.config, data, build.inputs.get("pretrained"))


def _writer(build: Build, data: TrainingData, tracked: Build) -> SnapshotWriter:
    config = build.config
    return SnapshotWriter(
        build.scratch / STEPS,
        config.snapshots,
        data,
        config.numerics.memory_format,
        on_snapshot=lambda step, files: track_snapshot(tracked.tracker, build.scratch / STEPS, step, files),
    )


def _publish(sibling: Build, writer: SnapshotWriter) -> None:
    writer.publish(sibling.folder)
    if not is_main_process():
        return
    write_json(sibling.folder / METRICS, snapshot_metrics(sibling.folder, sibling.config.snapshots.record))


def _track_row(build: Build, row: EpochRow) -> None:
    build.tracker.log({f"train/{name}": value for name, value in row.items()}, step=int(row["step"]))
