"""What a model reads, how it is trained, attacked and shared between ranks: impossible combinations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

from models.configs import MODEL_SCHEMAS, CustomConfig, ResNet18Config
from pipeline.checks.kernels import size_problems
from pipeline.config.run import RunConfig
from pipeline.engine.cells import seed_list
from pipeline.errors import UserError
from pipeline.machine.code_digest import source_of
from pipeline.machine.folders import holds_field

ROWS = {"image": "images", "text": "texts", "vector": "vectors"}
"""Kinds of rows, as a sentence calls them."""

_NARROWEST_CHANNELS_LAST = 8
"""Channels of a ResNet. oneDNN without AVX-512 (torch 2.13) writes past its memory in the weight gradient of a 1x1
convolution of stride 2 in channels_last with up to 4 input channels; with 6 and more nothing was found."""


def rank_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: work shared between ranks."""
    numerics, devices = config.numerics, config.hardware.devices
    if devices != numerics.world_size:
        yield (
            f"hardware.devices={devices} but numerics.world_size={numerics.world_size}; leave devices alone and set "
            "numerics.world_size: it changes the bits of a training, so it belongs to its address."
        )
    if config.hardware.tasks_per_node != devices:
        yield (
            f"hardware.tasks_per_node={config.hardware.tasks_per_node} but hardware.devices={devices}; a job starts "
            "one rank per device, so leave both alone and set numerics.world_size."
        )
    if numerics.batchnorm == "sync" and numerics.device == "cpu":
        yield (
            "numerics.batchnorm=sync works on GPUs only; set numerics.batchnorm=per_rank, or model.norm=frozen where "
            "the model has it."
        )
    if numerics.world_size > config.training.batch_size:
        yield (
            f"training.batch_size={config.training.batch_size} is the batch over all ranks and cannot be shared by "
            f"numerics.world_size={numerics.world_size}."
        )
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        yield (
            "This process is one of several started by srun or torchrun. Start one (hydra.launcher.tasks_per_node=1) "
            "and set numerics.world_size; it starts its own ranks while it trains."
        )


def model_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: networks and the rows that they read."""
    model, kind = config.model, config.data.kind
    if isinstance(model, CustomConfig):
        yield from custom_problems(model)
    if config.data.source == "logits":
        return
    if kind in ROWS and kind not in model.taken and ROWS.keys() >= set(model.taken):  # else its spelling is refused
        fitting = [
            schema.offered or (name,)
            for name, schema in MODEL_SCHEMAS.items()
            if schema is not CustomConfig
            and kind in schema.kinds
            and (config.training.loss == "regression" or not schema.one_output)
        ]
        yield (
            f"model={model.name} reads {' or '.join(ROWS[one] for one in model.taken)}, but data={config.data.name} "
            f"holds {kind} rows; choose model={', '.join(chain(*fitting))}."
        )
        if kind == "text" and config.data.path.format == "table" and "vector" in model.taken:
            yield "Columns of numbers are taken by data.columns, such as 'data.columns={x: all, label: species}'."
    generated = config.data.source == "synthetic" and config.data.synthetic.function != "parabola"
    if (generated or "y" in config.data.columns) and config.training.loss != "regression":
        yield f"data={config.data.name} has real targets; set training.loss=regression."
    if config.training.label_smoothing and config.training.loss != "cross_entropy":
        yield (
            f"training.label_smoothing={config.training.label_smoothing} needs training.loss=cross_entropy; with "
            f"{config.training.loss} leave it at 0."
        )


def custom_problems(model: CustomConfig) -> Iterator[str]:
    """Yield what is impossible: a network of the user's own that has no name, or one that nothing defines.

    Examples
    --------
    >>> list(custom_problems(CustomConfig(target="json.dumsp", hub="gpt2")))
    ['model.target=json.dumsp and model.hub=gpt2 are two networks; keep one of them.']
    """
    if model.target is not None and model.hub is not None:
        yield f"model.target={model.target} and model.hub={model.hub} are two networks; keep one of them."
    elif model.target is not None:
        try:
            source_of(model.target)
        except UserError as error:
            yield f"model.target={error}"
    elif model.hub is None:
        yield (
            "model=custom needs model.target, such as model.target=mynet.MyNet for the class MyNet in mynet.py in the "
            "folder of the command, or model.hub, a classifier of transformers."
        )
    if model.hub is None and (model.revision is not None or model.reset):
        yield "model.revision and model.reset belong to model.hub; leave them out, or name a repository or folder."


def weights_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: weights that a network does not have, or a moment of a training that is not looked at.

    Examples
    --------
    >>> from pipeline.config.training import WeightsConfig
    >>> list(weights_problems(RunConfig(weights=WeightsConfig("init", 3))))
    ['weights.step=3 is a moment of a training, which weights.source=init has not; set weights.source=train.']
    """
    source, model = config.weights.source, config.model
    yield from own_weights_problems(config)
    if source == "pretrained" and not model.begins_trained and config.pretrain.classes is None:
        yield (
            f"weights.source=pretrained needs stored weights, and model={model.name} begins with random ones here; set "
            "weights.source=init, or choose a network with model.weights=hub, path or packaged."
        )
    if source not in ("train", "path") and config.weights.step is not None:
        yield (
            f"weights.step={config.weights.step} is a moment of a training, which weights.source={source} has not; "
            "set weights.source=train."
        )
    path, kind = getattr(model, "path", None), getattr(model, "weights", None)
    if path is not None and kind not in ("path", "packaged"):
        yield f"model.path={path} is not read by model.weights={kind}; set model.weights=path."


