"""TensorBoard and MLflow: one run per artifact that can be read back, continued over a requeue."""

import dataclasses
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pipeline.engine.artifacts import Store
from pipeline.engine.build import Build, construction
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.schedule.labels import cell_of
from pipeline.engine.schedule.worker_process import Postponed
from pipeline.errors import UserError
from pipeline.tracking import base as tracking
from pipeline.tracking.base import plain
from pipeline.tracking.journal import kept_journals
from pipeline.tracking.opening import stage_tracker
from tests.pipeline.test_store import puller, run_config
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def tracked(tmp_path, tracker, **more):
    config = run_config(0)
    folder = str(tmp_path / "tracking")
    return dataclasses.replace(
        config, logging=dataclasses.replace(config.logging, tracker=tracker, folder=folder, **more)
    )


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(file, "png")
    return file.getvalue()


def record(maker, node) -> None:
    with construction(node, maker.graph, maker.store, inputs={}) as build, stage_tracker(build) as tracker:
        for step in (1, 2):
            tracker.log({"train/loss": 1.0 / step}, step=step)
        tracker.histogram("spectra/fc (1)", np.arange(5.0), step=2)
        tracker.image("a figure: τ", png())
        tracker.image("spectra", png(), step=2)
        tracker.table("a table", ["kernel", "τ"], [["pNTK", 0.5], ["CK", None]])
        tracker.log({"accuracy": 0.75, "lds": {"kernel": 0.25}, "method": "kernel"})


def killed_after(maker, node, steps) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        construction(node, maker.graph, maker.store, inputs={}) as build,
        stage_tracker(build) as tracker,
    ):
        for step in steps:
            tracker.log({"train/loss": 9.0}, step=step)
        raise KeyboardInterrupt


def test_nested_metrics_flatten_to_scalars():
    values = {"a": 1, "b": {"c": {"d": "x"}, "e": [1, 2]}, "f": None, "g": True}
    assert plain(values) == {"a": 1, "b/c/d": "x", "g": True}


def read_events(folder):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the tensorboard extra is not installed"
    )
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return events


def test_tensorboard_reads_back(tmp_path):
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "tensorboard"))
    record(maker, node)
    (folder,) = (tmp_path / "tracking" / "toy").iterdir()
    assert node.key in folder.name
    events = read_events(folder)
    assert [(row.step, row.value) for row in events.Scalars("train/loss")] == [(1, 1.0), (2, 0.5)]
    assert events.Histograms("spectra/fc (1)")[0].histogram_value.num == 5
    assert events.Images("a figure: τ")[0].width == 4
    assert [picture.step for picture in events.Images("spectra")] == [2]

    def words(tag):
        return events.Tensors(f"{tag}/text_summary")[0].tensor_proto.string_val[0].decode()

    assert "| pNTK | 0.5 |" in words("a table") and "| lds/kernel | 0.25 |" in words("summary")
    assert node.key in words("configuration")


def test_tensorboard_shows_every_step_once_after_a_requeue(tmp_path):
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "tensorboard"))
    killed_after(maker, node, (1, 2, 3))
    with construction(node, maker.graph, maker.store, inputs={}) as build, stage_tracker(build) as tracker:
        for step in (2, 3, 4):
            tracker.log({"train/loss": 1.0}, step=step)
    (folder,) = (tmp_path / "tracking" / "toy").iterdir()
    rows = read_events(folder).Scalars("train/loss")
    assert [(row.step, row.value) for row in rows] == [(1, 9.0), (2, 1.0), (3, 1.0), (4, 1.0)]


def mlflow_client(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="the mlflow extra is not installed")
    uri = (tmp_path / "mlruns").as_uri()
    return uri, mlflow.MlflowClient(tracking_uri=uri)


def mlflow_runs(client):
    return client.search_runs([client.get_experiment_by_name("toy").experiment_id])


def test_mlflow_reads_back(tmp_path):
    uri, client = mlflow_client(tmp_path)
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "mlflow", uri=uri))
    record(maker, node)
    (run,) = mlflow_runs(client)
    assert run.info.status == "FINISHED"
    assert run.data.tags["artifact_key"] == node.key and run.data.params["artifact_key"] == node.key
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(row.step, row.value) for row in history] == [(1, 1.0), (2, 0.5)]
    assert run.data.metrics["accuracy"] == 0.75 and run.data.metrics["lds/kernel"] == 0.25
    assert run.data.metrics["spectra/fc _1_/q50"] == 2.0
    assert run.data.tags["method"] == "kernel"
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == ["figures/a figure_ τ.png"]
    series = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert series and all(re.match(r"images/spectra.step.2", path) for path in series), series
    text = client.download_artifacts(run.info.run_id, "tables/a table.csv", str(tmp_path))
    assert Path(text).read_text().split() == ["kernel,τ", "pNTK,0.5", "CK,"]


