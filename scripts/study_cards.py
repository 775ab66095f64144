"""Write what each study has found into the pages: cards, figures and the table of all studies.

``python -m scripts.study_cards`` makes, from ``results/<study>.json``, the card at the head of each page of
``docs/studies``, its figure, and the table in ``README.md`` and ``docs/index.md``. Each stands between two comments;
what is written there by hand is replaced.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from analysis.verdicts.words import OTHER_WORDS, PUBLISHED_WORDS
from pipeline.reporting.papers import PAPERS
from scripts.study_figures import draw_study
from scripts.study_results import NOT_TESTED, ROOT, bounds, read_studies, words_of

STUDIES = ROOT / "docs" / "studies"
CARD = ("<!-- card, made by `python -m scripts.study_cards` -->", "<!-- end of the card -->")
TABLE = ("<!-- table, made by `python -m scripts.study_cards` -->", "<!-- end of the table -->")
GALLERY = ("<!-- gallery, made by `python -m scripts.study_cards` -->", "<!-- end of the gallery -->")
ORDER = [*PUBLISHED_WORDS.values(), *OTHER_WORDS.values(), NOT_TESTED]


def chip(word: str) -> str:
    """Mark a word of a verdict; where styles are not shown, the word remains.

    Examples
    --------
    >>> chip("holds here")
    '<span class="chip holds-here">holds here</span>'
    """
    return f'<span class="chip {word.replace(" ", "-")}">{word}</span>'


def counts(words: list[str]) -> str:
    """Count the words of a study's claims, a chip for each.

    Examples
    --------
    >>> counts(["open here", "open here", "not tested"])
    '2&nbsp;<span class="chip open-here">open here</span> · 1&nbsp;<span class="chip not-tested">not tested</span>'
    """
    found = Counter(words)
    return " · ".join(f"{found[word]}&nbsp;{chip(word)}" for word in ORDER if found[word])


def cell(text: str) -> str:
    """Text of a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def claim_rows(study: dict[str, Any]) -> list[str]:
    """Rows of the claims, each with what every run says about it."""
    rows = []
    for claim in study["claims"]:
        where = claim["where"] + ("" if claim["standing"] in claim["where"] else f" ({claim['standing']})")
        said = [
            f"{chip(one['word'])} {cell(study['runs'][one['run']]['title'])}: {cell(one['evidence'])}"
            for one in claim["said"]
        ] or [f"{chip(NOT_TESTED)} no run here has measured it"]
        name, statement = cell(claim["name"]), cell(claim["statement"])
        rows.append(f"| **{name}** {statement} | {cell(where)} | {'<br>'.join(said)} |")
    return rows


def run_rows(study: dict[str, Any]) -> list[str]:
    """Rows of the runs: what of the published size, how many seeds, when and from which commit, and the page."""
    rows = []
    for run in study["runs"].values():
        share = {"published": "the published setting", "ours": "no published setting: the question is ours"}
        size = share.get(run["setting"]) or "; ".join(run["share"])
        when = f'{run["dated"]} <span class="date">{run["date"]}</span>, commit {run["commit"]}'
        report = f'<a href="../reports/{run["report"]}">report</a>' if run["report"] else "made by its command"
        rows.append(f"| {cell(run['title'])} | {cell(size)} | {run['seeds']} | {when} | {report} |")
    return rows


def seen(study: dict[str, Any]) -> str:
    """Tell a study's figure to those who cannot see it: its title and every number with its interval.

    Examples
    --------
    >>> row = {"label": "MLP (200)", "value": 5.25, "low": 5.13, "high": 5.38}
    >>> seen({"figure": {"title": "How often"}, "panels": {"churn": {"label": "churn, %", "rows": [row]}}})
    'How often; churn, %: MLP (200) 5.25 (5.13 to 5.38)'
    """
    parts = [study["figure"]["title"]]
    for panel in study["panels"].values():
        told = []
        for row in panel["rows"]:
            low, high = bounds(row)
            told.append(f"{row['label']} {row['value']:g} ({low:.3g} to {high:.3g})")
        parts.append(f"{panel['label']}: {', '.join(told)}")
    return cell("; ".join(parts)).replace("[", "(").replace("]", ")")


