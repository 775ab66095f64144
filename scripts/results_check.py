"""Whether the kept results agree with the kept cells: ``make results-check``.

Every number of ``results/*.json`` that rests on cells of ``results/cells`` is computed from them again (mean over runs,
interval and n), and held against what is kept, against the sentence of the claim that states it and against the row of
the figure that draws it. A run that says that it was made must also say its setting, key, command, commit and date.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scripts.kept_cells import CELLS, read_cell
from scripts.kept_sources import Known, again, draws
from scripts.study_results import RESULTS, claim_of, find_problem

AGREE = 1e-9
"""Relative difference below which two numbers are the same: sums in another order."""
SAYS = ("title", "setting", "command", "commit", "date", "keys")
"""What every run says of itself."""


def faults_of(study: Mapping[str, Any], cells: Path = CELLS) -> Iterator[str]:
    """Yield what is wrong with a study's kept numbers, in sentences."""
    if problem := find_problem(dict(study)):
        yield problem
    for name, run in study["runs"].items():
        lacking = [field for field in SAYS if not run.get(field) and (field != "keys" or run.get("dated") == "made")]
        if lacking:
            yield f"run {name} does not say its {', '.join(lacking)}"
        yield from _faults_of_run(study, name, run, cells)
    for panel in study["panels"].values():
        for row in panel["rows"]:
            yield from _faults_of_row(study, row, cells)


def _faults_of_run(study: Mapping[str, Any], name: str, run: Mapping[str, Any], cells: Path) -> Iterator[str]:
    absent = [cell for cell in run.get("cells", ()) if not (cells / cell).exists()]
    if absent:
        yield f"run {name} rests on {len(absent)} cells that are not kept, such as {absent[0]}"
        return
    known = _known(run, cells)
    for number in run.get("numbers", ()):
        what = f"run {name}, {number['of']} of {number['group']}"
        if number["n"] > 1 and number["source"] is not None:
            fresh = again(number, known)
            if fresh is None:
                yield f"{what}: its cells no longer hold {number['source']['quantity']} of {number['source']['stage']}"
                continue
            for field in ("n", "value", "low", "high", "shown"):
                if not _agree(fresh[field], number[field]):
                    yield f"{what}: {field} is kept as {number[field]} and comes out as {fresh[field]}"
        for said in _said(study, name, number):
            if number["low"] is not None and number["shown"] not in said:
                yield f"{what}: {number['shown']} does not stand in what is said of the claim: {said}"


def _said(study: Mapping[str, Any], run: str, number: Mapping[str, Any]) -> list[str]:
    """Give what a run says of the claim that a number decides, where that is one sentence of it alone."""
    claim = claim_of(number["of"], study["claims"])
    deciding = [one for one in study["runs"][run]["numbers"] if claim_of(one["of"], study["claims"]) == claim]
    if claim is None or len(deciding) > 1:
        return []
    said = [one for known in study["claims"] if known["name"] == claim for one in known["said"] if one["run"] == run]
    return [
        one["evidence"] for one in said if not one["evidence"].startswith("in all ") and " parts" not in one["word"]
    ]


def _faults_of_row(study: Mapping[str, Any], row: Mapping[str, Any], cells: Path) -> Iterator[str]:
    """Hold a row of a figure against the kept cells of its run, to the digits that it is written with."""
    what, run = f"the number {row['label']!r}", study["runs"][row["run"]]
    if not isinstance(row.get("n"), int):
        yield f"{what} does not say its n"
    if (source := row.get("source")) is None:
        return
    fresh = again({"source": source}, _known(run, cells))
    if fresh is None:
        yield f"{what}: the cells of run {row['run']} do not hold {source['quantity']} of {source['stage']}"
    elif not draws(row, fresh):
        yield f"{what} is drawn as {row['value']:g} and comes out as {fresh['shown']}, n = {fresh['n']}"


def _known(run: Mapping[str, Any], cells: Path) -> Known:
    return Known.of([read_cell(cells / cell) for cell in run.get("cells", ()) if (cells / cell).exists()])


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=AGREE, abs_tol=1e-15)
    return bool(one == other)


def main() -> None:
    """Check all studies; exit code 1 where anything disagrees."""
    faults = []
    for path in sorted(RESULTS.glob("*.json")):
        study = json.loads(path.read_text(encoding="utf-8"))
        numbers = [number for run in study["runs"].values() for number in run.get("numbers", ())]
        sources = [number for number in numbers if number["source"] is not None]
        rows = [row for panel in study["panels"].values() for row in panel["rows"]]
        drawn = sum("source" in row for row in rows)
        print(
            f"{path.name}: {len(sources)} of {len(numbers)} numbers of reports, and {drawn} of {len(rows)} of its "
            "figure, rest on kept cells"
        )
        faults += [f"{path.name}: {fault}" for fault in faults_of(study)]
    for path in CELLS.glob("*/*.json"):
        read_cell(path)
    if faults:
        raise SystemExit("\n".join([*faults, f"{len(faults)} numbers or runs disagree."]))
    print("Kept numbers agree with the kept cells.")


if __name__ == "__main__":
    main()
