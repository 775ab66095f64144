"""What each study has found, as data: ``results/<study>.json``, one file for each paper, and how a report enters it.

``python -m scripts.study_results --keep STUDY FOLDER`` writes the claims, setting, keys, command, commit and date of a
finished report (the folder of its artifact) into ``results/STUDY.json`` and keeps the page in ``docs/reports/``; what
an earlier run of the same experiment said is replaced. Pages and tables are made from these files by
``scripts.study_cards``.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

from analysis.verdicts.words import OTHER_WORDS, PUBLISHED_WORDS, SOURCES

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
REPORTS = ROOT / "docs" / "reports"
NOT_TESTED = "not tested"
"""What a claim is called that no run has decided by the present rules."""
WORDS = {*PUBLISHED_WORDS.values(), *OTHER_WORDS.values(), NOT_TESTED}
LARGEST_REPORT = 500_000
"""Bytes of a report that is kept beside the pages; a larger one is made again by its command."""


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


def enter_report(study: dict[str, Any], folder: Path, reports: Path = REPORTS) -> dict[str, Any]:
    """Enter a finished report into a study and keep its page.

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
        page = folder / "report.html"
        verdicts, setting, size = metrics["verdicts"], metrics["setting"], page.stat().st_size
    except (OSError, ValueError, KeyError) as error:
        text = f"{folder} is no finished report ({error}); give the folder that a study's last line names."
        raise SystemExit(text) from None
    if setting.startswith("debug=tiny"):
        raise SystemExit(f"{folder} was made with debug=tiny and says nothing; make the study without it.")
    name = folder.name.rpartition("-")[0]
    kept = size <= LARGEST_REPORT
    if kept:
        reports.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, reports / f"{name}.html")
    kind = {"tested": "published", "the": "ours"}.get(setting.split()[0], "other")
    words = [word for word in provenance["command"].split() if not word.startswith(("paths.", "stage=", "workers="))]
    run = study["runs"].get(name, {"title": name, "seeds": 1})
    study["runs"][name] = run | {
        "command": " ".join(words),
        "setting": kind,
        "share": [setting.partition(": ")[2]] if kind == "other" else [],
        "commit": provenance["commit"] and provenance["commit"][:7],
        "date": provenance["ended"][:10],
        "dated": "made",
        "keys": [manifest["key"]],
        "report": f"{name}.html" if kept else None,
    }
    by_name = {claim["name"]: claim for claim in study["claims"]}
    for claim in study["claims"]:
        claim["said"] = [said for said in claim["said"] if said["run"] != name]
    for verdict in verdicts:
        claim = by_name.get(verdict["name"])
        if claim is None:
            where, source = verdict["published"] or "derived here", verdict["standing"].partition(";")[0]
            claim = {"name": verdict["name"], "statement": verdict["statement"], "where": where, "standing": source}
            claim |= {"said": []}
            study["claims"].append(claim)
            by_name[verdict["name"]] = claim
        claim["said"].insert(0, {"run": name, "word": verdict["word"], "evidence": verdict["evidence"]})
    return study


def main() -> None:
    """Enter a report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", nargs=2, metavar=("STUDY", "FOLDER"), required=True)
    name, folder = parser.parse_args().keep
    path = RESULTS / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in RESULTS.glob("*.json")))
        raise SystemExit(f"There is no study {name}; there are: {known}.")
    study = enter_report(json.loads(path.read_text(encoding="utf-8")), Path(folder))
    if problem := find_problem(study):
        raise SystemExit(f"{folder}: {problem}")
    path.write_text(json.dumps(study, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{path} holds the claims of {folder}; `python -m scripts.study_cards` writes the pages.")


if __name__ == "__main__":
    main()
