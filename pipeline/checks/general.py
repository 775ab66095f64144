"""Impossible combinations, refused before anything is made, each in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from pipeline.checks.studies import study_problems
from pipeline.config.run import RunConfig
from pipeline.engine.cells import seed_list
from pipeline.engine.seed_blocks import STREAMS
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError

_CHOICES = {
    "upstream": ("make", "require"),
    "data.source": ("hub", "packaged", "path", "synthetic"),
    "data.kind": ("image", "text", "vector"),
    "data.text.normalise": ("raw", "whitespace", "full"),
    "data.subset.pick": ("random", "first"),
    "training.loss": ("cross_entropy", "bce", "mse", "mse_01", "sigmoid_mse", "softmax_mse", "regression"),
    "training.optimizer": ("sgd", "nesterov", "adam", "adamw"),
    "training.schedule": ("constant", "cosine", "step"),
    "numerics.device": ("cpu", "cuda"),
    "numerics.memory_format": ("contiguous", "channels_last"),
    "numerics.engine": ("lightning", "ensemble"),
    "numerics.batchnorm": ("per_rank", "sync"),
    "weights.source": ("train", "init", "pretrained"),
    "kernel.kind": ("trntk", "pntk", "conjugate", "embedding", "loss_gradient"),
    "surrogate.kind": ("glm", "svm", "ridge", "knn"),
    "surrogate.link": ("ovr", "softmax"),
    "surrogate.targets": ("labels", "network"),
    "surrogate.penalty": ("coefficients", "rkhs"),
    "surrogate.protocol": ("corrected", "published"),
    "attribution.target": ("predicted", "true"),
    "statistics.quantity": ("auto", "gap", "signed_gap", "prob", "loss", "margin", "top_two"),
    "statistics.on_bad_run": ("error", "drop"),
    "snapshots.schedule": ("log", "epochs", "steps"),
    "logging.tracker": ("csv", "wandb", "tensorboard", "mlflow"),
    "logging.mode": ("online", "offline"),
}
_AT_LEAST = {
    "seed": 0,
    "seeds.init": 0,
    "seeds.order": 0,
    "seeds.augment": 0,
    "seeds.dropout": 0,
    "data.data_seed": 0,
    "allow_missing": 0,
    "surrogate.draws": 0,
    "attribution.top": 1,
    "attribution.dim": 1,
    "training.epochs": 1,
    "training.batch_size": 1,
    "numerics.threads": 1,
    "ensemble.block": 1,
    "hardware.devices": 1,
    "numerics.world_size": 1,
}
_CLAIMS = {"A1", "A2", "B1", "B2", "B3", "B4"}
_METHODS = {
    "kernel",
    "similarity",
    "grad_dot",
    "grad_cos",
    "tracin",
    "trak",
    "influence",
    "representer",
    "embedding",
    "same_label",
    "random",
}
_IMAGE_MODELS = {"cnn", "resnet18", "vit"}
_SNAPSHOT_KINDS = {"weights", "logits", "spectra", "kernel"}


def _value(config: RunConfig, path: str) -> object:
    value: object = config
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _problems(config: RunConfig) -> Iterator[str]:
    for path, choices in _CHOICES.items():
        value = _value(config, path)
        if value not in choices:
            yield f"{path}={value} is not one of {', '.join(choices)}."
    for path, least in _AT_LEAST.items():
        number = _value(config, path)
        follows = path.startswith("seeds.") and number == config.seed
        if isinstance(number, int) and number < least and not follows:
            yield f"{path}={number} is below {least}."
    if config.stage != "status" and config.stage not in STAGES:
        yield f"There is no stage {config.stage!r}. Stages: {', '.join(STAGES)}, status."
    for name in config.wants:
        if name not in STAGES or name == "report":
            yield f"wants holds {name!r}, which is no stage that a report can gather."
    if "seed" in config.cells:
        seed_list(config.cells["seed"])
    if not 0.0 <= config.data.split.val < 1.0:
        yield f"data.split.val={config.data.split.val} must lie in [0, 1)."
    if not config.training.lr > 0:
        yield f"training.lr={config.training.lr} must be positive."
    if config.stage != "prepare":  # rows are prepared for any model
        yield from _model_problems(config)
    yield from _ensemble_problems(config)
    yield from _statistics_problems(config)
    yield from study_problems(config)
    yield from _surrogate_problems(config)
    unknown = set(config.snapshots.record) - _SNAPSHOT_KINDS
    if unknown:
        yield f"snapshots.record holds {sorted(unknown)}; it takes {sorted(_SNAPSHOT_KINDS)}."
    yield from _rank_problems(config)


def _rank_problems(config: RunConfig) -> Iterator[str]:
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
        yield "numerics.batchnorm=sync works on GPUs only; use per_rank, or model.norm=frozen where the model has it."
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


def _model_problems(config: RunConfig) -> Iterator[str]:
    model, kind = config.model.name, config.data.kind
    if model == "text_classifier" and kind != "text":
        yield f"model={model} reads texts, but data={config.data.name} holds {kind} rows; choose model=mlp or resnet18."
    if model in _IMAGE_MODELS and kind != "image":
        yield f"model={model} reads images, but data={config.data.name} holds {kind} rows; choose another model."
    if model == "mlp" and kind == "text":
        yield f"model=mlp reads vectors, but data={config.data.name} holds texts; choose model=gpt2 or bert."
    generated = config.data.source == "synthetic" and config.data.synthetic.function != "parabola"
    if generated and config.training.loss != "regression":
        yield f"data={config.data.name} has real targets; set training.loss=regression."


def _ensemble_problems(config: RunConfig) -> Iterator[str]:
    unknown = set(config.ensemble.varying or []) - set(STREAMS)
    if unknown:
        yield f"ensemble.varying holds {sorted(unknown)}; it takes {', '.join(STREAMS)}."
    for stream in config.ensemble.varying or []:
        if stream in STREAMS and getattr(config.seeds, stream) != config.seed:
            yield f"ensemble.varying holds {stream}, but seeds.{stream} is fixed at {getattr(config.seeds, stream)}."
    if config.numerics.engine != "ensemble":
        if config.stage == "ensemble":
            yield "stage=ensemble needs numerics.engine=ensemble; under lightning each seed trains by itself."
        return
    if config.snapshots.record or (config.weights.source == "train" and config.weights.step is not None):
        yield "numerics.engine=ensemble takes no snapshots while it trains; use numerics.engine=lightning."


def _statistics_problems(config: RunConfig) -> Iterator[str]:
    statistics = config.statistics
    if not 0 < statistics.eps < 1:
        yield f"statistics.eps={statistics.eps} must lie in (0, 1); it is the false-alarm rate, for example 0.01."
    for delta in statistics.deltas:
        if not 0 < delta < 1:
            yield f"statistics.deltas holds {delta}; a tolerance lies in (0, 1), and at 1 nothing can be rejected."
    if statistics.draws < 2:
        yield f"statistics.draws={statistics.draws}; a bootstrap needs at least 2 (20 for an interval)."
    unknown = set(statistics.claims) - _CLAIMS
    if unknown:
        yield f"statistics.claims holds {sorted(unknown)}; it takes {sorted(_CLAIMS)}."
    if statistics.history and ("logits" not in config.snapshots.record or config.snapshots.schedule == "log"):
        yield "statistics.history needs snapshots.record=[logits] and snapshots.schedule=epochs (or steps)."
    if "B4" in statistics.claims and len(statistics.arms) != 2:
        yield "statistics.claims holds B4; name two groups of cells in statistics.arms, from scratch first."


def _surrogate_problems(config: RunConfig) -> Iterator[str]:
    kernel, surrogate, attribution = config.kernel, config.surrogate, config.attribution
    if kernel.sketch is not None and kernel.sketch not in ("tensorsketch", "countsketch", "rademacher"):
        yield f"kernel.sketch={kernel.sketch} is not one of tensorsketch, countsketch, rademacher (null: exact)."
    if kernel.sketch is not None and (kernel.layerwise or not kernel.normalize):
        yield "kernel.sketch makes one normalised kernel; set kernel.layerwise=false and kernel.normalize=true."
    if kernel.sketch is not None and kernel.kind not in ("trntk", "pntk"):
        yield f"kernel.sketch compresses the gradients of trntk and pntk, not kind={kernel.kind}."
    if not kernel.test_splits:
        yield "kernel.test_splits is empty; name at least one split, such as test."
    if surrogate.alpha is None and surrogate.kind != "glm":
        yield f"surrogate.alpha=null (cross-validation) is for surrogate=glm, not {surrogate.kind}; set a number."
    if surrogate.alpha is not None and not surrogate.alpha >= 0:
        yield f"surrogate.alpha={surrogate.alpha} must be at least 0."
    if surrogate.targets == "network" and surrogate.kind not in ("glm", "ridge"):
        yield f"surrogate.targets=network needs a regression: glm or ridge, not {surrogate.kind}."
    unknown = sorted({attribution.method, *attribution.methods} - _METHODS)
    if unknown:
        yield f"attribution.methods holds {unknown}; it takes {sorted(_METHODS)}."
    yield from _attribution_problems(config)
    yield from _retraining_problems(config)
    yield from _adversarial_problems(config)
    yield from _training_attack_problems(config)


def _attribution_problems(config: RunConfig) -> Iterator[str]:
    choice = config.attribution
    if "tracin" in {choice.method, *choice.methods}:
        if not choice.checkpoints:
            yield "tracin sums over checkpoints; set attribution.checkpoints, such as [100, -1]."
        if config.numerics.engine != "lightning":
            yield "tracin records weights along training; set numerics.engine=lightning."
        if config.weights.source != "train":
            yield "tracin follows a training; set weights.source=train."
    if choice.other_seeds:
        if config.weights.source != "train" or config.weights.step is not None:
            yield "attribution.other_seeds are finished trainings; set weights.source=train and weights.step=null."
        if config.seed in choice.other_seeds or len(set(choice.other_seeds)) < len(choice.other_seeds):
            yield f"attribution.other_seeds={choice.other_seeds}: each once, without the run's own seed={config.seed}."


def _retraining_problems(config: RunConfig) -> Iterator[str]:
    choice = config.retraining
    if choice.subsets != 0 and choice.subsets < 3:
        yield f"retraining.subsets={choice.subsets}; a rank correlation needs at least 3 (0 leaves the score out)."
    if not 0 < choice.fraction < 1:
        yield f"retraining.fraction={choice.fraction} must lie in (0, 1)."
    for name, least in (("seeds", 1), ("k", 1), ("points", 0), ("draws", 2)):
        if getattr(choice, name) < least:
            yield f"retraining.{name}={getattr(choice, name)} is below {least}."
    if choice.subsets == 0 and choice.points == 0:
        yield "retraining.subsets and retraining.points are both 0: nothing would be retrained."
    if "retraining" in (config.stage, *config.wants):
        if config.data.drop or config.data.keep is not None:
            yield "stage=retraining chooses data.drop and data.keep itself; leave them empty."
        if config.weights.source != "train" or config.weights.step is not None:
            yield "stage=retraining compares with finished trainings; set weights.source=train and weights.step=null."


def _training_attack_problems(config: RunConfig) -> Iterator[str]:
    chosen = config.training.attack
    if not 0 <= chosen.radius <= 1:
        yield f"training.attack.radius={chosen.radius} must lie in [0, 1], in pixels of [0, 1]; 0 is clean training."
    if chosen.steps < 1:
        yield f"training.attack.steps={chosen.steps} is below 1."
    if chosen.radius == 0:
        return
    if config.data.kind != "image" or config.training.loss == "regression":
        yield "training.attack moves the pixels of labelled images; set training.attack.radius=0 for other data."
    if config.numerics.engine == "ensemble":
        yield "training.attack needs numerics.engine=lightning; the ensemble trains on clean images only."


def _adversarial_problems(config: RunConfig) -> Iterator[str]:
    choice, kernel = config.adversarial, config.kernel
    if not choice.radii or not all(0 < radius <= 1 for radius in choice.radii):
        yield f"adversarial.radii={choice.radii}; name at least one in (0, 1], in pixels of [0, 1]."
    if choice.steps < 1:
        yield f"adversarial.steps={choice.steps} is below 1."
    if "adversarial" not in (config.stage, *config.wants):
        return
    if kernel.kind not in ("pntk", "trntk") or kernel.sketch is not None or not kernel.normalize:
        yield "stage=adversarial rebuilds an exact normalised pntk or trntk; set kernel.kind, sketch and normalize so."
    if config.data.kind != "image":
        yield f"stage=adversarial moves pixels, but data={config.data.name} holds {config.data.kind} rows."
    if config.model.center_output:
        yield "stage=adversarial attacks plain outputs; set model.center_output=false."
    if config.surrogate.kind == "knn":
        yield "stage=adversarial needs a linear machine: surrogate=glm, svm or ridge."
    if config.weights.source != "train" or config.weights.step is not None:
        yield "stage=adversarial attacks finished trainings; set weights.source=train and weights.step=null."


def check(config: RunConfig) -> None:
    """Refuse a configuration that cannot run.

    Raises
    ------
    UserError
        With one sentence per problem.
    """
    problems: Iterable[str] = list(_problems(config))
    if problems:
        raise UserError("\n".join(problems))
