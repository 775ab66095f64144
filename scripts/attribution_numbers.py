"""Numbers of one task of the ranking of attributions, out of finished artifacts and into what is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.engine.artifacts import Artifact
from pipeline.stages.attribution.read import read_masks
from pipeline.stages.retraining.costs import read_costs
from pipeline.stages.retraining.read import read_omitted, read_smoothness, read_top_omitted
from scripts.study_results import typed

MASKS = {"mislabelled training points": "flipped", "injected training points": "planted"}
"""Masks of training points that a method should find, and what readers call them."""


def read_task(retraining: Artifact, *marked: Artifact) -> dict[str, Any]:
    """Take the numbers of one task out of its artifacts.

    Parameters
    ----------
    retraining : Artifact
        With rows that were left out.
    *marked : Artifact
        Attributions of the same training with flipped labels, or with a planted trigger.

    Raises
    ------
    SystemExit
        If the artifact holds no such rows.
    """
    rows, costs, metrics = read_omitted(retraining), read_costs(retraining), retraining.metrics
    if not rows:
        raise SystemExit(f"{retraining.folder} left no rows out; make it with retraining.omitted=[0.01,0.05,0.1,0.5].")
    multiples = costs.multiples() if costs else {}
    rises = {row["method"]: _interval(row, "rise") for row in read_top_omitted(retraining)}
    found: dict[str, dict[str, float]] = {}
    for row in [row for one in marked for row in read_masks(one) if row["mask"] in MASKS]:
        found.setdefault(row["method"], {})[MASKS[row["mask"]]] = round(row["recall"], 4)
    methods: dict[str, Any] = {}
    for name in dict.fromkeys(row["method"] for row in rows):
        scores: dict[str, Any] = {}
        for row in rows:
            if row["method"] == name:
                scores.setdefault(row["target"], {})[f"{row['share']:g}"] = _interval(row, "mean")
        methods[name] = {"scores": scores, "rise": rises.get(name), "recall": found.get(name, {})}
        methods[name]["cost"] = round(multiples[name], 3) if name in multiples else None
    task = {
        "n_train": metrics["n_train"],
        "n_test": metrics["n_test"],
        "parts": metrics["omissions"],
        "seeds": metrics["seeds"],
        "supporters": next((row["omitted"] for row in read_top_omitted(retraining)), None),
        "judged": next((row["points"] for row in read_top_omitted(retraining)), None),
        "smoothness": {f"{row['step']:g}": round(row["error"], 4) for row in read_smoothness(retraining)},
        "training_seconds": costs and costs.training and round(costs.training, 2),
        "methods": methods,
        "made": [_origin(one) for one in (retraining, *marked)],
    }
    task["accuracy"] = _accuracy(retraining)
    task["recall_rows"] = {kind: one.metrics["n_train"] for one in marked for kind in _kinds(one)}
    return task


def _kinds(marked: Artifact) -> set[str]:
    return {MASKS[row["mask"]] for row in read_masks(marked) if row["mask"] in MASKS}


def with_earlier_recall(task: dict[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Take over the recall that a task was not measured again for, with its rows and commands.

    Examples
    --------
    >>> made = [{"command": "ranking"}, {"command": "data.poison.kind=badnets"}]
    >>> earlier = {"n_train": 100, "methods": {"magic": {"recall": {"planted": 0.5}}}, "made": made}
    >>> task = {"n_train": 240, "methods": {"magic": {"recall": {}}}, "made": [], "recall_rows": {}}
    >>> found = with_earlier_recall(task, earlier)
    >>> found["methods"]["magic"]["recall"], found["recall_rows"], len(found["made"])
    ({'planted': 0.5}, {'planted': 100}, 1)
    """
    of_command = [(kind_of(one["command"]), one) for one in earlier["made"]]
    for kind in [kind for kind in MASKS.values() if kind not in task["recall_rows"]]:
        found = {name: one["recall"][kind] for name, one in earlier["methods"].items() if kind in one["recall"]}
        for name in found.keys() & task["methods"].keys():
            task["methods"][name]["recall"][kind] = found[name]
        if found:
            task["recall_rows"][kind] = earlier.get("recall_rows", {}).get(kind, earlier["n_train"])
            task["made"] += [one for of, one in of_command if of == kind]
    return task


def with_recall(task: dict[str, Any], marked: Sequence[Artifact]) -> dict[str, Any]:
    """Put recall into a task that is kept; what other rows gave for its kind goes, and of as many rows it stays."""
    for one in marked:
        kind, rows = next(iter(_kinds(one))), one.metrics["n_train"]
        if rows != task.setdefault("recall_rows", {}).get(kind, task["n_train"]):
            for method in task["methods"].values():
                method["recall"].pop(kind, None)
            task["made"] = [made for made in task["made"] if kind_of(made["command"]) != kind]
        task["recall_rows"][kind] = rows
        for row in [row for row in read_masks(one) if MASKS.get(row["mask"]) == kind]:
            if row["method"] in task["methods"]:
                task["methods"][row["method"]]["recall"][kind] = round(row["recall"], 4)
        task["made"] = [made for made in task["made"] if made["key"] != one.key] + [_origin(one)]
    return task


def kind_of(command: str) -> str | None:
    """Name the kind of recall that a command measured, if any.

    Examples
    --------
    >>> kind_of("python run.py data.poison.kind=label_flip"), kind_of("python run.py data.poison.kind=badnets")
    ('flipped', 'planted')
    """
    return None if "data.poison" not in command else "flipped" if "label_flip" in command else "planted"


def _interval(row: Mapping[str, Any], name: str) -> list[float]:
    return [round(row[one], 4) for one in (name, "low", "high")]


def _origin(artifact: Artifact) -> dict[str, Any]:
    made = artifact.provenance
    commit = made["commit"] and made["commit"][:7]
    command = re.sub(
        r"(data\.path\.\w+)=\S*/", r"\1=", typed(made["command"])
    )  # where the files lay is nobody's business
    return {"key": artifact.key, "command": command, "commit": commit, "date": made["ended"][:10]}


def _accuracy(retraining: Artifact) -> float | None:
    """Test accuracy in percent of the network that was attributed: the one whose kernel was read."""
    reached = retraining
    for stage in ("kernel", "train"):
        names = [name for name in reached.provenance["inputs"] if name.startswith(f"{stage}/")]
        places = retraining.folder.parents[2].glob(names[0].replace("/", "/*/", 1)) if names else iter(())
        if (found := next(places, None)) is None:
            return None
        reached = Artifact(found)
    return round(100 * reached.metrics["test_accuracy"], 1)
