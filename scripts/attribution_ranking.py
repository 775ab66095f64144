"""The ranking of attributions: numbers of each task in ``results/attribution``, its page and its figure.

``python -m scripts.attribution_ranking --keep TASK RETRAINING [ATTRIBUTION ...]`` writes what the folder of a finished
``retraining`` artifact holds, and what those of ``attribution`` artifacts with flipped labels or a planted trigger say
of recall, into ``results/attribution/TASK.json``; recall of a kind that no artifact is given for stays as the file has
it, with the number of rows that it was measured on. ``--recall TASK ATTRIBUTION ...`` writes recall alone, of the
methods that these artifacts judged, into a file that is there. Without arguments it makes the tables of
``docs/attribution_ranking.md`` and ``docs/figures/attribution_ranking.svg`` from these files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from analysis.style import CONTEXT, PALETTE, in_style, new_figure, svg_bytes
from pipeline.engine.artifacts import Artifact
from pipeline.stages.retraining.omitted import MANY, ONE
from scripts.attribution_numbers import MASKS, read_task, with_earlier_recall, with_recall
from scripts.study_results import ROOT

RESULTS = ROOT / "results" / "attribution"
PAGE = ROOT / "docs" / "attribution_ranking.md"
FIGURE = ROOT / "docs" / "figures" / "attribution_ranking.svg"
MARKS = ("<!-- tables, made by `python -m scripts.attribution_ranking` -->", "<!-- end of the tables -->")
TASKS = {"digits": "digits", "clothes": "clothes", "cifar10": "CIFAR-10", "sst2": "SST-2"}
"""Names of files, and what readers call them."""
RANKED = "0.05"
"""Share of the training rows left out by which methods are ranked, under the run's own seed."""
TWINS = {"bm25": "pixels"}
"""Methods that stand in one row: what compares texts where the other compares images."""
NAMES = {"pixels": "pixels, bm25"}
CEILING = "ceiling"


def read_tasks() -> dict[str, dict[str, Any]]:
    """Read what is kept of each task, in the order of the page."""
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in TASKS
        if (path := RESULTS / f"{name}.json").exists()
    }


def row_of(method: str) -> str:
    """Name the row of the ranking in which a method stands.

    Examples
    --------
    >>> row_of("bm25"), row_of("magic")
    ('pixels', 'magic')
    """
    return TWINS.get(method, method)


def ranking(tasks: Mapping[str, dict[str, Any]]) -> list[tuple[str, dict[str, list[float]]]]:
    """Order methods by their mean score over tasks; the scores with their intervals, by task.

    Examples
    --------
    >>> made = {"a": {"0.05": [0.2, 0.1, 0.3]}, "b": {"0.05": [0.9, 0.8, 1.0]}}
    >>> tasks = {"digits": {"methods": {name: {"scores": {"one seed": one}} for name, one in made.items()}}}
    >>> ranking(tasks)
    [('b', {'digits': [0.9, 0.8, 1.0]}), ('a', {'digits': [0.2, 0.1, 0.3]})]
    """
    rows: dict[str, dict[str, list[float]]] = {}
    for task, held in tasks.items():
        for method, one in held["methods"].items():
            if ONE in one["scores"] and RANKED in one["scores"][ONE]:
                rows.setdefault(row_of(method), {})[task] = one["scores"][ONE][RANKED]
    return sorted(rows.items(), key=lambda row: -fmean(value for value, *_ in row[1].values()))


def shown(interval: Sequence[float] | None) -> str:
    """Write a number with its interval.

    Examples
    --------
    >>> shown([0.5, -0.25, 0.75]), shown(None)
    ('0.50 [-0.25, 0.75]', '–')
    """
    return "–" if interval is None else "{:.2f} [{:.2f}, {:.2f}]".format(*interval)


def multiple(cost: float | None) -> str:
    """Write a cost in trainings.

    Examples
    --------
    >>> multiple(0.004), multiple(0.4), multiple(3.14), multiple(41.2), multiple(None)
    ('0.00', '0.40', '3.1', '41', '–')
    """
    if cost is None:
        return "–"
    return f"{cost:.2f}" if cost < 1 else f"{cost:.1f}" if cost < 10 else f"{cost:.0f}"


def tables(tasks: Mapping[str, dict[str, Any]]) -> str:
    """Write the ranking, and a table for each task."""
    order = ranking(tasks)
    heads = [TASKS[task] for task in tasks]
    lines = [
        f"| rank | method | {' | '.join(heads)} | mean | trainings |",
        f"| --- | --- | {'--- | ' * len(heads)}--- | --- |",
    ]
    for place, (method, scores) in enumerate(order, start=1):
        costs = [
            one["cost"]
            for held in tasks.values()
            for name, one in held["methods"].items()
            if row_of(name) == method and one["cost"] is not None
        ]
        cells = " | ".join(shown(scores.get(task)) for task in tasks)
        mean = f"{fmean(value for value, *_ in scores.values()):.2f}" + ("" if len(scores) == len(tasks) else "*")
        cost = multiple(median(costs)) if costs else "–"
        lines.append(f"| {place} | `{_name(method)}` | {cells} | {mean} | {cost} |")
    for task, held in tasks.items():
        lines += ["", f"## {TASKS[task][0].upper()}{TASKS[task][1:]}", "", *_task_table(held, order)]
    return "\n".join(lines)


def _name(method: str) -> str:
    return NAMES.get(method, method)


