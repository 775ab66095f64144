"""What an experiment still lacks at its published setting, and the core hours that it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline.config.run import RunConfig
from pipeline.engine.cells import seed_list

GATHERS = ("prepare", "statistics", "report")
"""Stages whose time does not grow with the seeds."""


def seeds_of(config: RunConfig) -> int:
    """Count the seeds of a study."""
    return len(seed_list(config.cells["seed"])) if "seed" in config.cells else 1


def core_hours(config: RunConfig) -> float | None:
    """Give the core hours of all seeds of a study at its published setting; None where none were measured."""
    published = config.published
    if published.train_hours is None or published.rest_hours is None:
        return None
    return seeds_of(config) * (published.train_hours + published.rest_hours)


def planned_lines(config: RunConfig, states: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines that ``stage=status scale=published`` adds to the table.

    Parameters
    ----------
    config : RunConfig
        Of the experiment at its published setting.
    states : sequence of tuple of two str
        Stage and state of every artifact.
    """
    published = config.published
    missing = Counter(stage for stage, state in states if state != "done")
    if missing:
        yield "lacks: " + ", ".join(f"{count} {stage}" for stage, count in missing.items())
    if missing["prepare"]:
        place = {"hub": config.data.hub.id, "path": config.data.path.train, "packaged": config.data.packaged.name}
        found = place.get(config.data.source)
        yield f"lacks the rows of {config.data.name}: {config.data.source}{f' {found}' if found else ''}"
    if published.lacks:
        yield f"no override makes the published setting whole: {published.lacks}"
    if published.unknown:
        yield f"not published, so chosen here: {published.unknown}"
    if published.train_hours is None or published.rest_hours is None:
        yield "planned time: not measured at this setting"
        return
    seeds, whole = seeds_of(config), core_hours(config)
    left = sum(
        seeds * hours * _share_missing(states, training)
        for hours, training in ((published.train_hours, True), (published.rest_hours, False))
    )
    yield (
        f"planned time: {left:.3g} of {whole:.3g} core hours are left ({seeds} seeds, each {published.train_hours:g} "
        f"to train and {published.rest_hours:g} for the rest, as measured on one CPU core)"
    )


def _share_missing(states: Sequence[tuple[str, str]], training: bool) -> float:
    """Share of the artifacts of training, or of the stages after it, that are not done."""
    of_training = ("train", "ensemble", "pretrain")
    found = [state for stage, state in states if stage not in GATHERS and (stage in of_training) == training]
    return sum(state != "done" for state in found) / len(found) if found else 0.0