def test_mlflow_has_every_picture_before_the_process_ends(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")  # leaves pictures to Python's exit, which ranks skip
    uri, client = mlflow_client(tmp_path)
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "mlflow", uri=uri))
    with construction(node, maker.graph, maker.store, inputs={}) as build, stage_tracker(build) as tracker:
        for step in range(20):
            tracker.image("spectra", png(), step=step)
        (run,) = mlflow_runs(client)
        found = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
        assert len([path for path in found if path.endswith(".png")]) == 20


def test_mlflow_continues_the_run_of_a_killed_job(tmp_path):
    uri, client = mlflow_client(tmp_path)
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "mlflow", uri=uri))
    killed_after(maker, node, (1,))
    (run,) = mlflow_runs(client)
    assert run.info.status == "FAILED"
    record(maker, node)
    (again,) = mlflow_runs(client)
    assert again.info.run_id == run.info.run_id and again.info.status == "FINISHED"


def test_a_run_whose_artifact_waits_for_others_is_no_failed_one(tmp_path):
    uri, client = mlflow_client(tmp_path)
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "mlflow", uri=uri))
    build_of = construction(node, maker.graph, maker.store, inputs={})
    with pytest.raises(Postponed), build_of as build, stage_tracker(build) as tracker:
        tracker.log({"train/loss": 9.0}, step=1)
        raise Postponed([])
    (run,) = mlflow_runs(client)
    assert run.info.status == "SCHEDULED"
    record(maker, node)
    (again,) = mlflow_runs(client)
    assert again.info.run_id == run.info.run_id and again.info.status == "FINISHED"


def test_mlflow_without_a_server_says_where_to_name_one(tmp_path):
    pytest.importorskip("mlflow", reason="the mlflow extra is not installed")
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "mlflow"))
    with pytest.raises(UserError, match="needs a tracking server: logging.uri="):
        record(maker, node)


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard", "mlflow"])
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, tracker):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(tracking, "importlib", SimpleNamespace(import_module=absent))
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, tracker))
    with pytest.raises(UserError, match=rf"logging={tracker} needs the package .*'\.\[{tracker}\]'"):
        record(maker, node)


def noted(words, stage="surrogate"):
    """What a tracker is told of an artifact of a real study."""
    graph, config = Graph(words), compose_run(words)
    node = graph.resolve(stage, config)
    build = Build(node, graph, Store(Path("unused")), Path("unused"), {}, labels=cell_of(node))
    return tracking.note(build)


def test_a_tracker_is_told_the_cell_and_all_of_its_settings():
    words = ("experiment=quickstart", "model=resnet18", "model.width=8", "kernel=conjugate", "seed=2")
    told = noted(words)
    assert told["cell"] == {"model": "resnet18, model.width=8", "kernel": "conjugate", "seed": "2"}
    settings = told["settings"]
    assert settings["model"]["width"] == 8 and settings["seed"] == 2 and settings["kernel"]["kind"] == "conjugate"
    assert settings["training"]["epochs"] == 4 and not {"paths", "logging", "hardware", "cells"} & settings.keys()
    flat = plain(told)
    assert flat["settings/model/width"] == 8 and flat["cell/seed"] == "2"


def test_names_tell_networks_apart_that_differ_in_their_width(tmp_path):
    names = set()
    for width in (8, 16):
        words = ("experiment=quickstart", "model=resnet18", f"model.width={width}", "kernel=pntk", "seed=2")
        graph, config = Graph(words), compose_run(words)
        node = graph.resolve("surrogate", config)
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        names.add(tracking.run_of(Build(node, graph, Store(tmp_path), tmp_path, {}, labels=cell_of(node))).name)
    assert names == {
        "surrogate fashion_mnist-resnet18-width8-pntk-s2 (resnet18, width 8 | pntk | seed 2)",
        "surrogate fashion_mnist-resnet18-width16-pntk-s2 (pntk | seed 2)",
    }


def test_mlflow_takes_lists_and_continues_under_other_settings_of_the_machine(tmp_path):
    uri, client = mlflow_client(tmp_path)
    maker = puller(tmp_path)
    first = maker.graph.resolve("draw", tracked(tmp_path, "mlflow", uri=uri))
    killed_after(maker, first, (1, 2))
    again = tracked(tmp_path, "mlflow", uri=uri)
    again = dataclasses.replace(again, kernel=dataclasses.replace(again.kernel, n_train=7))  # not of this artifact
    node = maker.graph.resolve("draw", again)
    assert node.key == first.key
    record(maker, node)
    (run,) = mlflow_runs(client)
    assert run.info.status == "FINISHED" and run.data.params["settings/kernel/test_splits"] == "['test']"


def test_a_journal_of_an_earlier_version_is_still_sent(tmp_path):
    folder = tmp_path / "draw" / "a-000000000000" / "logs" / "tracking"
    run = tracking.TrackedRun("mlflow", "toy", "draw", "a", "000000000000", "0" * 8, True, "sync", {})
    record_ = dataclasses.asdict(run)
    del record_["cell"]
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record_))
    assert [kept.name for kept in kept_journals(tmp_path).values()] == ["draw a"]
