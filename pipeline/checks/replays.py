"""Trainings that cannot be followed step by step with other weights of their rows."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.run import RunConfig


def replay_problems(config: RunConfig) -> Iterator[str]:
    """Yield what a replay of a training cannot follow.

    Examples
    --------
    >>> import dataclasses
    >>> run = RunConfig()
    >>> muon = dataclasses.replace(run, training=dataclasses.replace(run.training, optimizer="muon"))
    >>> list(replay_problems(muon))
    ['the step of muon has no derivative here; set training.optimizer=sgd, nesterov, adam or adamw']
    """
    training = config.training
    if training.optimizer == "muon":
        yield "the step of muon has no derivative here; set training.optimizer=sgd, nesterov, adam or adamw"
    if training.gradient_clip:
        yield "clipping mixes the rows of a batch; set training.gradient_clip=null"
    if training.attack.radius:
        yield "adversarial training moves its images with the weights; set training.attack.radius=0"
    if config.model.center_output:
        yield "centered outputs are not replayed; set model.center_output=false"
    if config.numerics.world_size > 1:
        yield "it runs in one process; set numerics.world_size=1"
    if config.weights.source != "train" or config.weights.step is not None:
        yield "it follows a finished training of ours; set weights.source=train and weights.step=null"
