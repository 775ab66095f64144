"""Stages ``checkpoint`` and ``checkpoint_steps``: networks from files of weights that were trained elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.data.datamodule import open_data
from pipeline.engine.build import Build
from pipeline.errors import UserError
from pipeline.machine.arithmetic import arithmetic
from pipeline.machine.content_digest import content_of
from pipeline.stages.train.read import read_final_weights
from pipeline.training.curvature_record import curvature_arrays
from pipeline.training.evaluation import scores, split_outputs
from pipeline.training.fit import make_module
from pipeline.training.foresight import refuse_unfit_network
from pipeline.training.networks import LOGITS, WEIGHTS, build_network, load_weights, save_weights
from pipeline.training.outputs_underway import OutputsUnderway
from pipeline.training.snapshot_metrics import snapshot_metrics
from pipeline.training.snapshot_schedule import MOMENT, PROBE, STEPS, SnapshotMoment, record_file, step_folder
from pipeline.training.snapshots import measured_spectra, probe_batch, probe_kernel
from pipeline.training.weight_files import load_outside_weights, read_weights

RATE = 1.0
"""Learning rate of a file's step: all alike, since files do not tell theirs (see ``attribution.rates``)."""


def checkpoint(build: Build) -> dict[str, Any]:
    """Load the weights of ``weights.path`` into the run's network and evaluate it on every split.

    Writes the files of a training, ``weights.safetensors`` and ``logits.safetensors``, and no history.

    Raises
    ------
    UserError
        If the file cannot be read without running code, does not fit the network, or gives outputs that are not finite.
    """
    config = build.config
    assert config.weights.path is not None
    file = Path(config.weights.path).expanduser()
    data = open_data(config, build.inputs["data"])
    refuse_unfit_network(build, data)
    network = build_network(config, data)
    name = getattr(config.model, "target", None) or getattr(config.model, "hub", None) or config.model.name
    fit = load_outside_weights(
        network, read_weights(file, config.weights.entry), config.weights.allow, str(file), f"model={name}"
    )
    if fit.missing:
        build.say(f"{len(fit.missing)} tensors are not in {file} and stay random: {', '.join(fit.missing[:8])}")
    with arithmetic(config.numerics) as device:
        module = make_module(network, data, config, steps_per_epoch=1).to(device)
        layout, underway = config.numerics.memory_format, OutputsUnderway(build.scratch)
        arrays = split_outputs(module, data, data.splits, memory_format=layout, underway=underway)
        for split, values in arrays.items():
            if not bool(values.isfinite().all()):
                raise UserError(
                    f"{file} gives outputs that are not finite ({split}), as a training that diverged does. Choose "
                    "another file or step, or leave this seed out of cells.seed."
                )
        save_weights(module.model, build.folder / WEIGHTS)
    build.write_tensors(LOGITS, arrays)
    return {
        **scores(module, arrays),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "file": content_of(file),
        "stripped": fit.stripped,
        "random": fit.missing,
        "unused": fit.unexpected,
    }


def checkpoint_steps(build: Build) -> dict[str, Any]:
    """Gather the files of several steps of one training as its snapshots, with what ``snapshots.record`` asks for.

    Weights are kept whatever is recorded: the first step's are where spectra begin.
    """
    config = build.config
    data = open_data(config, build.inputs["data"])
    network = build_network(config, data)
    record = config.snapshots.record
    moments: list[SnapshotMoment] = []
    by_step = {int(role.removeprefix("step ")): one for role, one in build.inputs.items() if role.startswith("step ")}
    for step, artifact in sorted(by_step.items()):
        build.say(f"step {step}")
        load_weights(network, artifact.path(WEIGHTS)).eval()
        folder = step_folder(step)
        weights = read_final_weights(artifact)
        assert weights is not None
        build.write_tensors(f"{folder}/{WEIGHTS}", weights)
        if "logits" in record:
            outputs = {name: value for name, value in artifact.tensors(LOGITS).items() if name.split(".")[0] != "train"}
            build.write_tensors(f"{folder}/{record_file('logits')}", outputs)
        if "spectra" in record:
            build.write_tensors(f"{folder}/{record_file('spectra')}", measured_spectra(network))
        if {"kernel", "curvature"} & set(record):
            batch = probe_batch(data, config.snapshots.probe)
            build.write_tensors(PROBE, {name: batch[name] for name in ("id", "label", "y") if name in batch})
        if "kernel" in record:
            with arithmetic(config.numerics) as device:
                found = probe_kernel(network.to(device), batch, config.snapshots, config.numerics.memory_format)
            network.cpu()
            build.write_tensors(f"{folder}/{record_file('kernel')}", {"kernel": found})
        if "curvature" in record:
            with arithmetic(config.numerics) as device:
                module = make_module(network, data, config, steps_per_epoch=1).to(device)
                arrays = curvature_arrays(
                    module, network, batch, config.snapshots.curvature, config.numerics.memory_format
                )
            network.cpu()
            build.write_tensors(f"{folder}/{record_file('curvature')}", arrays)
        moments.append({"step": step, "epoch": float(step), "lr": RATE})
        (build.folder / folder / MOMENT).write_text(f"{json.dumps(moments[-1], indent=1)}\n", encoding="utf-8")
    (build.folder / STEPS).write_text(f"{json.dumps(moments, indent=1)}\n", encoding="utf-8")
    return snapshot_metrics(build.folder, record)