def card(study: dict[str, Any]) -> str:
    """Write the card of a study's page."""
    paper = PAPERS[study["arxiv"]]
    figure = study["figure"]
    return "\n".join(
        [
            f"**Study {study['study']}.** {paper.authors}, *{paper.title}*, [arXiv:{paper.arxiv}]({paper.link}).",
            "",
            f"**Question.** {study['question']}",
            "",
            f"**Found here.** {study['found']}",
            "",
            f"![{seen(study)}](figures/{study['page']}.svg)",
            "",
            f"*{figure['title']}.* {figure['caption']}",
            "",
            "| claim | where it is made | what runs here say |",
            "| --- | --- | --- |",
            *claim_rows(study),
            "",
            "| run | share of the published size | seeds | date and commit | report |",
            "| --- | --- | --- | --- | --- |",
            *run_rows(study),
            "",
            "The command (`scale=published` added, it makes the published setting):",
            "",
            "```bash",
            study["command"],
            "```",
        ]
    )


def table(studies: list[dict[str, Any]], folder: str) -> str:
    """Write the table of all studies, with links from a folder such as ``docs/``."""
    lines = ["| study | experiments | claims | what was found here |", "| --- | --- | --- | --- |"]
    for study in studies:
        names = ", ".join(f"`{name}`" for name in study["experiments"])
        paper = PAPERS[study["arxiv"]]
        link = f"[{study['name']}]({folder}studies/{study['page']}.md) ([{paper.arxiv}]({paper.link}))"
        words = counts(words_of(study))
        lines.append(f"| {study['study']}. {link} | {names} | {words} | {cell(study['found'])} |")
    return "\n".join(lines)


def gallery(studies: list[dict[str, Any]]) -> str:
    """Write the figures of all studies with their commands."""
    parts = []
    for study in studies:
        figure = study["figure"]
        parts += [
            f"### [{study['name']}](studies/{study['page']}.md)",
            f"![{seen(study)}](studies/figures/{study['page']}.svg)",
            f"{figure['title']}. {figure['caption']}",
            f"```bash\n{study['command']}\n```",
        ]
    return "\n\n".join(parts)


def placed(text: str, marks: tuple[str, str], content: str) -> str:
    """Put a content between its two comments.

    Raises
    ------
    SystemExit
        If the text lacks them.

    Examples
    --------
    >>> placed("<a> old <b> rest", ("<a>", "<b>"), "new").split()
    ['<a>', 'new', '<b>', 'rest']
    """
    start, end = marks
    if text.count(start) != 1 or text.count(end) != 1:
        raise SystemExit(f"A page needs these two lines once each, to hold what is made: {start} and {end}")
    return text[: text.index(start)] + f"{start}\n\n{content}\n\n{end}" + text[text.index(end) + len(end) :]


def pages() -> dict[Path, bytes]:
    """Make every file that this script writes, as it should be now."""
    studies = read_studies()
    made = {}
    for study in studies:
        page = STUDIES / f"{study['page']}.md"
        made[page] = placed(page.read_text(encoding="utf-8"), CARD, card(study)).encode()
        made[STUDIES / "figures" / f"{study['page']}.svg"] = draw_study(study)
    for page, folder in ((ROOT / "README.md", "docs/"), (ROOT / "docs" / "index.md", "")):
        made[page] = placed(page.read_text(encoding="utf-8"), TABLE, table(studies, folder)).encode()
    page = ROOT / "docs" / "gallery.md"
    made[page] = placed(page.read_text(encoding="utf-8"), GALLERY, gallery(studies)).encode()
    return made


def numbers_in(text: str) -> set[float]:
    """Read every number that a text prints, with or without its sign.

    Examples
    --------
    >>> sorted(numbers_in("−.113 and 1,000 of +0.5 %"))
    [0.113, 0.5, 1000.0]
    """
    return {float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*\.?\d*|\.\d+", text) if found.strip(",.")}


def main() -> None:
    """Write the pages."""
    for path, content in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
