"""The first screen of a report: which section answers the question, and how the networks came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis.pages.blocks import Headline, Section
from models.configs import ModelConfig
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.setting import rows

SHAPE = ("variant", "id", "widths", "width", "depth", "layers", "heads", "embedding", "activation")
"""Settings that tell networks of one name apart, in the order in which they are named."""
NAMING = ("variant", "id")
"""Of these the value says enough."""
VERSIONS = ("python", "torch", "numpy", "scipy", "scikit-learn")
PRECISIONS = {"32-true": "float32", "64-true": "float64", "bf16-mixed": "bfloat16 beside float32"}
"""Arithmetic as PyTorch calls it, by the name that Lightning gives it."""
ORIGIN = ("Made", "Code")
"""Facts that the artifacts' provenance gives: the only words of a page that their content does not decide."""
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def answering(sections: Mapping[str, Section], answers: str) -> tuple[str, Headline | None]:
    """Find the stage whose headline answers the question of a report.

    Parameters
    ----------
    sections : mapping of str to Section
        By stage, in the order of the report.
    answers : str
        ``report.answers``: a stage, or a stage and the name of one of its headlines (``statistics.seed_count``), see
        ``headlines`` of the table of stages, by which slips are refused before anything is made. Where there are too
        few runs for the headline, the stage's first one answers and says so; where the report does not show that
        stage, or nothing is named, the first stage after training does.
    """
    stage, _, name = answers.partition(".")
    if stage in sections:
        found = sections[stage].headlines
        named = next((one for one in found if one.name == name), None)
        if named is None and found:
            too_few = "These runs are too few to answer it. " if name else ""
            named = replace(found[0], answer=f"{too_few}{found[0].answer}")
        return stage, named
    speaking = [stage for stage, section in sections.items() if section.headlines]
    chosen = next((stage for stage in speaking if stage != "train"), next(iter(speaking), ""))
    return chosen, sections[chosen].headlines[0] if chosen else None


def facts(config: RunConfig, members: Mapping[str, Sequence[Gathered]]) -> list[tuple[str, str]]:
    """Say how it was trained, on what, when and with which code.

    Dates, commit and versions are those of the artifacts that the page shows, not of the page.
    """
    gathered = [item for group in members.values() for item in group]
    trained = [*members.get("train", ())] or gathered
    found = [("Data", _data(config, trained))]
    toy = [item for item in gathered if item.artifact.stage == "toy"]
    if toy:
        sizes = [item.config.toy.capped() for item in toy]
        found[0] = ("Data", f"made up by a teacher, {_span([size.samples for size in sizes])} samples")
        found.append(("Training", f"{_span([size.steps for size in sizes])} steps"))
    elif config.data.source != "logits":
        found.append(("Networks", "; ".join(_distinct(trained, _network))))
        found.append(("Training", "; ".join(_distinct(trained, _training))))
    seeds = {item.labels["seed"] for item in gathered if "seed" in item.labels}
    seeds |= {str(seed) for item in toy for seed in item.config.toy.seeds}
    found.append(("Seeds", f"{len(seeds):,}" if seeds else f"seed {config.seed} alone"))
    precision = PRECISIONS.get(config.numerics.precision, config.numerics.precision)
    found.append(("Arithmetic", f"{precision} on {config.numerics.device.upper().replace('CUDA', 'GPU')}"))
    return [(name, value) for name, value in [*found, *_origin(gathered)] if value]


def seeds_of(members: Mapping[str, Sequence[Gathered]]) -> list[str]:
    """List the seeds of a report in the order in which figures color them."""
    return list(
        dict.fromkeys(item.labels["seed"] for group in members.values() for item in group if "seed" in item.labels)
    )


def _data(config: RunConfig, members: Sequence[Gathered]) -> str:
    names = list(dict.fromkeys(item.config.data.name for item in members)) or [config.data.name]
    counts = []
    for name, noun in (("train_n", "training rows"), ("val_n", "validation rows"), ("test_n", "test rows")):
        known = [int(item.artifact.metrics[name]) for item in members if name in item.artifact.metrics]
        if known:
            counts.append(f"{_span(known)} {noun}")
    if not counts and (stated := rows(config.data)) is not None:
        counts.append(f"{stated:,} training rows")
    return ", ".join([" and ".join(names), *counts])


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _distinct(members: Sequence[Gathered], say: Callable[[Gathered], str]) -> list[str]:
    return list(dict.fromkeys(text for item in members if (text := say(item))))


def _network(item: Gathered) -> str:
    size = item.artifact.metrics.get("parameters")
    return architecture(item.config.model) + (f", {size:,} parameters" if size else "")


def architecture(model: ModelConfig) -> str:
    """Name a network with what tells it from others of its name.

    Examples
    --------
    >>> from models.configs import MLPConfig
    >>> architecture(MLPConfig(widths=[64, 64]))
    'mlp (widths 64, 64; activation relu)'
    """
    named = [(name, getattr(model, name, None)) for name in SHAPE]
    said = [
        f"{'' if name in NAMING else f'{name} '}{', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in named
        if value not in (None, [], "")
    ]
    return f"{model.shown} ({'; '.join(said)})" if said else model.shown


def _training(item: Gathered) -> str:
    config = item.config
    if config.weights.source != "train":
        known = {"init": "none, weights as drawn", "path": "elsewhere, weights from files"}
        return known.get(config.weights.source, "none here, pretrained weights")
    chosen = config.training
    words = [
        f"{chosen.epochs:,} epoch{'s' if chosen.epochs != 1 else ''}",
        f"{chosen.optimizer} at learning rate {chosen.lr:g}",
    ]
    words += [f"batches of {chosen.batch_size:,}", f"{chosen.schedule} schedule"]
    words += [f"weight decay {chosen.weight_decay:g}"] if chosen.weight_decay else []
    words += [f"attacked by PGD at {chosen.attack.radius:g}"] if chosen.attack.radius else []
    return ", ".join(words)


def _origin(gathered: Sequence[Gathered]) -> list[tuple[str, str]]:
    """Date, commit and versions of what the page shows; of several, the last date and all commits."""
    records: list[dict[str, Any]] = [item.artifact.provenance for item in gathered]
    days = sorted(str(record["ended"])[:10] for record in records if record.get("ended"))
    commits = dict.fromkeys(
        f"{record['commit'][:10]}{' with changes' if record.get('diff_sha256') not in (None, _NO_CHANGES) else ''}"
        for record in records
        if record.get("commit")
    )
    versions = [record["versions"] for record in records if record.get("versions")][-1:]
    shown = [f"{name} {found[name].partition('+')[0]}" for found in versions for name in VERSIONS if name in found]
    code = ", ".join([*list(commits)[:3], *(["…"] if len(commits) > 3 else [])])
    return [
        ("Made", day(days[-1]) if days else ""),
        ("Code", f"commit {code}" if code else ""),
        ("Versions", ", ".join(shown)),
    ]


_NO_CHANGES = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""Digest of an empty difference to the commit."""


def day(iso: str) -> str:
    """Write a date for readers of any country.

    Examples
    --------
    >>> day("2026-11-30")
    '30 Nov 2026'
    """
    year, month, date = iso.split("-")
    return f"{int(date)} {_MONTHS[int(month) - 1]} {year}"
