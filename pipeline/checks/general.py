"""Refuse a configuration before anything is made: unfit values and impossible combinations, each in one sentence."""

from __future__ import annotations

from collections.abc import Iterator

from models.fields import problems
from pipeline.checks.attribution import (
    adversarial_problems,
    attribution_problems,
    retraining_problems,
    spread_problems,
)
from pipeline.checks.data import source_problems
from pipeline.checks.folders import folder_problems, name_problems
from pipeline.checks.kernels import kernel_problems, regression_problems, surrogate_problems
from pipeline.checks.studies import barrier_problems, probe_problems, shift_problems, statistics_problems, toy_problems
from pipeline.checks.training import (
    ensemble_problems,
    memory_format_problems,
    model_problems,
    pretrain_problems,
    rank_problems,
    snapshot_problems,
    training_attack_problems,
    weights_problems,
)
from pipeline.config.run import RunConfig
from pipeline.engine.cells import seed_list
from pipeline.engine.stages import COMMANDS, STAGES
from pipeline.errors import UserError

COMBINATIONS = (
    source_problems,
    weights_problems,
    memory_format_problems,
    ensemble_problems,
    training_attack_problems,
    pretrain_problems,
    rank_problems,
    snapshot_problems,
    kernel_problems,
    surrogate_problems,
    regression_problems,
    attribution_problems,
    retraining_problems,
    spread_problems,
    adversarial_problems,
    barrier_problems,
    probe_problems,
    shift_problems,
    toy_problems,
    statistics_problems,
)
"""Every check of a combination of settings; a module of this package holds each."""


def value_problems(config: RunConfig) -> Iterator[str]:
    """Yield one sentence for each value that its field does not take, as the schema declares it."""
    yield from problems("", config)


def stage_problems(config: RunConfig) -> Iterator[str]:
    """Yield what is impossible: stages that do not exist, and cells that cannot be read."""
    if config.stage not in {*STAGES, *COMMANDS}:
        yield f"There is no stage {config.stage!r}. Stages: {', '.join([*STAGES, *COMMANDS])}."
    if config.workers != "auto" and not (
        config.workers.isascii() and config.workers.isdecimal() and int(config.workers)
    ):
        yield f"workers={config.workers} is neither auto nor a number of at least 1."
    shown = config.report.sections or config.wants
    for name in config.wants:
        if name not in STAGES or name == "report" or (name in shown and STAGES[name].report is None):
            yield f"wants holds {name!r}, which is not a stage that a report can gather."
    stage, _, headline = config.report.answers.partition(".")
    speaking = {name: row.headlines for name, row in STAGES.items() if row.headlines}
    if stage and stage not in speaking:
        yield f"report.answers={config.report.answers} names no stage that can answer. Those: {', '.join(speaking)}."
    elif headline and headline not in speaking[stage]:
        here = ", ".join(f"{stage}.{one}" for one in speaking[stage])
        yield f"report.answers={config.report.answers} names no headline of stage {stage}. Those: {here}."
    if "seed" in config.cells:
        seed_list(config.cells["seed"])


def check(config: RunConfig) -> None:
    """Refuse a configuration that cannot run.

    Raises
    ------
    UserError
        With one sentence per problem.
    """
    found = [*value_problems(config), *stage_problems(config), *name_problems(config), *folder_problems(config)]
    if config.stage != "prepare":  # rows are prepared for any model
        found += model_problems(config)
    for combination in COMBINATIONS:
        found += combination(config)
    if found:
        raise UserError("\n".join(found))
