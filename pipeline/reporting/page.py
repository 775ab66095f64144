"""Stage ``report``: one self-contained HTML page over all cells of an experiment."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analysis.pages.blocks import Picture, Section, Table, Text
from analysis.pages.views import environment, view
from analysis.plain_text import visible
from analysis.verdicts import Claim
from analysis.verdicts.words import OTHER_WORDS
from pipeline.config.run import RunConfig
from pipeline.engine.build import Build, Gathered
from pipeline.engine.stages import STAGES, load_function
from pipeline.errors import UserError
from pipeline.reporting.papers import papers_of
from pipeline.reporting.setting import Comparison
from pipeline.reporting.verdicts import Shown, decide, summary
from pipeline.results.report_numbers import NUMBERS, numbers_csv

TEMPLATES = Path(__file__).with_name("templates")
_TONES = {"holds": "yes", "fails": "no", "open": "open"}


def report(build: Build) -> dict[str, Any]:
    """Render the page ``report.html``, its numbers, and its figures with their data, as separate files.

    Raises
    ------
    UserError
        If the experiment names no stage to report on.
    """
    config = build.config
    order = config.report.sections or config.wants
    if not order:
        raise UserError(
            "A report needs stages to show: choose an experiment (experiment=quickstart) or set wants=[train,kernel]."
        )
    sections = []
    for name in order:
        build.say(f"section {name}")
        sections.append(_section(name)(build.members[name], config))
    # a missing run may lack several stages; the stage that lacks most counts them
    missing = max(Counter(label.split()[0] for label in build.missing).values(), default=0)
    comparison = Comparison(build.graph, config, missing)
    claims = [[block for block in section.blocks if isinstance(block, Claim)] for section in sections]
    shown = iter(decide([claim for group in claims for claim in group], comparison))
    decided = [list(itertools.islice(shown, len(group))) for group in claims]
    findings = [line for section in sections for line in section.findings]
    findings += [
        f"{section.title}. {summary(group)}" for section, group in zip(sections, decided, strict=True) if group
    ]
    page = _render(build, sections, decided, findings, comparison)
    (build.folder / "report.html").write_text(visible(page), encoding="utf-8")
    (build.folder / NUMBERS).write_text(numbers_csv(build.members), encoding="utf-8")
    return {
        "sections": len(sections),
        "setting": comparison.setting().line,
        "verdicts": [dataclasses.asdict(one) for group in decided for one in group],
        "findings": findings,
    }


def _section(stage: str) -> Callable[[list[Gathered], RunConfig], Section]:
    spec = STAGES[stage].report
    if spec is None:
        raise UserError(f"A report cannot show stage {stage!r}: its row in pipeline/engine/stages.py names no section.")
    return load_function(spec)


def _render(
    build: Build,
    sections: Sequence[Section],
    decided: Sequence[Sequence[Shown]],
    findings: Sequence[str],
    comparison: Comparison,
) -> str:
    config = build.config
    gathered = [(stage, item) for stage, group in build.members.items() for item in group]
    return (
        environment(TEMPLATES)
        .get_template("report.html")
        .render(
            title=f"DEBUG: {config.report.title}" if config.tiny else config.report.title,
            tiny=config.tiny,
            papers=papers_of(config.report.study),
            setting=comparison.setting().line,
            legend=any(one.word in OTHER_WORDS.values() for group in decided for one in group),
            question=config.report.question,
            facts=_facts(build, gathered),
            missing=build.missing,
            findings=findings,
            sections=[
                {
                    "title": section.title,
                    "blocks": _views(build, section, group, str(i)),
                }
                for i, (section, group) in enumerate(zip(sections, decided, strict=True), start=1)
            ],
            sources=[
                (
                    stage,
                    ", ".join(f"{axis} {label}" for axis, label in item.labels.items()),
                    item.artifact.key,
                    item.command,
                )
                for stage, item in gathered
            ],
            key=build.node.key,
            command=build.node.portable_command,
        )
    )


def _facts(build: Build, gathered: Sequence[tuple[str, Gathered]]) -> list[tuple[str, str]]:
    config = build.config
    seeds = {item.labels["seed"] for _, item in gathered if "seed" in item.labels}
    seeds |= {str(seed) for stage, item in gathered if stage == "toy" for seed in item.config.toy.seeds}
    facts = [("experiment", config.experiment_name), ("data", config.data.name)]
    facts += [("seeds", str(len(seeds) or 1)), ("artifacts", str(len(gathered)))]
    facts.append(("arithmetic", f"{config.numerics.device}, {config.numerics.precision}"))
    return facts


def _views(build: Build, section: Section, decided: Sequence[Shown], name: str) -> list[dict[str, Any]]:
    """View a section's blocks; its claims are those that were decided, and none under debug=tiny."""
    verdicts = iter(decided)
    views = []
    for j, block in enumerate(section.blocks):
        if not isinstance(block, Claim):
            views.append(_view(build, block, f"{name}-{j}"))
        elif (shown := next(verdicts, None)) is not None:
            views.append({"kind": "verdict", "tone": _TONES[shown.outcome], **dataclasses.asdict(shown)})
    return views


def _view(build: Build, block: Text | Table | Picture, name: str) -> dict[str, Any]:
    """View a block, and pass it on to the tracker; a figure is also a file of its own."""
    if isinstance(block, Table):
        build.tracker.table(f"table {name}: {block.caption.partition('.')[0][:80]}", block.columns, block.rows)
    found = view(block, name, png=True)
    if isinstance(block, Picture):
        build.tracker.image(block.alt, found.png)
    for file, content in found.files.items():
        folder = build.folder / "figures"
        folder.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
    return found.shown
