"""Results are kept cell by cell, and `make results-check` computes kept numbers from the cells again."""

import copy
import json
import math

import pytest

from analysis.pages.estimate import Estimate
from pipeline.engine.artifacts import Store
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from scripts import kept_cells, kept_sources, results_check
from scripts.study_results import RESULTS
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import install

FILES = sorted(RESULTS.glob("*.json"))


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A toy study of three seeds of which two are made, in the place of the one that a command resolves."""
    install(monkeypatch)
    store, graph, config = Store(tmp_path / "store"), Graph(["experiment=toy"]), run_config(cells={"seed": "0:3"})
    target = graph.resolve("total", config)
    for member in target.members["square"][:2]:
        Puller(store, graph).pull(member.node)
    monkeypatch.setattr(kept_cells, "plan_of", lambda words, place=None: (graph, config, target, store))
    return graph, target, store


def test_what_is_finished_is_kept_in_a_file_for_each_cell(toy, tmp_path):
    graph, target, store = toy
    experiment, cells = kept_cells.cells_of(["experiment=toy"])
    assert experiment == "toy" and [cell["cell"] for cell in cells.values()] == [{"seed": "0"}, {"seed": "1"}]
    draw, square = next(iter(cells.values()))["artifacts"]
    assert (draw["stage"], square["stage"]) == ("draw", "square")
    assert square["key"] == target.members["square"][0].node.key and square["labels"] == {"seed": "0"}
    assert set(square["numbers"]["metrics"]) == {"sum"}
    for entry in (draw, square):
        assert entry["command"].startswith("python run.py") and entry["date"] and entry["peak_memory_bytes"] > 0
        assert entry["wall_seconds"] >= 0 and entry["cpu_seconds"] >= 0
    assert len(kept_cells.keep(experiment, cells, tmp_path / "kept")) == 2
    assert kept_cells.keep(experiment, cells, tmp_path / "kept") == [], "nothing is new"
    Puller(store, graph).pull(target)
    _, more = kept_cells.cells_of(["experiment=toy"])
    new = kept_cells.keep(experiment, more, tmp_path / "kept")
    assert sorted(path.name.partition("-")[0] for path in new) == ["draw", "total"], "the third seed and the gather"


def test_what_has_left_the_store_stays_kept_and_what_is_made_anew_is_replaced(tmp_path):
    entry = {"stage": "kernel", "key": "a", "labels": {"seed": "0"}, "numbers": {}, "date": "2026-01-01"}
    kept_cells.keep("toy", {"c.json": {"cell": {}, "artifacts": [entry, entry | {"stage": "train"}]}}, tmp_path)
    kept_cells.keep("toy", {"c.json": {"cell": {}, "artifacts": [entry | {"key": "b"}]}}, tmp_path)
    cell = kept_cells.read_cell(tmp_path / "toy" / "c.json")
    assert {(one["stage"], one["key"]) for one in cell["artifacts"]} == {("kernel", "b"), ("train", "a")}
    (tmp_path / "toy" / "c.json").write_text("{}")
    with pytest.raises(SystemExit, match="holds no cell"):
        kept_cells.read_cell(tmp_path / "toy" / "c.json")


def cells_with(values: dict[str, list[float]]) -> list[dict]:
    """Cells of some kernels and as many seeds as each has values of tau."""
    return [
        {
            "artifacts": [
                {
                    "stage": "surrogate",
                    "key": f"{kernel}{seed}",
                    "date": "2026-01-01",
                    "labels": {"kernel": kernel, "seed": str(seed)},
                    "numbers": {"metrics": {"tau": value}, "rows": [{"entry": "subset=all", "share": value / 2}]},
                }
            ]
        }
        for kernel, row in values.items()
        for seed, value in enumerate(row)
    ]


TAU = {"pNTK": [0.5, 0.6, 0.72, 0.55, 0.61], "CK": [0.4, 0.45, 0.5, 0.3, 0.45]}


@pytest.mark.parametrize(
    ("values", "quantity", "labels", "way"),
    [
        (TAU["pNTK"], "tau", {"kernel": "pNTK"}, "x"),
        ([100 * value / 2 for value in reversed(TAU["CK"])], "share", {"kernel": "CK"}, "100 x"),
        ([1 - value for value in TAU["CK"]], "tau", {"kernel": "CK"}, "1 - x"),
        ([a - b for a, b in zip(TAU["pNTK"], TAU["CK"], strict=True)], "tau", {"kernel": "pNTK"}, "x"),
    ],
    ids=["metric", "percent of a table", "complement", "difference"],
)
def test_the_cells_behind_a_mean_are_found_and_give_it_again(values, quantity, labels, way):
    known = kept_sources.Known.of(cells_with(TAU))
    estimate = Estimate("a group", "tau", "", values)
    source = kept_sources.find_source(estimate, known)
    assert (source["quantity"], source["labels"], source["way"]) == (quantity, labels, way)
    kept = json.loads(json.dumps(kept_sources.stated(estimate) | {"source": source}))
    again = kept_sources.again(kept, known)
    assert again["n"] == 5 and all(again[name] == pytest.approx(kept[name], rel=1e-12) for name in ("value", "low"))
    assert kept_sources.again(kept, kept_sources.Known.of(cells_with({"NTK": TAU["CK"]}))) is None
    assert kept_sources.find_source(Estimate("", "", "", [0.1, 0.2, 0.3, 0.4, 0.5]), known) is None


def stepped(seed: int) -> dict:
    """An artifact of one seed: two machines at two steps, and a list of several seeds of its own."""
    rows = [
        {
            "entry": f"machine={name}",
            "step": step,
            "error": 100.0 ** (-place) * (1 + seed) / (1 + step),
            "best": 0.1 * seed,
        }
        for place, name in enumerate(("nn", "ck"))
        for step in (0, 9)
    ]
    seeds = [{"entry": f"label={own % 2}", "seed": own, "step": 9, "outliers": own + 0.5 * seed} for own in range(4)]
    numbers = {"metrics": {"rate[0]": 1.0 + seed, "rate[1]": 2.5}, "machines": rows, "rows": seeds}
    entry = {"stage": "toy", "key": f"{seed}", "date": "2026-01-01", "labels": {"seed": f"{seed}"}, "numbers": numbers}
    return {"artifacts": [entry]}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.1, 0.2, 0.3], {"entry": "machine=nn, step=9", "quantity": "error", "over": "seed", "way": "x"}),
        ([-1.0, math.log10(0.2), math.log10(0.3)], {"entry": "machine=nn, step=9", "way": "log10 x"}),
        ([0.099, 0.198, 0.297], {"way": "x - y", "other": {"entry": "machine=ck, step=9", "quantity": "error"}}),
        ([-1.0, -1.0, -1.0], None),
        ([0.5, 1.5, 2.5, 3.5], {"table": "rows", "entry": "step=9", "over": "rows by seed", "labels": {"seed": "1"}}),
        ([1.0, 2.5], {"quantity": "rate", "over": "index", "labels": {"seed": "0"}}),
    ],
    ids=["at a step", "logarithm", "between rows", "equal values", "seeds of one artifact", "list"],
)
def test_numbers_within_an_artifact_and_between_its_rows_are_found(values, told):
    known = kept_sources.Known.of([stepped(seed) for seed in range(3)])
    estimate = Estimate("a group", "some measure", "", values)
    source = kept_sources.find_source(estimate, known)
    assert (told is None) == (source is None)
    assert all(source[name] == said for name, said in (told or {}).items())
    if source is not None:
        again = kept_sources.again(kept_sources.stated(estimate) | {"source": source}, known)
        assert again["value"] == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_a_difference_that_a_figure_draws_is_found():
    known = kept_sources.Known.of(cells_with(TAU))
    differences = [a - b for a, b in zip(TAU["pNTK"], TAU["CK"], strict=True)]
    number = kept_sources.stated(Estimate("", "", "", differences))
    row = {"n": 5, **{name: round(number[name], 3) for name in ("value", "low", "high")}}
    source = kept_sources.find_drawn(row, known)
    assert source["labels"] == {"kernel": "pNTK"} and source["minus"] == {"kernel": "CK"}
    assert kept_sources.draws(row, kept_sources.again(row | {"source": source}, known))


def small_study(folder) -> dict:
    """A study with one number of a report and one row of a figure that rest on kept cells."""
    cells = cells_with(TAU)
    for place, cell in enumerate(cells):
        path = folder / "toy" / f"{place}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(cell))
    known, estimate = kept_sources.Known.of(cells), Estimate("pNTK", "tau", "", TAU["pNTK"])
    number = {"stage": "surrogate", "of": "T1", **kept_sources.stated(estimate)}
    row = {"label": "pNTK", "run": "toy", "value": 0.596, "low": 0.494, "high": 0.698, "n": 5}
    row["source"] = kept_sources.find_drawn(row, known)
    run = {"title": "toy", "setting": "ours", "command": "python run.py", "commit": "0123456", "date": "2026-11-30"}
    run |= {"dated": "made", "keys": ["0123456789ab"], "cells": [f"toy/{place}.json" for place in range(len(cells))]}
    run["numbers"] = [number | {"source": kept_sources.find_source(estimate, known)}]
    said = [{"run": "toy", "word": "holds here", "evidence": f"tau: {number['shown']} over n = 5."}]
    claim = {"name": "T1", "statement": "s", "where": "abstract", "standing": "published", "said": said}
    return {"runs": {"toy": run}, "claims": [claim], "panels": {"tau": {"rows": [row]}}}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda study: study["runs"]["toy"]["numbers"][0].update(value=0.61), "value is kept as 0.61 and comes out as"),
        (lambda study: study["runs"]["toy"]["numbers"][0].update(n=6), "n is kept as 6 and comes out as 5"),
        (lambda study: study["runs"]["toy"]["cells"].append("toy/9.json/none"), "1 cells that are not kept"),
        (lambda study: study["runs"]["toy"].update(keys=[]), "does not say its keys"),
        (lambda study: study["claims"][0]["said"][0].update(evidence="tau: 0.7"), "does not stand in what is said"),
        (lambda study: study["panels"]["tau"]["rows"][0].update(value=0.61), "drawn as 0.61 and comes out as"),
        (lambda study: study["panels"]["tau"]["rows"][0].pop("n"), "does not say its n"),
    ],
    ids=["value", "n", "cell", "key", "claim", "figure", "n of the figure"],
)
def test_a_number_that_its_cells_do_not_give_is_named(tmp_path, change, fault):
    study = small_study(tmp_path)
    assert list(results_check.faults_of(study, tmp_path)) == []
    changed = copy.deepcopy(study)
    change(changed)
    assert any(fault in one for one in results_check.faults_of(changed, tmp_path))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_kept_numbers_agree_with_the_kept_cells(path):
    assert list(results_check.faults_of(json.loads(path.read_text(encoding="utf-8")))) == []


def test_kept_cells_name_no_folder_of_a_machine():
    for path in kept_cells.CELLS.glob("*/*.json"):
        for entry in kept_cells.read_cell(path)["artifacts"]:
            assert kept_cells.portable(entry["command"]) == entry["command"] and len(entry["commit"]) == 40, path.name


def test_examples_of_the_scripts_run():
    import doctest

    for module in (kept_cells, kept_sources):
        tested = doctest.testmod(module)
        assert tested.attempted and not tested.failed
