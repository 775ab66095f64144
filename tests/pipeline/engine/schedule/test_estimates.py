"""Estimates follow what a stage works through, and a plan names the setting that makes something new."""

import json
from dataclasses import replace

import pytest

from pipeline.engine.artifacts import Store, write_json
from pipeline.engine.graph import Graph
from pipeline.engine.schedule.estimates import GROWTH, Estimates, makespan, work_of
from pipeline.engine.schedule.novelty import reasons
from pipeline.machine.content_digest import file_sha256
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)


def trained(epochs=10, lr=0.1, seed=0):
    config = run_config(seed)
    return replace(config, training=replace(config.training, epochs=epochs, lr=lr))


def keep(store, node, seconds, memory=2**30):
    """What a finished artifact leaves that later plans read."""
    folder = store.folder(*node.address)
    folder.mkdir(parents=True)
    record = {"wall_seconds": seconds, "peak_memory_bytes": memory, "work": work_of(node.config)}
    write_json(folder / "provenance.json", record)
    lines = [f"{name}: {json.dumps(value)}" for name, value in node.sections.items()]
    (folder / "config.yaml").write_text("\n".join(["stage: draw", "version: 1", *lines]))
    files = {
        "config.yaml": {"bytes": (folder / "config.yaml").stat().st_size, "sha256": file_sha256(folder / "config.yaml")}
    }
    write_json(folder / "manifest.json", {"format": 1, "files": files})


def resolve(stage, config):
    return Graph(["experiment=toy"]).resolve(stage, config)


def test_sixty_epochs_are_expected_to_take_ten_times_six(tmp_path, monkeypatch):
    monkeypatch.setitem(GROWTH, "draw", {"epochs": 1.0})
    store = Store(tmp_path)
    keep(store, resolve("draw", trained(epochs=6)), 6.3)
    estimates = Estimates(store)
    assert estimates.of(resolve("draw", trained(epochs=60))).seconds == pytest.approx(63)
    assert estimates.of(resolve("draw", trained(epochs=6, seed=4))).seconds == pytest.approx(6.3)
    assert estimates.of(resolve("square", trained())).seconds is None


def test_the_most_similar_network_is_asked_first(tmp_path):
    store, small = Store(tmp_path), trained()
    large = replace(small, model=replace(small.model, name="large"))
    keep(store, resolve("draw", small), 1.0, 2**28)
    keep(store, resolve("draw", large), 50.0, 2**33)
    estimates = Estimates(store)
    assert (estimates.of(resolve("draw", replace(large, seed=3))).seconds, estimates.judged_by) == (50.0, 2)
    assert estimates.of(resolve("draw", replace(small, seed=3))).memory == 2**28


def test_two_workers_need_half_the_time_and_never_less_than_the_longest_chain(tmp_path):
    store, config = Store(tmp_path), run_config(cells={"seed": "0:8"})
    keep(store, resolve("draw", run_config(100)), 4.0)
    keep(store, resolve("square", run_config(100)), 2.0)
    target = resolve("total", config)
    nodes = [node for m in target.members["square"] for node in (m.node.inputs["draw"], m.node)] + [target]
    times = [makespan(nodes, Estimates(store), workers) for workers in (1, 2, 8, 64)]
    assert times == pytest.approx([48, 24, 6, 6])


def test_a_plan_names_the_setting_that_differs_and_no_seed(tmp_path):
    store = Store(tmp_path)
    keep(store, resolve("draw", trained(lr=0.05)), 1.0)
    assert reasons([resolve("draw", trained(lr=0.02, seed=seed)) for seed in range(3)], store) == [
        "draw: training.lr 0.05 -> 0.02"
    ]
    assert reasons([resolve("draw", trained(lr=0.05, seed=9))], store) == []
    assert reasons([resolve("square", trained(lr=0.02))], store) == []


def test_damaged_records_of_earlier_artifacts_tell_nothing(tmp_path):
    store, node = Store(tmp_path), resolve("draw", trained())
    keep(store, node, 1.0)
    folder = store.folder(*node.address)
    (folder / "provenance.json").write_text("{")
    (folder / "config.yaml").write_text("training.lr: {")
    assert Estimates(store).of(node).seconds is None and reasons([node], store) == []
