"""Stage ``report``: one self-contained HTML page over all cells of an experiment."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analysis.verdicts import Claim
from analysis.verdicts.words import OTHER_WORDS
from pipeline.config.run import RunConfig
from pipeline.engine.build import Build, Gathered
from pipeline.engine.stages import STAGES, load_function
from pipeline.errors import UserError
from pipeline.reporting.blocks import Measured, Picture, Section, Table, Text
from pipeline.reporting.papers import papers_of
from pipeline.reporting.setting import Comparison
from pipeline.reporting.verdicts import Shown, decide, summary
from pipeline.shown_text import visible

TEMPLATES = Path(__file__).with_name("templates")
_TONES = {"holds": "yes", "fails": "no", "open": "open"}


def report(build: Build) -> dict[str, Any]:
    """Render the page ``report.html`` and its figures as separate files.

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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    config = build.config
    gathered = [(stage, item) for stage, group in build.members.items() for item in group]
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("report.html").render(
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
    if isinstance(block, Text):
        return {"kind": "text", "text": block.text}
    if isinstance(block, Table):
        build.tracker.table(f"table {name}: {block.caption.partition('.')[0][:80]}", block.columns, block.rows)
        columns = list(zip(*block.rows, strict=True)) or [()] * len(block.columns)
        words = [
            any(isinstance(cell, str) and not cell.startswith(("[", "–")) for cell in column) for column in columns
        ]
        return {
            "kind": "table",
            "columns": block.columns,
            "rows": [[_number(cell) for cell in row] for row in block.rows],
            "words": words,
            "caption": block.caption,
            "keys": list(dict.fromkeys(block.keys)),
            "command": block.command,
        }
    image = _image(build, block, name)
    return {"kind": "picture", "image": image, "caption": f"{block.caption}{_undrawn(block)}", "alt": block.alt}


def _undrawn(block: Picture) -> str:
    """Name what stands in a rendered figure for names that its font cannot draw."""
    from analysis.style import undrawn_names

    names = [f"{mark} is {visible(name)}" for mark, name in undrawn_names(block.figure).items()]
    return f" The figure's font lacks some characters: in it, {', '.join(names)}." if names else ""


def _image(build: Build, block: Picture, name: str) -> Any:
    from markupsafe import Markup

    from analysis.style import png_bytes, svg_bytes

    png = png_bytes(block.figure)
    build.tracker.image(block.alt, png)
    folder = build.folder / "figures"
    folder.mkdir(exist_ok=True)
    if block.raster:
        (folder / f"{name}.png").write_bytes(png)
        source = base64.b64encode(png).decode()
        return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(source, block.alt)
    svg = svg_bytes(block.figure)
    (folder / f"{name}.svg").write_bytes(svg)
    text = svg.decode()
    # Element ids repeat between figures; a prefix keeps clip paths and glyphs apart within one page.
    for mark in ('id="', 'href="#', "url(#"):
        text = text.replace(mark, f"{mark}f{name}-")
    return Markup(text[text.index("<svg") :])


def _number(cell: Any) -> str:
    if isinstance(cell, Measured):
        return cell.text
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return "–" if cell is None else str(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    if cell != cell:
        return "–"
    return f"{cell:,.0f}" if 1000 <= abs(cell) < 1e6 else f"{cell:.3g}"
