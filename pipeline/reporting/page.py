"""Stage ``report``: one self-contained HTML page over all cells of an experiment."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from analysis.pages.blocks import Finding, Headline, Section, Table
from analysis.pages.views import Ordinary, Views, environment
from analysis.plain_text import visible
from analysis.verdicts import OPEN, Claim
from analysis.verdicts.words import OTHER_WORDS
from pipeline.config.run import RunConfig
from pipeline.engine.build import Build, Gathered
from pipeline.engine.schedule.work import working_together
from pipeline.engine.stages import STAGES, load_function
from pipeline.errors import UserError
from pipeline.reporting.drawing import Ahead
from pipeline.reporting.first_screen import ORIGIN, answering, facts, seeds_of
from pipeline.reporting.papers import papers_of
from pipeline.reporting.setting import Comparison
from pipeline.reporting.verdicts import Shown, decide, summary, without_name
from pipeline.results.report_numbers import NUMBERS, numbers_csv
from pipeline.shown_text import cell_words

TEMPLATES = Path(__file__).with_name("templates")
FIGURES = "figures"
"""Folder of the figures beside the page."""
MOST_CHIPS = 6
"""Claims up to which the first screen names each."""
MOST_OPEN = 3
"""Claims of a section that its runs leave open, up to which each is shown unfolded."""
MOST_SEEDS = 24
"""Seeds up to which the page lists their colors."""
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
    with Ahead(working_together(), build.tracker.shows_images) as ahead:
        return _write(build, order, ahead)


def _write(build: Build, order: Sequence[str], ahead: Ahead) -> dict[str, Any]:
    config = build.config
    sections: dict[str, Section] = {}
    for name in order:
        build.say(f"section {name}")
        sections[name] = _section(name)(build.members[name], config)
        _refuse_undeclared(name, sections[name])
        ahead.add(sections[name].blocks)
    leading, headline = answering(sections, config.report.answers)
    # what answers the question comes first, the others in the order of the experiment
    sections = {name: sections[name] for name in sorted(sections, key=lambda name: name != leading)}
    # a missing run may lack several stages; the stage that lacks most counts them
    missing = max(Counter(label.split()[0] for label in build.missing).values(), default=0)
    comparison = Comparison(build.graph, config, missing)
    claims = {name: [b for b in section.blocks if isinstance(b, Claim)] for name, section in sections.items()}
    shown = iter(decide([claim for group in claims.values() for claim in group], comparison))
    decided = {name: list(itertools.islice(shown, len(group))) for name, group in claims.items()}
    answer = _answer(config, headline)
    findings = [answer] if answer else []
    for name, section in sections.items():
        findings += [one.answer for one in section.headlines[:1] if name != leading]
        findings += section.findings
    counted = {name: summary(group) for name, group in decided.items()}
    findings += [f"{sections[name].title}. {line}" for name, line in counted.items() if line]
    (build.folder / NUMBERS).write_text(numbers_csv(build.members), encoding="utf-8")
    page = _render(build, sections, headline, decided, comparison, ahead)
    (build.folder / "report.html").write_text(visible(page), encoding="utf-8")
    return {
        "question": question_of(config, headline),
        "answer": answer,
        "sections": len(sections),
        "setting": comparison.setting().line,
        "verdicts": [dataclasses.asdict(one) for group in decided.values() for one in group],
        "findings": findings,
    }


def question_of(config: RunConfig, headline: Headline | None) -> str:
    """Give the question of a study; one that asks none asks what its answering stage answers."""
    return config.report.question or ("" if headline is None else headline.question)


def _answer(config: RunConfig, headline: Headline | None) -> str:
    if headline is None:
        return "These runs do not answer it; what they show follows." if config.report.question else ""
    return headline.answer


def _refuse_undeclared(stage: str, section: Section) -> None:
    """Hold a section to the headlines that the table of stages says it can have: `report.answers` is checked by it."""
    for one in section.headlines:
        if one.name not in STAGES[stage].headlines:
            raise ValueError(f"Headline {one.name!r} of stage {stage} is not in its row in pipeline/engine/stages.py.")


def _section(stage: str) -> Callable[[list[Gathered], RunConfig], Section]:
    spec = STAGES[stage].report
    if spec is None:
        raise UserError(f"A report cannot show stage {stage!r}: its row in pipeline/engine/stages.py names no section.")
    return load_function(spec)


def _render(
    build: Build,
    sections: Mapping[str, Section],
    headline: Headline | None,
    decided: Mapping[str, Sequence[Shown]],
    comparison: Comparison,
    ahead: Ahead,
) -> str:
    config = build.config
    gathered = [item for group in build.members.values() for item in group]
    folders = {item.artifact.key: _relative(item.artifact.folder, build.folder) for item in gathered}
    all_decided = [one for group in decided.values() for one in group]
    first = [] if headline is None else [block for block in (headline.picture, headline.table) if block is not None]
    shows_images = build.tracker.shows_images
    blocks = [*first, *(block for section in sections.values() for block in section.blocks)]
    views = Views(folders, FIGURES, shows_images, drawn=ahead.finish(blocks))
    return (
        environment(TEMPLATES)
        .get_template("report.html")
        .render(
            title=f"DEBUG: {config.report.title}" if config.tiny else config.report.title,
            tiny=config.tiny,
            papers=papers_of(config.report.study),
            setting=comparison.setting().line,
            legend=any(one.word in OTHER_WORDS.values() for one in all_decided),
            untouched=comparison.setting().kind == "other" and any(one.strong for one in all_decided),
            question=question_of(config, headline),
            answer=_answer(config, headline),
            answer_links=[] if headline is None else views.links(headline.table.keys),
            first=_placed(_shown(build, views, first, "0"), next(iter(sections), "")),
            chips=_chips(all_decided),
            facts=facts(config, build.members),
            origin=ORIGIN,
            seeds=seeds_of(build.members) if len(seeds_of(build.members)) <= MOST_SEEDS else [],
            missing=build.missing,
            sections=[
                {
                    "id": name,
                    "title": section.title,
                    "lead": section.headlines[0].answer if section.headlines and i > 1 else "",
                    "open": i == 1,
                    "blocks": _blocks(build, views, name, section, decided[name], i, comparison.setting().line),
                }
                for i, (name, section) in enumerate(sections.items(), start=1)
            ],
            sources=_sources(build, views),
            glyphs=Markup(views.inline.glyphs),
            key=build.node.key,
            command=build.node.portably(),
        )
    )


def _relative(folder: Path, page: Path) -> str:
    return Path(os.path.relpath(folder, page)).as_posix() + "/"


def _chips(decided: Sequence[Shown]) -> list[dict[str, Any]]:
    """Say what became of the claims: each by its name, of many only how often."""
    if len(decided) <= MOST_CHIPS:
        return [
            {"words": f"{one.name}: {one.word}", "tone": _TONES[one.outcome], "strong": one.strong} for one in decided
        ]
    counts = Counter((one.word, _TONES[one.outcome], one.strong) for one in decided)
    return [
        {"words": f"{word}: {count} of {len(decided)} claims", "tone": tone, "strong": strong}
        for (word, tone, strong), count in counts.most_common()
    ]


def _blocks(
    build: Build, views: Views, stage: str, section: Section, decided: Sequence[Shown], place: int, of_page: str
) -> list[dict[str, Any]]:
    """View a section's blocks, findings first; its claims are those that were decided, and none under debug=tiny.

    A section that is not the first begins with its own answer. Sentences that name no artifact lead to all of the
    section's. What a claim shares with the page, its setting, is not said again.
    """
    name = str(place)
    found = [block for block in section.blocks if isinstance(block, Finding)]
    if place > 1:
        found[:0] = [Finding(one.answer, one.table.keys) for one in section.headlines[:1]]
    verdicts = iter(decided)
    shown = _shown(build, views, found, f"{name}-findings")
    for j, block in enumerate(section.blocks):
        if isinstance(block, Claim):
            if (one := next(verdicts, None)) is not None:
                evidence, _, rest = one.evidence.partition(" Decided on ")
                words = {"evidence": evidence, "rest": f"Decided on {rest}" if rest else ""}
                words |= {"name": one.name, "statement": without_name(one.name, one.statement)}
                words["setting"] = "" if one.setting == of_page else one.setting
                tone = {"tone": _TONES[one.outcome], "links": views.links(block.keys)}
                shown.append({"kind": "verdict", **dataclasses.asdict(one), **words, **tone})
        elif not isinstance(block, Finding):
            shown += _shown(build, views, [block], f"{name}-{j}")
    every = views.links(item.artifact.key for item in build.members[stage])
    for view in shown:
        for sentence in view["lines"] if view["kind"] == "findings" else [view] if view["kind"] == "verdict" else []:
            sentence["links"] = sentence["links"] or every
    return _placed(_folded(shown), stage)


def _folded(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put many claims that nothing decides behind one line, where the first of them stood."""
    undecided = [view for view in shown if view["kind"] == "verdict" and view["outcome"] == OPEN]
    if len(undecided) <= MOST_OPEN:
        return shown
    title = f"{len(undecided)} claims that these runs do not decide"
    place = shown.index(undecided[0])
    rest = [view for view in shown if view not in undecided]
    return [*rest[:place], {"kind": "fold", "title": title, "blocks": undecided}, *rest[place:]]


