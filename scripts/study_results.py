"""What each study has found, as data: ``results/<study>.json``, one file for each paper, and how a report enters it.

``python -m scripts.study_results --keep STUDY FOLDER`` writes the claims, setting, keys, command, commit and date of a
finished report (the folder of its artifact) into ``results/STUDY.json`` and keeps the page in ``docs/reports/``; what
an earlier run by the same command said is replaced. Its cells and the means over runs that it states are kept too
(``scripts.kept_cells``, ``scripts.kept_numbers``), so that ``make results-check`` can compute these again. Pages and
tables are made from these files by ``scripts.study_cards``.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from analysis.verdicts.words import OTHER_WORDS, PUBLISHED_WORDS, SOURCES
from pipeline.engine.composition.command_words import shell_word
from scripts.kept_cells import ROOT, portable

RESULTS = ROOT / "results"
REPORTS = ROOT / "docs" / "reports"
NOT_TESTED = "not tested"
"""What a claim is called that no run has decided by the present rules."""
WORDS = {*PUBLISHED_WORDS.values(), *OTHER_WORDS.values(), NOT_TESTED}
LARGEST_REPORT = 1_600_000
"""Bytes of a report that is kept beside the pages; a larger one is made again by its command."""
KEPT = (
    '<p class="small">A kept copy. The artifacts that it names, its numbers as a table and the data of its figures are '
    "made again by the command at its foot.</p>"
)
"""What a kept page says of itself."""
_WEAKEST = [words[outcome] for outcome in ("fails", "open", "holds") for words in (PUBLISHED_WORDS, OTHER_WORDS)]
"""Words of verdicts, from the one that a single part of a claim gives to the whole."""


def read_studies() -> list[dict[str, Any]]:
    """Read all studies, by their number; ``page`` is the name of their file.

    Raises
    ------
    SystemExit
        If a file says what cannot be: an unknown word, a run that is not there, a verdict off the published setting.
    """
    studies = []
    for path in RESULTS.glob("*.json"):
        study = json.loads(path.read_text(encoding="utf-8")) | {"page": path.stem}
        if problem := find_problem(study):
            raise SystemExit(f"{path.relative_to(ROOT)}: {problem}")
        studies.append(study)
    return sorted(studies, key=lambda study: study["study"])


def find_problem(study: dict[str, Any]) -> str:
    """Say what is wrong with a study, or nothing.

    Examples
    --------
    >>> run = {"setting": "other", "share": ["3 of 5 seeds"]}
    >>> said = {"run": "small", "word": "reproduced", "evidence": "n = 3"}
    >>> claim = {"name": "A1", "standing": "published", "said": [said]}
    >>> find_problem({"runs": {"small": run}, "claims": [claim], "panels": {}})
    'claim A1 is called reproduced by run small, which is not at the published setting.'
    """
    runs = study["runs"]
    for name, run in runs.items():
        if run["setting"] not in ("published", "other", "ours"):
            return f"run {name} has the setting {run['setting']!r}; write published, other or ours."
        if run["setting"] == "other" and not run["share"]:
            return f"run {name} is not at the published setting and does not say what differs."
    for claim in study["claims"]:
        if claim["standing"] not in SOURCES:
            return f"claim {claim['name']} has the standing {claim['standing']!r}; write one of {', '.join(SOURCES)}."
        for said in claim["said"]:
            if said["run"] not in runs:
                return f"claim {claim['name']} names the run {said['run']}, which is not among: {', '.join(runs)}."
            if said["word"] not in WORDS:
                return f"claim {claim['name']} is called {said['word']!r}; the words are: {', '.join(sorted(WORDS))}."
            if said["word"] in PUBLISHED_WORDS.values() and runs[said["run"]]["setting"] != "published":
                return (
                    f"claim {claim['name']} is called {said['word']} by run {said['run']}, which is not at the "
                    "published setting."
                )
            if said["word"] in PUBLISHED_WORDS.values() and claim["standing"] == "ours":
                return f"claim {claim['name']} is ours and called {said['word']} by run {said['run']}."
    for panel in study["panels"].values():
        for row in panel["rows"]:
            if row["run"] not in runs:
                return f"the number {row['label']!r} names the run {row['run']}, which is not among: {', '.join(runs)}."
            low, high = bounds(row)
            if not low <= row["value"] <= high:
                return f"the number {row['label']!r} lies outside its interval."
    return ""


def bounds(row: dict[str, Any]) -> tuple[float, float]:
    """Interval of a number: as it was printed, else Student's t from its standard deviation.

    Examples
    --------
    >>> low, high = bounds({"value": 80.0, "sd": 1.0, "n": 5})
    >>> round(low, 2), round(high, 2)
    (78.76, 81.24)
    """
    if "sd" in row:
        from scipy import stats

        half = float(stats.t.ppf(0.975, row["n"] - 1)) * row["sd"] / math.sqrt(row["n"])
        return row["value"] - half, row["value"] + half
    return row["low"], row["high"]


def words_of(study: dict[str, Any]) -> list[str]:
    """Give the word of every claim by its first run; a claim without one is not tested."""
    return [claim["said"][0]["word"] if claim["said"] else NOT_TESTED for claim in study["claims"]]


def enter_report(
    study: dict[str, Any], folder: Path, reports: Path = REPORTS, others: Iterable[str] = ()
) -> dict[str, Any]:
    """Enter a finished report into a study and keep its page.

    Parameters
    ----------
    study : dict
        As its file has it.
    folder : Path
        Of the report's artifact.
    reports : Path
        Where pages are kept.
    others : iterable of str
        Names of the claims of other studies: what a report says about these is left to them.

    Raises
    ------
    SystemExit
        If the folder holds no finished report, or one of debug=tiny.
    """
    try:
        metrics, provenance, manifest = (
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("metrics", "provenance", "manifest")
        )
        page = (folder / "report.html").read_text(encoding="utf-8")
        verdicts, setting = metrics["verdicts"], metrics["setting"]
    except (OSError, ValueError, KeyError) as error:
        text = f"{folder} is no finished report ({error}); give the folder that a study's last line names."
        raise SystemExit(text) from None
    if setting.startswith("debug=tiny"):
        raise SystemExit(f"{folder} was made with debug=tiny and says nothing; make the study without it.")
    experiment = folder.name.rpartition("-")[0]
    page = page_alone(page)
    kept = len(page.encode()) <= LARGEST_REPORT
    if kept:
        reports.mkdir(parents=True, exist_ok=True)
        (reports / f"{experiment}.html").write_text(page, encoding="utf-8")
    kind = {"tested": "published", "no": "ours"}.get(setting.split()[0], "other")
    command = typed(provenance["command"])
    name = next((one for one, run in study["runs"].items() if typed(run["command"]) == command), experiment)
    run = study["runs"].get(name, {"title": experiment, "seeds": 1})
    study["runs"][name] = run | {
        "command": command,
        "setting": kind,
        "share": [setting.partition(": ")[2]] if kind == "other" else [],
        "commit": provenance["commit"] and provenance["commit"][:7],
        "date": provenance["ended"][:10],
        "dated": "made",
        "keys": [manifest["key"]],
        "report": f"{experiment}.html" if kept else None,
    }
    _enter_claims(study, name, verdicts, others)
    return study


def _enter_claims(study: dict[str, Any], run: str, verdicts: Sequence[dict[str, str]], others: Iterable[str]) -> None:
    """Put what a report says in the place of what an earlier run by the same command said."""
    said: dict[str, list[dict[str, str]]] = {}
    for verdict in verdicts:
        name = claim_of(verdict["name"], study["claims"])
        if name is None and claim_of(verdict["name"], [{"name": other} for other in others]):
            continue
        if name is None:
            name = verdict["name"]
            where, source = verdict["published"] or "derived here", verdict["standing"].partition(";")[0]
            claim = {"name": name, "statement": verdict["statement"], "where": where, "standing": source, "said": []}
            study["claims"].append(claim)
        said.setdefault(name, []).append(verdict)
    for claim in study["claims"]:
        claim["said"] = [one for one in claim["said"] if one["run"] != run]
        if parts := said.get(claim["name"]):
            claim["said"].insert(0, {"run": run, **together(parts)})


def _enter_numbers(study: dict[str, Any], folder: Path) -> None:
    """Keep the cells of a report and the numbers that it states, in the run that it is."""
    from scripts.kept_numbers import (
        enter_sources,
        keep_numbers,
    )  # draws figures: seconds that the cards need not wait for

    key = folder.name.rpartition("-")[2]
    command = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["command"]
    kept = keep_numbers(folder, command)
    if isinstance(kept, str):
        print(kept)
    else:
        name, run = next((name, run) for name, run in study["runs"].items() if run["keys"] == [key])
        run.update(kept)
        rows = [row for panel in study["panels"].values() for row in panel["rows"] if row["run"] == name]
        enter_sources(rows, run["cells"])
        found = sum(number["source"] is not None for number in kept["numbers"])
        print(f"{len(kept['numbers'])} means over runs, {found} of them with their cells")


def claim_of(verdict: str, claims: Sequence[dict[str, Any]]) -> str | None:
    """Name the claim that a verdict of a report is about: its own name, or the beginning of it.

    A claim whose verdicts have other names lists patterns of them as ``decided_by``.

    Examples
    --------
    >>> claims = [{"name": "R2"}, {"name": "R2 order"}, {"name": "τ", "decided_by": ["tau* of *"]}]
    >>> [claim_of(name, claims) for name in ("R2 CK of all cells", "R2 order of all cells", "tau of pNTK", "R20")]
    ['R2', 'R2 order', 'τ', None]
    """
    fitting = [
        claim["name"]
        for claim in claims
        if re.match(rf"{re.escape(claim['name'])}(?![\w])", verdict)
        or any(fnmatchcase(verdict, pattern) for pattern in claim.get("decided_by", ()))
    ]
    return max(fitting, key=len, default=None)


def together(parts: Sequence[dict[str, str]]) -> dict[str, str]:
    """Say what the parts of a claim say of the whole: it holds where all do, and fails where one does.

    Examples
    --------
    >>> parts = [{"name": f"T6, {name}", "word": "holds here", "evidence": name} for name in ("Adam", "spike")]
    >>> together([*parts, {"name": "T6, SGD", "word": "open here", "evidence": "SGD"}])
    {'word': 'open here', 'evidence': 'holds here in 2 of 3 parts; T6, SGD: SGD'}
    >>> together(parts)
    {'word': 'holds here', 'evidence': 'in all 2 parts; T6, Adam: Adam'}
    """
    if len(parts) == 1:
        return {"word": parts[0]["word"], "evidence": first_sentence(parts[0]["evidence"])}
    words = Counter(part["word"] for part in parts)
    whole = next(word for word in _WEAKEST if word in words)
    first = next(part for part in parts if part["word"] == whole)
    rest = [f"{word} in {words[word]} of {len(parts)} parts" for word in reversed(_WEAKEST) if words[word]]
    counted = f"in all {len(parts)} parts" if len(words) == 1 else ", ".join(rest[: len(words) - 1])
    return {"word": whole, "evidence": f"{counted}; {first['name']}: {first_sentence(first['evidence'])}"}


def first_sentence(evidence: str) -> str:
    """Take what decides a claim; the report goes on with what else was looked at.

    Examples
    --------
    >>> first_sentence("0.39 [0.19, 0.60] over n = 5 runs. Decided on the mixture. Elsewhere: open.")
    '0.39 [0.19, 0.60] over n = 5 runs.'
    """
    return re.split(r"(?<=\.) (?=[A-Z])", evidence, maxsplit=1)[0]


def typed(command: str) -> str:
    """Leave out of a command what says where and how it ran, not what it made.

    Examples
    --------
    >>> typed("python run.py experiment=toy 'paths.store=a store' 'wants=[train,toy]' stage=report workers=1")
    "python run.py experiment=toy 'wants=[train,toy]'"
    >>> typed("python run.py experiment=toy data.path.train=/home/me/digits/train.parquet")
    'python run.py experiment=toy data.path.train=digits/train.parquet'
    """
    words = [word for word in shlex.split(command) if not word.startswith(("paths.", "stage=", "workers=", "rebuild="))]
    return portable(" ".join(shell_word(word) for word in words))


def page_alone(page: str) -> str:
    """Write a report's page as it stands without the folder around it: links to files beside it become text.

    Examples
    --------
    >>> page_alone('<a href="../../train/ab/"><code>key</code></a> <a href="#end">end</a> <a href="https://a.b">a</a>')
    '<code>key</code> <a href="#end">end</a> <a href="https://a.b">a</a>'
    >>> page_alone('<main id="main">Caption. <span class="files"><a href="figures/0.csv">CSV</a></span></main>')
    '<main id="main"><p class="small">A kept copy. ...</p>Caption. </main>'
    """
    page = portable(re.sub(r'<span class="files">.*?</span>', "", page, flags=re.S))
    page = re.sub(r" Beside this page, .*?</p>", "</p>", page, flags=re.S)
    page = re.sub(r'<a href="(?!#|\w+:)[^"]*"[^>]*>(.*?)</a>', r"\1", page, flags=re.S)
    page = re.sub(r'(?<= d=")M [-\d.MLz ]+(?=")', lambda found: shorter_path(found[0]), page)
    return re.sub(r"<main[^>]*>", lambda found: found[0] + KEPT, page, count=1)


def shorter_path(path: str) -> str:
    """Write a path of straight lines by its steps, to a tenth of a point, without adding up what is rounded.

    Examples
    --------
    >>> shorter_path("M 10.04 20.04 L 10.08 20.55 L 12.12 18.55 M 1.00 2.00 L 3.26 2.00")
    'M10 20l.1.6 2-2M1 2l2.3 0'
    >>> shorter_path("M 10.50 0.30 L 10.50 120.34 L 0.00 100.00")
    'M10.5.3l0 120-10.5-20.3'
    """
    parts = []
    for line in path.split("M")[1:]:
        points = [[round(10 * float(one)) for one in point.split()] for point in line.strip(" z").split("L")]
        steps = [(x - a, y - b) for (a, b), (x, y) in zip(points, points[1:], strict=False)]
        parts.append(f"M{_tenths(points[0])}" + ("l" + " ".join(map(_tenths, steps)) if steps else ""))
        parts[-1] += "z" * ("z" in line)
    return re.sub(r" (?=-)|(?<=\.\d) (?=\.)", "", "".join(parts))


def _tenths(pair: Sequence[int]) -> str:
    return " ".join(re.sub(r"\.0$|(?<!\d)0(?=\.[1-9])", "", f"{one / 10:.1f}") for one in pair)


def main() -> None:
    """Enter a report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", nargs=2, metavar=("STUDY", "FOLDER"), required=True)
    name, folder = parser.parse_args().keep
    path = RESULTS / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in RESULTS.glob("*.json")))
        raise SystemExit(f"There is no study {name}; there are: {known}.")
    others = [claim["name"] for study in read_studies() if study["page"] != name for claim in study["claims"]]
    study = enter_report(json.loads(path.read_text(encoding="utf-8")), Path(folder), others=others)
    if problem := find_problem(study):
        raise SystemExit(f"{folder}: {problem}")
    _enter_numbers(study, Path(folder))
    path.write_text(json.dumps(study, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path} holds the claims of {folder}; `python -m scripts.study_cards` writes the pages.")


if __name__ == "__main__":
    main()