def own_weights_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: files of weights that are not named, not read, or the same for every seed.

    Examples
    --------
    >>> from pipeline.config.training import WeightsConfig
    >>> list(own_weights_problems(RunConfig(weights=WeightsConfig(path="net.pt"), cells={"seed": "0:3"})))[0][:46]
    'weights.path=net.pt is one file for 3 seeds; w'
    """
    chosen, snapshots = config.weights, config.snapshots
    path = chosen.path
    if chosen.source != "path":
        if path is not None:
            yield f"weights.path={path} is not read by weights.source={chosen.source}; set weights.path=null."
        if chosen.allow or chosen.entry is not None:
            yield "weights.allow and weights.entry are about the files of weights.path; name these, or leave them out."
        return
    if path is None:
        yield "weights.source=path needs weights.path, the files of the weights, such as 'runs/seed{seed}.pt'."
        return
    seeds = seed_list(config.cells["seed"]) if "seed" in config.cells else [config.seed]
    seeds = list(dict.fromkeys([*seeds, *config.attribution.other_seeds]))
    if len(seeds) > 1 and not holds_field(path, "seed"):
        yield (
            f"weights.path={path} is one file for {len(seeds)} seeds; write {{seed}} where names hold the seed, or set "
            f"'cells.seed=[{seeds[0]}]'."
        )
    if not holds_field(path, "step"):
        along = "weights.step" if chosen.step is not None else "snapshots.record" if snapshots.record else None
        along = "attribution=tracin" if "tracin" in (config.attribution.method, *config.attribution.methods) else along
        if along is not None:
            yield f"{along} looks at moments of a training; write {{step}} where weights.path={path} has the step."
    if config.pretrain.classes is not None:
        yield "pretrain.classes trains an earlier task, and weights.path trains nothing; leave one of them out."
    if config.model.center_output:
        yield "model.center_output=true subtracts the output at initialization, which files of weights do not hold."
    if {"fine_tuned", "head_only"} & set(config.shift.rivals):
        yield "shift.rivals fine_tuned and head_only are trained, and weights.path trains nothing; leave them out."


def snapshot_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: steps that no schedule looks at, or a schedule of steps without any.

    Examples
    --------
    >>> from pipeline.config.snapshots import SnapshotsConfig
    >>> list(snapshot_problems(RunConfig(snapshots=SnapshotsConfig(record=["weights"], schedule="steps"))))
    ['snapshots.schedule=steps needs snapshots.steps, such as snapshots.steps=[0,100,-1].']
    """
    chosen = config.snapshots
    if chosen.schedule == "steps" and chosen.record and not chosen.steps:
        yield "snapshots.schedule=steps needs snapshots.steps, such as snapshots.steps=[0,100,-1]."
    if chosen.steps and chosen.schedule != "steps" and not config.tiny:  # debug=tiny takes the schedule of any study
        yield (
            f"snapshots.steps={chosen.steps} is not read by snapshots.schedule={chosen.schedule}; set "
            "snapshots.schedule=steps."
        )
    if chosen.options and (problem := unfit_kernel(chosen.options)) is not None:
        yield problem
    yield from size_problems("snapshots.curvature.memory", chosen.curvature.memory)


def unfit_kernel(options: dict[str, Any]) -> str | None:
    """Say which option the probe's kernel does not take; it is they alone that are looked up in ``kernels``."""
    from kernels.inputs.options import kernel_options
    from kernels.machine import precision_named

    try:
        precision_named(kernel_options(**options)["precision"])
    except (TypeError, ValueError) as error:
        return f"snapshots.options does not fit: {str(error).rstrip('.')}."
    return None


def memory_format_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: an order of values in memory that the processor's convolutions cannot work with."""
    model, numerics = config.model, config.numerics
    if not isinstance(model, ResNet18Config) or (numerics.memory_format, numerics.device) != ("channels_last", "cpu"):
        return
    if model.width < _NARROWEST_CHANNELS_LAST:
        yield (
            f"numerics.memory_format=channels_last with model.width={model.width} ends some processors' training in a "
            f"crash; set model.width={_NARROWEST_CHANNELS_LAST} or more, or numerics.memory_format=contiguous."
        )


def ensemble_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: seeds trained together."""
    for stream in config.ensemble.varying or []:
        if getattr(config.seeds, stream, None) is not None:
            yield f"ensemble.varying holds {stream}, but seeds.{stream} is fixed at {getattr(config.seeds, stream)}."
    if config.numerics.engine != "ensemble":
        if config.ensemble.varying is not None:
            yield f"ensemble.varying={config.ensemble.varying} is read by numerics.engine=ensemble alone; set that too."
        if config.stage == "ensemble":
            yield "stage=ensemble needs numerics.engine=ensemble; under lightning each seed trains by itself."
        return
    if config.training.optimizer == "muon":
        yield "training.optimizer=muon moves whole matrices of one network; use numerics.engine=lightning."
    if config.snapshots.record or (config.weights.source == "train" and config.weights.step is not None):
        yield "numerics.engine=ensemble takes no snapshots while it trains; use numerics.engine=lightning."


def training_attack_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: adversarial training."""
    chosen = config.training.attack
    if chosen.radius == 0:
        return
    if config.data.kind != "image" or config.training.loss == "regression":
        yield "training.attack moves the pixels of labeled images; set training.attack.radius=0 for other data."
    if config.numerics.engine == "ensemble":
        yield "training.attack needs numerics.engine=lightning; the ensemble trains on clean images only."


def pretrain_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: training that starts from an earlier task."""
    task = config.pretrain
    if task.classes is None:
        if config.stage == "pretrain":
            yield "stage=pretrain needs pretrain.classes, the classes of the earlier task."
        return
    if config.data.kind == "text":
        yield "pretrain.classes is for images; text models bring their pre-trained weights (model.weights)."
    if len(set(task.classes)) < 2:
        yield f"pretrain.classes={task.classes}; an earlier task needs at least two different classes."
