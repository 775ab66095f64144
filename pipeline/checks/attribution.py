"""Attribution, retraining and attacks: impossible combinations."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.checks.kernels import GRADIENT_KINDS
from pipeline.config.run import RunConfig


def attribution_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: attribution methods that need checkpoints or other trainings.

    Examples
    --------
    >>> from pipeline.config.attribution import AttributionConfig
    >>> list(attribution_problems(RunConfig(attribution=AttributionConfig(method="tracin"))))
    ['tracin sums over checkpoints; set attribution.checkpoints=[100,-1] or others.']
    """
    choice = config.attribution
    if "tracin" in {choice.method, *choice.methods}:
        if not choice.checkpoints:
            yield "tracin sums over checkpoints; set attribution.checkpoints=[100,-1] or others."
        if config.numerics.engine != "lightning" and config.weights.source != "path":
            yield "tracin records weights along training; set numerics.engine=lightning."
        if config.weights.source not in ("train", "path"):
            yield "tracin follows a training; set weights.source=train."
        if choice.rates and len(choice.rates) != len(choice.checkpoints):
            yield (
                f"attribution.rates={choice.rates} and attribution.checkpoints={choice.checkpoints} differ in length; "
                "give one rate for each checkpoint."
            )
    exact = sorted({"exact_influence", "cg_influence"} & {choice.method, *choice.methods})
    if exact and config.model.center_output:
        yield f"{exact[0]} takes the loss at the network's own outputs; set model.center_output=false."
    if choice.damping_sweep and not {"influence", *exact} & {choice.method, *choice.methods}:
        yield "attribution.damping_sweep is for influences; add influence, exact_influence or cg_influence to methods."
    if choice.rates and config.weights.source != "path":
        yield "attribution.rates is for files of weights.path; a training of ours knows its rates, so leave it empty."
    if choice.other_seeds:
        if config.weights.source not in ("train", "path") or config.weights.step is not None:
            yield "attribution.other_seeds are finished trainings; set weights.source=train and weights.step=null."
        if config.seed in choice.other_seeds or len(set(choice.other_seeds)) < len(choice.other_seeds):
            yield f"attribution.other_seeds={choice.other_seeds}: each once, without the run's own seed={config.seed}."


def retraining_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: retraining without chosen points."""
    choice = config.retraining
    if choice.subsets in (1, 2):
        yield f"retraining.subsets={choice.subsets}; a rank correlation needs at least 3 (0 leaves the score out)."
    if choice.subsets == 0 and choice.points == 0:
        yield "retraining.subsets and retraining.points are both 0: nothing would be retrained."
    if "retraining" in (config.stage, *config.wants):
        if config.data.drop or config.data.keep is not None:
            yield "stage=retraining chooses data.drop and data.keep itself; leave them empty."
        if config.weights.source != "train" or config.weights.step is not None:
            yield "stage=retraining compares with finished trainings; set weights.source=train and weights.step=null."


def adversarial_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: attacks on networks and their kernel machines."""
    kernel = config.kernel
    if "adversarial" not in (config.stage, *config.wants):
        return
    if kernel.kind not in GRADIENT_KINDS or kernel.sketch is not None or not kernel.normalize:
        yield "stage=adversarial rebuilds an exact normalized pntk or trntk; set kernel.kind, sketch and normalize so."
    if config.data.kind != "image":
        yield f"stage=adversarial moves pixels, but data={config.data.name} holds {config.data.kind} rows."
    if config.model.center_output:
        yield "stage=adversarial attacks plain outputs; set model.center_output=false."
    if config.surrogate.kind == "knn":
        yield "stage=adversarial needs a linear machine: surrogate=glm, svm or ridge."
    if config.weights.source not in ("train", "path") or config.weights.step is not None:
        yield "stage=adversarial attacks finished trainings; set weights.source=train and weights.step=null."
