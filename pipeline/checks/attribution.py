"""Attribution, retraining and attacks: impossible combinations."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.run import RunConfig

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


def attribution_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: attribution methods that need checkpoints or other trainings."""
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


def retraining_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: retraining without chosen points."""
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


def adversarial_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: attacks on networks and their kernel machines."""
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
