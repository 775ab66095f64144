"""Results kept cell by cell: ``results/cells/EXPERIMENT/*.json``, small files that say what each run has come to.

``python -m scripts.kept_cells experiment=NAME [settings as they were typed]`` writes a file for every run of the study
of which something is finished in the store, also while the rest is still being made: a lost machine then costs the
cells that it was at. A file holds every artifact that rests on one network (or on what else a cell begins with), with
all numbers, the settings in which it differs, key, command, commit, date, seconds of the clock and of the cores, and
peak memory. What is kept already stays, unless the same stage of the same cell has been made anew.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.run import PathsConfig, RunConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.cells import hydra_home, overrides_between
from pipeline.engine.composition.command_words import split_flags
from pipeline.engine.graph import Graph, Node
from pipeline.engine.inventory.record import Record
from pipeline.engine.plan import every_node
from pipeline.machine.folders import user_path
from pipeline.results.chosen import Chosen, choose
from pipeline.results.numbers import METRICS, numbers_of
from pipeline.results.table import describe, made_at

ROOT = Path(__file__).resolve().parents[1]
CELLS = ROOT / "results" / "cells"
SHARED = frozenset({"prepare", "ensemble"})
"""Stages whose artifacts serve several cells: no cell begins with one."""
WITHOUT_NUMBERS = frozenset({"prepare", "report"})
"""Stages that are not kept: rows of the data, and pages, which are kept whole beside the studies."""
MOST_NUMBERS = 1_500
"""Numbers of one table that are kept; of a larger one its number of rows."""
_FOLDERS = re.compile(r"(=['\"]?)/(?:[^/\s'\"<>&|]+/)*(?=[^/\s'\"<>&|]+/[^/\s'\"<>&|]+)")


def portable(text: str) -> str:
    r"""Leave of absolute paths in settings the last two parts: where files lay on one machine is no result.

    Examples
    --------
    >>> portable("python run.py data.path.train=/home/me/data/mnist/train.parquet 'weights.path=/w/a{model.depth}.th'")
    "python run.py data.path.train=mnist/train.parquet 'weights.path=w/a{model.depth}.th'"
    >>> portable("python run.py \"weights.path='/work/nets/resnet{model.depth}-*.th'\"")
    'python run.py "weights.path=\'nets/resnet{model.depth}-*.th\'"'
    """
    return _FOLDERS.sub(r"\1", text)


def plan_of(words: Sequence[str], store: Path | None = None) -> tuple[Graph, RunConfig, Node, Store]:
    """Resolve the report of a study as its command does, without making anything."""
    if store is not None:
        kept = [word for word in words if not word.startswith("paths.store=")]
        words = (*kept, *overrides_between(RunConfig(), RunConfig(paths=PathsConfig(str(store)))))
    with hydra_home(split_flags(tuple(words))[0]):
        graph = Graph(words)
        config = graph.compose()
        target = graph.resolve("report", config)
    return graph, config, target, Store(user_path(config.paths.store).absolute())


def beginnings(nodes: Iterable[Node], labels: Mapping[str, Mapping[str, str]]) -> dict[str, Node]:
    """Give by key of each artifact the node with which its cell begins: its network, or what it reads first.

    Artifacts that serve all cells, or that gather them, begin with themselves.
    """
    found: dict[str, Node] = {}

    def of(node: Node) -> Node:
        if node.key not in found:
            own = labels.get(node.key, {})
            upstream = [one for one in node.inputs.values() if one.stage.name not in SHARED]
            fitting = [one for one in upstream if labels.get(one.key, {}).items() <= own.items()]
            found[node.key] = of(fitting[0]) if fitting else node
        return found[node.key]

    for node in nodes:
        of(node)
    return found


def file_name(node: Node, labels: Mapping[str, str]) -> str:
    """Name the file of the cell that begins with an artifact.

    Examples
    --------
    >>> from types import SimpleNamespace as Node
    >>> file_name(Node(stage=Node(name="train"), key="0123456789ab"), {"target": "sin 2πx", "seed": "0"})
    'train-target=sin_2_x-seed=0-0123456789ab.json'
    """
    words = [node.stage.name, *(f"{axis}={label}" for axis, label in labels.items()), node.key]
    # ASCII alone: archives and other systems write a π in a name in more than one way.
    return re.sub(r"[^\w.=+-]+", "_", "-".join(words), flags=re.ASCII) + ".json"


def cells_of(words: Sequence[str], store: Path | None = None) -> tuple[str, dict[str, dict[str, Any]]]:
    """Read what a study has come to, cell by cell.

    Parameters
    ----------
    words : sequence of str
        Overrides as they were typed behind ``run.py``.
    store : Path, optional
        Folder of the artifacts, where it is not the one that the overrides say.

    Returns
    -------
    experiment : str
    cells : dict
        By the name of its file, what a cell's file holds.
    """
    _, config, target, place = plan_of(words, store)
    chosen = choose(place, target)
    described, nodes = describe(chosen), {node.key: node for node in every_node(target)}
    begins = beginnings(nodes.values(), chosen.labels)
    cells: dict[str, dict[str, Any]] = {}
    for record in chosen.records:
        if record.stage in WITHOUT_NUMBERS or record.problem or record.key not in begins:
            continue
        first = begins[record.key]
        labels = dict(chosen.labels.get(first.key, {}))
        cell = cells.setdefault(file_name(first, labels), {"cell": labels, "artifacts": []})
        cell["artifacts"].append(_entry(record, chosen, described[record.address]))
    return config.experiment_name, cells


def _entry(record: Record, chosen: Chosen, described: Mapping[str, str]) -> dict[str, Any]:
    labels, made = dict(chosen.labels.get(record.key, {})), record.provenance
    numbers, left_out = _numbers(record)
    entry = {
        "stage": record.stage,
        "key": record.key,
        "version": record.version,
        "payload": record.payload,
        "labels": labels,
        "settings": {name: portable(f"={value}")[1:] for name, value in described.items() if name not in labels},
        "command": portable(record.command),
        "commit": made.get("commit"),
        "changed_code": made.get("diff_sha256") is not None,
        "date": made_at(record).isoformat(timespec="seconds"),
        "wall_seconds": made.get("wall_seconds"),
        "cpu_seconds": made.get("cpu_seconds"),
        "peak_memory_bytes": made.get("peak_memory_bytes"),
        "continued": made.get("continued"),
        "numbers": numbers,
    }
    return entry | ({"left_out": left_out} if left_out else {})


def _numbers(record: Record) -> tuple[dict[str, Any], dict[str, str]]:
    """Give the numbers of an artifact by table; a metric by its name, a row of a table with its words."""
    tables: dict[str, dict[tuple[int, str], dict[str, Any]]] = {}
    for number in numbers_of(record):
        row = tables.setdefault(number.table, {}).setdefault((number.row or 0, number.entry), {})
        row[number.quantity] = written(number.value)
    kept: dict[str, Any] = {}
    left_out = {}
    for name, rows in tables.items():
        if name == METRICS:
            kept[name] = next(iter(rows.values()))
        elif sum(map(len, rows.values())) > MOST_NUMBERS:
            left_out[name] = f"{len(rows)} rows, {sum(map(len, rows.values()))} numbers"
        else:
            kept[name] = [{"entry": entry, **values} for (_, entry), values in rows.items()]
    return kept, left_out


def written(value: float) -> float | int | str | None:
    """Write a number as JSON can have it: an undefined one as null, an infinite one as a word."""
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else value


def keep(experiment: str, cells: Mapping[str, Mapping[str, Any]], folder: Path = CELLS) -> list[Path]:
    """Write cells into their files, beside what these hold already; gives the files that are other than before.

    An artifact that was kept and is no longer in the store stays, unless one of the same stage and labels is there.
    """
    changed = []
    for name, cell in cells.items():
        path = folder / experiment / name
        known = read_cell(path)["artifacts"] if path.exists() else []
        new = {_place(one) for one in cell["artifacts"]}
        rest = [one for one in known if _place(one) not in new]
        order = sorted([*rest, *cell["artifacts"]], key=lambda one: (one["date"], one["stage"], one["key"]))
        text = json.dumps({"experiment": experiment, **cell, "artifacts": order}, indent=1, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def _place(entry: Mapping[str, Any]) -> tuple[str, str]:
    return entry["stage"], json.dumps(entry["labels"], sort_keys=True)


def read_cell(path: Path) -> dict[str, Any]:
    """Read a kept cell.

    Raises
    ------
    SystemExit
        If the file is not there, or is none of a cell.
    """
    try:
        cell = json.loads(path.read_text(encoding="utf-8"))
        for one in cell["artifacts"]:
            _place(one), one["numbers"], one["date"], one["key"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} holds no cell ({type(error).__name__}: {error}); keep it again.") from None
    return cell


def main() -> None:
    """Keep the cells of a study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "words", nargs="+", metavar="SETTING", help="experiment=NAME and settings, as run.py takes them"
    )
    experiment, cells = cells_of(parser.parse_args().words)
    changed = keep(experiment, cells)
    finished = sum(len(cell["artifacts"]) for cell in cells.values())
    print(f"{CELLS / experiment}: {finished} artifacts in {len(cells)} cells; {len(changed)} files are new or other")


if __name__ == "__main__":
    main()