def _task_table(held: dict[str, Any], order: Sequence[tuple[str, Any]]) -> list[str]:
    methods = held["methods"]
    shares = list(next(iter(methods.values()))["scores"][ONE])
    many = [share for share in (RANKED, shares[-1]) if held["seeds"] > 1]
    heads = [f"{100 * float(share):g} %" for share in shares]
    heads += [f"{100 * float(share):g} %, {held['seeds']} seeds" for share in many]
    heads += ["loss rise", *(f"{kind} %" for kind in MASKS.values()), "trainings"]
    other = [f"{kind} {rows}" for kind, rows in held.get("recall_rows", {}).items() if rows != held["n_train"]]
    fewer = f" Recall is measured on another number of rows: {', '.join(other)}." if other else ""
    steps = ", ".join(f"{step}: {error:.3g}" for step, error in held["smoothness"].items())
    accuracy = "" if held["accuracy"] is None else f"Test accuracy {held['accuracy']:g} %. "
    seconds = held["training_seconds"] and f" One training takes {held['training_seconds']:g} s of one core."
    origin = "; ".join(f"`{one['command']}` ({one['date']}, commit {one['commit']})" for one in held["made"])
    lines = [
        f"{accuracy}{held['n_train']} training and {held['n_test']} test rows, {held['parts']} parts of each share; "
        f"loss rise of {held['judged']} test points without their {held['supporters']} strongest supporters. Relative "
        f"error of the derivative by the size of the step: {steps}.{fewer}{seconds or ''}",
        "",
        f"| method | {' | '.join(heads)} |",
        f"| --- | {'--- | ' * (len(heads) - 1)}--- |",
    ]
    names = [name for row, _ in order for name in methods if row_of(name) == row]
    for name in [*names, *(name for name in methods if name == CEILING)]:
        one = methods[name]
        cells = [shown(one["scores"].get(ONE, {}).get(share)) for share in shares]
        cells += [shown(one["scores"].get(MANY, {}).get(share)) for share in many]
        recall = [f"{100 * one['recall'][kind]:.0f}" if kind in one["recall"] else "–" for kind in MASKS.values()]
        shown_name = name if name == CEILING else f"`{name}`"
        lines.append(f"| {shown_name} | {' | '.join([*cells, shown(one['rise']), *recall])} | "
                     f"{multiple(one['cost'])} |")  # fmt: skip
    return [*lines, "", f"Made by {origin}."]


@in_style
def draw(tasks: Mapping[str, dict[str, Any]]) -> bytes:
    """Draw the ranking: a panel for each task, methods in one order, scores with their intervals."""
    order = ranking(tasks)
    figure, axes = new_figure(1, len(tasks), width=2.6, height=0.27 * len(order) + 0.9)
    for number, (axis, task) in enumerate(zip(axes[0], tasks, strict=True)):
        axis.axvline(0, color=CONTEXT, linewidth=1, zorder=1)
        for place, (_, scores) in enumerate(order):
            if task in scores:
                value, low, high = scores[task]
                axis.plot([low, high], [place, place], color=PALETTE[0], linewidth=2, solid_capstyle="butt", zorder=2)
                axis.plot([value], [place], "o", color=PALETTE[0], markersize=4.5, zorder=3)
        axis.set_title(TASKS[task])
        axis.set_yticks(range(len(order)), [_name(method) for method, _ in order] if number == 0 else [""] * len(order))
        axis.set_ylim(len(order) - 0.4, -0.6)
        axis.set_xlim(-0.35, 1.05)
        axis.set_xticks([0, 0.5, 1])
        axis.grid(False, axis="y")
    figure.supxlabel(f"linear datamodeling score, {100 * float(RANKED):g} % left out", fontsize=9)
    return svg_bytes(figure)


def pages() -> dict[Path, bytes]:
    """Make the page and the figure from what is kept."""
    tasks = read_tasks()
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    text = f"{before}{MARKS[0]}\n\n{tables(tasks)}\n\n{MARKS[1]}{after}"
    return {PAGE: text.encode(), FIGURE: draw(tasks)}


def main() -> None:
    """Keep a task, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", nargs="+", metavar=("TASK", "FOLDER"))
    parser.add_argument("--recall", nargs="+", metavar=("TASK", "FOLDER"))
    given = parser.parse_args()
    if given.recall:
        name, *folders = given.recall
        path = RESULTS / f"{name}.json"
        if name not in TASKS or not path.exists() or not folders:
            raise SystemExit(f"--recall takes a task that is kept ({', '.join(TASKS)}) and attribution folders.")
        task = json.loads(path.read_text(encoding="utf-8"))
        task = with_recall(task, [Artifact(Path(folder)) for folder in folders])
        path.write_text(json.dumps(task, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    kept = given.keep
    if kept:
        name, *folders = kept
        if name not in TASKS or not folders:
            raise SystemExit(f"--keep takes a task ({', '.join(TASKS)}), a retraining and attribution folders.")
        task = read_task(*(Artifact(Path(folder)) for folder in folders))
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.json"
        if path.exists():
            task = with_earlier_recall(task, json.loads(path.read_text(encoding="utf-8")))
        path.write_text(json.dumps(task, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path} holds the numbers of {name}; `python -m scripts.attribution_ranking` writes the page.")
        return
    for path, content in pages().items():
        path.write_bytes(content)


if __name__ == "__main__":
    main()
