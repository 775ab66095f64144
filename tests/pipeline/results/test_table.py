"""Every number of a study or store is one row, with labels, differing settings, key and time of its artifact."""

import dataclasses
import datetime

import pytest

from pipeline.config.run import SelectConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from pipeline.results import read_results
from tests.pipeline.toy_cells import run_config


def rows(results, **wanted):
    return [row for row in results.to_pylist() if all(row[name] == value for name, value in wanted.items())]


def test_a_study_gives_each_number_with_its_label_and_key(study):
    store, target = study
    table = read_results(store, target)
    assert table.column_names == ["stage", "seed", "table", "row", "entry", "quantity", "value", "key", "made"]
    sums = rows(table, stage="square", quantity="sum")
    assert [row["seed"] for row in sums] == ["0", "1", "2"] and all(row["table"] == "metrics" for row in sums)
    assert {row["key"] for row in sums} == {m.node.key for m in target.members["square"]}
    in_table = rows(table, stage="total", table="total")
    assert [(row["row"], row["entry"]) for row in in_table] == [(i, f"seed={i}") for i in range(3)]
    assert sorted(row["value"] for row in in_table) == sorted(row["value"] for row in sums)
    made = {row["made"] for row in table.to_pylist()}
    assert all(abs((datetime.datetime.now(datetime.UTC) - one).total_seconds()) < 3600 for one in made)


def test_metrics_alone_can_be_asked_for(study):
    store, target = study
    assert set(read_results(store, target, tables=False)["table"].to_pylist()) == {"metrics"}


def test_settings_that_differ_have_columns_and_are_those_of_what_an_artifact_rests_on(tmp_path):
    store, graph = Store(tmp_path), Graph(["experiment=toy"])
    for rate, kind in ((0.1, "pntk"), (0.2, "pntk"), (0.2, "trntk")):
        config = run_config()
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, lr=rate))
        config = dataclasses.replace(config, kernel=dataclasses.replace(config.kernel, kind=kind))
        Puller(store, graph).pull(graph.resolve("square", config))
    table = read_results(store)
    assert table.column_names[:3] == ["stage", "kernel.kind", "training.lr"]
    squares = rows(table, stage="square", quantity="sum")
    assert sorted((row["training.lr"], row["kernel.kind"]) for row in squares) == [
        ("0.1", "pntk"),
        ("0.2", "pntk"),
        ("0.2", "trntk"),
    ]
    assert {row["kernel.kind"] for row in rows(table, stage="draw")} == {None}
    chosen = read_results(store, select=SelectConfig(where={"training.lr": 0.2, "kernel.kind": ["pntk", "conjugate"]}))
    assert len(rows(chosen, quantity="sum")) == 1


def test_a_study_of_which_nothing_is_made_has_no_rows(tmp_path, study):
    table = read_results(Store(tmp_path / "empty"), study[1])
    assert table.num_rows == 0 and "quantity" in table.column_names


def test_a_damaged_artifact_is_named_and_left_out(tmp_path, capsys):
    store, graph = Store(tmp_path), Graph()
    draw = Puller(store, graph).pull(graph.resolve("draw", run_config()))
    Puller(store, graph).pull(graph.resolve("draw", run_config(1)))
    (draw.folder / "manifest.json").write_text("{}")
    assert set(read_results(store)["value"].to_pylist()) == {1.0}
    assert "left out: " in (said := capsys.readouterr().err) and draw.key in said


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ({"stages": ["squares"]}, "select.stages holds 'squares', and there is no such stage.*square"),
        ({"where": {"training.lrr": 1}}, "select.where holds 'training.lrr'.*training.lr"),
        ({"since": "yesterday"}, "select.since=yesterday is no time: write a day such as"),
        ({"until": "2026-13-01"}, "select.until=2026-13-01 is no time"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(study, select, words):
    with pytest.raises(UserError, match=words):
        read_results(study[0], select=SelectConfig(**select))


def test_times_and_stages_narrow_a_store_down(study):
    store, _ = study
    today = datetime.date.today().isoformat()

    def stages(**select):
        return set(read_results(store, select=SelectConfig(**select))["stage"].to_pylist())

    assert stages(since="1h") == stages(until=today) == stages(since=today) == {"draw", "square", "total"}
    assert stages(since="2w", stages=["draw"]) == {"draw"} and stages(until="2020-01-01") == set()
    assert stages(where={"seed": 1}) == stages(where={"seeds.init": [1]}) == {"draw", "square"}
