"""Attribution, retraining and attacks: impossible combinations."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.checks.kernels import GRADIENT_KINDS
from pipeline.checks.replays import replay_problems
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
    used = {choice.method, *choice.methods}
    for method in sorted({"magic", "source"} & used):
        yield from (f"{method} replays the training, and {problem}." for problem in replay_problems(config))
    if "source" in used and (config.training.optimizer not in ("sgd", "nesterov") or config.training.momentum >= 1):
        yield "source follows gradient descent; set training.optimizer=sgd or nesterov, or take magic."
    if "source" in used and config.training.loss != "cross_entropy":
        yield "source takes the Fisher matrix as curvature; set training.loss=cross_entropy, or take magic."
    if choice.tokens and config.data.kind != "text":
        yield f"attribution.tokens splits texts, and data={config.data.name} has {config.data.kind} rows; set it to 0."
    if "pixels" in used and config.data.kind == "text":
        yield "pixels compares images or vectors; for texts take bm25."
    if "bm25" in used and config.data.kind != "text":
        yield f"bm25 compares texts, and data={config.data.name} holds {config.data.kind} rows; take pixels."
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
    if choice.subsets == 0 and (choice.points == 0 or choice.k == choice.top == 0) and not choice.omitted:
        yield "retraining.subsets and retraining.points (or k and top) are 0: nothing would be retrained."
    if choice.top and not choice.points:
        yield "retraining.top leaves out what supports single test points; set retraining.points, such as 20."
    if "retraining" in (config.stage, *config.wants):
        if config.data.drop or config.data.keep is not None:
            yield "stage=retraining chooses data.drop and data.keep itself; leave them empty."
        if config.weights.source != "train" or config.weights.step is not None:
            yield "stage=retraining compares with finished trainings; set weights.source=train and weights.step=null."
        elif choice.omitted or choice.top:
            name = "omitted" if choice.omitted else "top"
            yield from (f"retraining.{name} replays the training, and {one}." for one in replay_problems(config))


def spread_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: attributing the variance over seeds of a training that cannot be replayed."""
    if "spread" not in (config.stage, *config.wants):
        return
    yield from (f"stage=spread replays the training, and {one}." for one in replay_problems(config))
    if config.seeds.init is not None and config.seeds.order is not None:
        yield "stage=spread asks why seeds differ, and seeds.init and seeds.order are fixed; set one of them to null."


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
