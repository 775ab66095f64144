"""Measure every configuration of the coverage table and write ``docs/coverage.json`` and ``docs/coverage.md``.

``python -m scripts.coverage_table`` measures all; ``--only "NAME;NAME"`` measures some and keeps the other rows;
``--write`` measures nothing. Times are CPU seconds of one thread, so that other programs hardly change them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import warnings
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from tests.kernels.coverage.measured import SAMPLES, TIMED, measure
from tests.kernels.coverage.rows import ADAPTED, CASES, HEADINGS, lacking

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "coverage.json"
PAGE = ROOT / "docs" / "coverage.md"
COMMAND = "python -m scripts.coverage_table"
SLOWER: dict[str, str] = {}
"""Networks whose kernel takes longer than a plain loop, and why."""


def versions() -> dict[str, str]:
    """Versions of the libraries that a row depends on."""
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "peft"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def measured(names: list[str], repeats: int) -> Iterator[dict[str, Any]]:
    """Rows of the named configurations; those that cannot be built here are left out and said."""
    for name in names:
        if missing := lacking(CASES[name]):
            print(f"{name}: left out, {missing}")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries that build the networks
            row = measure(CASES[name], repeats=repeats).as_dict()
        print(json.dumps(row), flush=True)
        yield row


def keep(row: dict[str, Any]) -> None:
    """Write the kept numbers with a row in its place; the others stay as they are."""
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {"rows": {}}
    made = {"date": f"{datetime.date.today()}", "commit": _commit()}
    rows = kept["rows"] | {row["name"]: row | made}
    kept = {
        "machine": f"1 thread of {os.cpu_count()} cores ({platform.machine()}, no GPU)",
        "versions": versions(),
        "rows": {name: rows[name] for name in CASES if name in rows},
    }
    KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    """Commit of the code that measures, with a plus sign where it was changed since."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=7"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def when(rows: dict[str, dict[str, Any]]) -> str:
    """Say how many rows were measured on which day, and at which commits."""
    days = sorted({row["date"] for row in rows.values()})
    told = []
    for day in days:
        commits = Counter(row["commit"] for row in rows.values() if row["date"] == day)
        told.append(f"{day} ({', '.join(f'{count} at {commit}' for commit, count in sorted(commits.items()))})")
    return " and ".join(told)


def ratios(row: dict[str, Any]) -> list[float]:
    """Plain loop over kernel: of the middle pair and both extremes, or of the shortest times alone."""
    if row.get("fastest"):
        return [row["faster"], row["slowest"], row["fastest"]]
    return [row["loop"] / row["seconds"]]


def render(kept: dict[str, Any]) -> str:
    """Write the page of the kept measurements."""
    rows = kept["rows"]
    adapters = {case.name for case in HEADINGS[ADAPTED]}
    right = [name for name, row in rows.items() if not row["refused"]]
    refused = [name for name, row in rows.items() if row["refused"]]
    times = [ratios(rows[name])[0] for name in right]
    slower = [name for name in right if ratios(rows[name])[0] < 1]
    said = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    lines = [
        "# Which networks the kernels cover",
        "",
        f"{sum(name not in adapters for name in rows)} architectures of transformers and "
        f"{sum(name in adapters for name in rows)} adapters of PEFT, each a small network made from its configuration "
        f"with {SAMPLES} samples, of different lengths where it reads text with a mask. {len(right)} are exact, "
        f"{len(refused)} are refused with the reason. `make test-coverage` tests all of them.",
        "",
        "* **by rule**: share of the parameters on which the logits depend that have a rule of their own; **rest**: "
        "how the other parameters are differentiated, vectorized over samples or in a loop over them.",
        "* **error**: largest deviation of the float64 trNTK from one forward pass per sample and one backward pass "
        "per logit, relative to the roots of both diagonal entries; **check**: largest difference that the pass's own "
        "certificate found.",
        f"* **loop, kernel, settling**: milliseconds of CPU, one thread, for N = {TIMED} samples in float32: of that "
        "plain loop, of the whole kernel, and of the part of it that settles the rules, which does not grow with N; "
        "**faster**: loop over kernel at this N; where extremes stand behind it, the middle one of pairs measured in "
        "turn.",
        "",
        f"`{COMMAND}`, {kept['machine']}; {said}. Rows were measured on {when(rows)}. Slowest against the plain loop: "
        f"{min(times):.2f} times; median {sorted(times)[len(times) // 2]:.2f} times. "
        f"Slower than it: {', '.join(f'{n} ({SLOWER[n]})' if n in SLOWER else n for n in slower) or 'none'}.",
    ]
    if waiting := [name for name in CASES if name not in rows]:
        lines += ["", f"Not measured yet: {', '.join(waiting)}."]
    for heading, cases in HEADINGS.items():
        if not any(case.name in rows for case in cases):
            continue
        lines += [
            "",
            f"## {heading}",
            "",
            "| network | parameters | by rule | rest | error | check | loop | kernel | settling | faster |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        notes = []
        for case in cases:
            row = rows.get(case.name)
            if row is None:
                continue
            if row["refused"]:
                lines.append(f"| {case.name} | refused | | | | | | | | |")
                notes.append(f"{case.name} is refused: {row['refused']}")
                continue
            middle, *extremes = ratios(row)
            spread = " ({:.1f} to {:.1f})".format(*extremes) if extremes else ""
            checked = "" if row["checked"] is None else f"{row['checked']:.0e}"
            lines.append(
                f"| {case.name} | {row['parameters']:,} | {100 * row['ruled']:.0f} % | {row['route']} | "
                f"{row['error']:.0e} | {checked} | {1e3 * row['loop']:.0f} | {1e3 * row['seconds']:.0f} | "
                f"{1e3 * row['settling']:.0f} | {middle:.1f}{spread} |"
            )
            if case.single:
                notes.append(f"{case.name}: {case.single}.")
            if case.twice:
                notes.append(f"{case.name}: {case.twice}.")
        lines += ["", *notes] if notes else []
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names or headings of the table, separated by semicolons")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the page from the kept numbers")
    chosen = parser.parse_args()
    if not chosen.write:
        torch.set_num_threads(1)
        names = [n for entry in chosen.only.split(";") if entry for n in _named(entry)] or list(CASES)
        for row in measured(names, chosen.repeats):
            keep(row)
    PAGE.write_text(render(json.loads(KEPT.read_text(encoding="utf-8"))), encoding="utf-8")


def _named(entry: str) -> list[str]:
    if entry in HEADINGS:
        return [case.name for case in HEADINGS[entry]]
    if entry not in CASES:
        raise SystemExit(f"--only: no configuration or heading {entry!r}; headings: {', '.join(HEADINGS)}")
    return [entry]


if __name__ == "__main__":
    main()
