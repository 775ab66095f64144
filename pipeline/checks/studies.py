"""Probes, shift tests, the toy model and seed statistics: impossible combinations."""

from __future__ import annotations

from collections.abc import Iterator

from models.configs import TextClassifierConfig
from models.fields import problems
from pipeline.config.run import RunConfig
from pipeline.engine.cells import seed_list

LEAST_PERMUTATIONS = 19
"""With fewer, no p-value can reach 0.05."""


def probe_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: probes of snapshots that nothing records."""
    if config.probes.history and "weights" not in config.snapshots.record:
        yield "probes.history reads the weights of snapshots; set snapshots.record=[weights]."


def barrier_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: a line from a network to itself, or between outputs that are differences.

    Examples
    --------
    >>> from pipeline.config.statistics import BarriersConfig
    >>> list(barrier_problems(RunConfig(stage="barriers", seed=3, barriers=BarriersConfig(other=3))))
    ["barriers.other=3 is the run's own seed; name another one, or null for the next seed."]
    """
    if "barriers" not in (config.stage, *config.wants):
        return
    seeds = seed_list(config.cells["seed"]) if "seed" in config.cells else [config.seed]
    if config.barriers.other in seeds:
        own = "the run's own seed" if len(seeds) == 1 else "one of the study's own seeds"
        yield f"barriers.other={config.barriers.other} is {own}; name another one, or null for the next seed."
    if config.model.center_output:
        yield "stage=barriers mixes weights, and center_output subtracts another function from each; set it to false."
    if config.data.source == "logits":
        yield "stage=barriers needs networks, and data=logits has their outputs alone; take barriers out of wants."


def shift_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: shift tests that could not find a shift.

    Examples
    --------
    >>> from pipeline.config.shift import ShiftConfig
    >>> list(shift_problems(RunConfig(shift=ShiftConfig(permutations=9))))
    ['shift.permutations=9 cannot reach a p-value of 0.05; set shift.permutations=19 or more.']
    """
    shift = config.shift
    if shift.reference == shift.sample:
        yield f"shift.reference and shift.sample are both {shift.sample!r}; the null draws already compare P with P'."
    if shift.permutations < LEAST_PERMUTATIONS:
        yield (
            f"shift.permutations={shift.permutations} cannot reach a p-value of 0.05; "
            f"set shift.permutations={LEAST_PERMUTATIONS} or more."
        )
    if set(shift.rivals) - {"random_features"} and not isinstance(config.model, TextClassifierConfig):
        yield f"shift.rivals={shift.rivals} train or reset a text classifier; model={config.model.name} is not one."


def toy_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: a toy model whose rate, batches or seeds do not fit together."""
    if "toy" not in (config.stage, *config.wants) or any(problems("toy", config.toy)):
        return
    try:
        config.toy.capped().validate()
    except ValueError as error:
        yield f"The toy configuration cannot run: {error}."


def statistics_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: seed statistics over what was not recorded or not named.

    Examples
    --------
    >>> from pipeline.config.statistics import StatisticsConfig
    >>> list(statistics_problems(RunConfig(statistics=StatisticsConfig(claims=["B4"]))))
    ['statistics.claims holds B4; name two groups of cells in statistics.arms, from scratch first.']
    """
    statistics, snapshots = config.statistics, config.snapshots
    if statistics.history and ("logits" not in snapshots.record or snapshots.schedule == "log"):
        yield "statistics.history needs snapshots.record=[logits] and snapshots.schedule=epochs (or steps)."
    if "B4" in statistics.claims and len(statistics.arms) != 2:
        yield "statistics.claims holds B4; name two groups of cells in statistics.arms, from scratch first."
