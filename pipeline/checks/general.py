"""Impossible combinations, refused before anything is made, each in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.checks.kernels import surrogate_problems
from pipeline.checks.studies import statistics_problems, study_problems
from pipeline.checks.training import ensemble_problems, model_problems, rank_problems
from pipeline.config.run import RunConfig
from pipeline.engine.cells import seed_list
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
        if name not in STAGES or STAGES[name].report is None:
            yield f"wants holds {name!r}, which is no stage that a report can gather."
    if "seed" in config.cells:
        seed_list(config.cells["seed"])
    if not 0.0 <= config.data.split.val < 1.0:
        yield f"data.split.val={config.data.split.val} must lie in [0, 1)."
    if not config.training.lr > 0:
        yield f"training.lr={config.training.lr} must be positive."
    if config.stage != "prepare":  # rows are prepared for any model
        yield from model_problems(config)
    yield from ensemble_problems(config)
    yield from statistics_problems(config)
    yield from study_problems(config)
    yield from surrogate_problems(config)
    unknown = set(config.snapshots.record) - _SNAPSHOT_KINDS
    if unknown:
        yield f"snapshots.record holds {sorted(unknown)}; it takes {sorted(_SNAPSHOT_KINDS)}."
    yield from rank_problems(config)


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