def _placed(shown: list[dict[str, Any]], stage: str) -> list[dict[str, Any]]:
    """Lead from figures to the rows of their stage among the sources."""
    for view in shown:
        if "origin" in view:
            view["origin"] = f"#from-{stage}"
    return shown


def _shown(build: Build, views: Views, blocks: Sequence[Ordinary], name: str) -> list[dict[str, Any]]:
    """View blocks, and pass them on to the tracker; a figure is also a file of its own."""
    single = len(blocks) == 1
    found = [views.one(blocks[0], name)] if single else views.all(blocks, name)
    for block in blocks:
        if isinstance(block, Table):
            build.tracker.table(f"table {name}: {block.caption.partition('.')[0][:80]}", block.columns, block.rows)
    for one in found:
        if one.png and one.shown["kind"] == "picture":
            build.tracker.image(one.shown["alt"], one.png)
        for file, content in one.files.items():
            folder = build.folder / FIGURES
            folder.mkdir(exist_ok=True)
            (folder / file).write_bytes(content)
    return [one.shown for one in found]


def _sources(build: Build, views: Views) -> dict[str, Any]:
    """List every artifact with the command that makes it again; its key leads to its folder."""
    rows = [
        {
            "id": "" if place else f"from-{stage}",
            "stage": stage,
            "cell": cell_words(item.labels),
            "key": item.artifact.key,
            "href": views.folders[item.artifact.key],
            "command": item.command,
        }
        for stage, group in build.members.items()
        for place, item in enumerate(group)
    ]
    return {"rows": rows, "cells": any(row["cell"] for row in rows)}
