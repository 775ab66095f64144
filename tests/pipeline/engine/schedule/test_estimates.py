"""Estimates follow what a stage works through, and a plan names the setting that makes something new."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pipeline.engine.artifacts import Store, write_json
from pipeline.engine.graph import Graph
from pipeline.engine.rebuild import SWEEP
from pipeline.engine.schedule.estimates import Estimates, room_for
from pipeline.engine.schedule.novelty import reasons
from pipeline.engine.schedule.simulation import simulate
from pipeline.engine.schedule.work import GROWTH, OF_NETWORK, usual_seconds, work_of
from pipeline.engine.stages import STAGES
from pipeline.entry import _workers
from pipeline.machine.content_digest import file_sha256
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)


def trained(epochs=10, lr=0.1, seed=0):
    config = run_config(seed)
    return replace(config, training=replace(config.training, epochs=epochs, lr=lr))


def keep(store, node, seconds, memory=2**30, **more):
    """What a finished artifact leaves that later plans read."""
    folder = store.folder(*node.address)
    folder.mkdir(parents=True)
    record = {"wall_seconds": seconds, "peak_memory_bytes": memory, "work": work_of(node), **more}
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
    assert estimates.of(resolve("draw", replace(small, seed=4))).memory == 2**28


def test_another_kind_of_network_tells_nothing_of_a_training_and_all_of_a_page(tmp_path, monkeypatch):
    store, small = Store(tmp_path), trained()
    keep(store, resolve("draw", small), 50.0)
    large = resolve("draw", replace(small, model=replace(small.model, name="large")))
    assert Estimates(store).of(large).seconds == 50.0
    monkeypatch.setattr("pipeline.engine.schedule.estimates.OF_NETWORK", frozenset({"draw"}))
    assert Estimates(store).of(large).seconds is None, "an MLP is no measure of a BERT"
    assert Estimates(store).of(resolve("draw", trained(seed=4))).seconds == 50.0
    assert OF_NETWORK <= STAGES.keys()


def test_two_workers_need_half_the_time_and_never_less_than_the_longest_chain(tmp_path):
    store, config = Store(tmp_path), run_config(cells={"seed": "0:8"})
    keep(store, resolve("draw", run_config(100)), 4.0)
    keep(store, resolve("square", run_config(100)), 2.0)
    target = resolve("total", config)
    nodes = [node for m in target.members["square"] for node in (m.node.inputs["draw"], m.node)] + [target]
    times = [simulate(nodes, Estimates(store), workers).seconds for workers in (1, 2, 8, 64)]
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


def test_a_fixed_part_is_told_from_one_that_grows(tmp_path, monkeypatch):
    monkeypatch.setitem(GROWTH, "draw", {"epochs": 1.0})
    store = Store(tmp_path)
    for epochs in (2, 10, 40):
        keep(store, resolve("draw", trained(epochs=epochs)), 5.0 + 0.5 * epochs)
    assert Estimates(store).of(resolve("draw", trained(epochs=100))).seconds == pytest.approx(55)


def test_what_was_just_made_tells_how_long_others_like_it_will_take(tmp_path):
    estimates, first = Estimates(Store(tmp_path)), resolve("draw", trained())
    longer = resolve("draw", trained(epochs=20, seed=1))
    assert estimates.of(first).seconds is None and estimates.of(longer).seconds is None
    assert estimates.learn(first, 7.0) and not estimates.learn(first, 9.0)
    assert estimates.of(resolve("draw", trained(seed=5))).seconds == 7.0
    assert estimates.of(longer).seconds is None, "of other work nothing was measured"


def test_on_an_empty_store_the_training_of_the_larger_network_is_begun_first():
    small, large = (SimpleNamespace(stage=STAGES["train"], config=trained()) for _ in range(2))
    small.config = replace(small.config, model=replace(small.config.model, name="mlp"))
    large.config = replace(large.config, model=replace(large.config.model, name="resnet18"))
    quick = SimpleNamespace(stage=STAGES["attribution"], config=large.config)
    assert usual_seconds(large) > usual_seconds(small) > 0 and usual_seconds(large) > usual_seconds(quick)


def test_how_far_off_estimates_were_is_measured_and_an_exact_store_says_so(tmp_path):
    exact, rough, kept = (Store(tmp_path / name) for name in ("exact", "rough", "kept"))
    for seed in range(6):
        keep(exact, resolve("draw", trained(seed=seed)), 4.0)
        keep(rough, resolve("draw", trained(seed=seed)), 4.0 * (1 + seed % 2))
        keep(kept, resolve("draw", trained(seed=seed)), 4.0, expected_seconds=2.0 if seed < 4 else 6.0)
    found = {}
    for store in (exact, rough, kept, Store(tmp_path / "empty")):
        estimates = Estimates(store)
        estimates.of(resolve("draw", trained(seed=9)))
        error = estimates.error()
        found[store.root.name] = error and (round(error.factor, 2), error.count, error.kept)
    assert found["exact"] == (1.0, 6, False) and found["kept"] == (2.0, 6, True) and found["empty"] is None
    assert found["rough"][0] > 1.2


def test_what_was_continued_after_a_kill_tells_no_time(tmp_path):
    store = Store(tmp_path)
    keep(store, resolve("draw", trained(seed=1)), 0.1, continued=True)
    keep(store, resolve("draw", trained(seed=2)), 8.0)
    assert Estimates(store).of(resolve("draw", trained())).seconds == 8.0


def test_what_was_made_beside_as_many_others_is_asked_first(tmp_path):
    store = Store(tmp_path)
    keep(store, resolve("draw", trained(seed=1)), 2.0, workers=1)
    keep(store, resolve("draw", trained(seed=2)), 3.0, workers=8)
    assert [Estimates(store, workers).of(resolve("draw", trained())).seconds for workers in (1, 8)] == [2.0, 3.0]


def test_peaks_that_do_not_fit_side_by_side_are_not_begun_side_by_side(tmp_path, monkeypatch):
    store = Store(tmp_path)
    for seed in range(2):
        keep(store, resolve("draw", trained(seed=seed)), 4.0, memory=6 * 2**30)
    free = [10 * 2**30]
    monkeypatch.setattr("pipeline.engine.schedule.estimates.available_memory", lambda: free[0])
    monkeypatch.setattr("pipeline.engine.schedule.estimates._LOOK_EVERY", -1.0)
    new = [resolve("draw", trained(seed=seed)) for seed in range(2, 5)]
    fits = room_for(Estimates(store))
    assert fits(new[0], []) and not fits(new[1], [new[0]])
    free[0] = 5 * 2**30  # another program took it
    assert not fits(new[0], [])
    course = [simulate(new, Estimates(store), 3, gigabytes * 2**30) for gigabytes in (10, 12, 100)]
    assert [(one.seconds, one.memory // 2**30) for one in course] == [(12.0, 6), (8.0, 12), (4.0, 18)]


def test_auto_begins_no_more_processes_than_cores_and_memory_hold(monkeypatch):
    # a process that has computed has one
    monkeypatch.setattr("pipeline.engine.schedule.worker_process.can_fork", lambda: True)
    monkeypatch.setattr("pipeline.entry.usable_cores", lambda: 64)
    monkeypatch.delenv(SWEEP, raising=False)
    found = []
    for free in (2**30, 10 * 2**30, 2**40):
        monkeypatch.setattr("kernels.machine.memory.available_memory", lambda free=free: free)
        found.append(_workers(run_config()))
    assert found == [2, 20, 64]


def test_a_kernel_that_was_never_made_is_planned_with_its_budget(tmp_path):
    small, large = (replace(trained(), kernel=replace(trained().kernel, memory=size)) for size in ("1GiB", "5GiB"))
    peaks = [Estimates(Store(tmp_path)).of(resolve("square", config)).memory for config in (small, large)]
    assert peaks[1] - peaks[0] == 4 * 2**30 and Estimates(Store(tmp_path)).of(resolve("draw", small)).memory < 2**30


def test_a_kernel_of_more_points_than_any_before_is_planned_with_its_budget(tmp_path, monkeypatch):
    monkeypatch.setitem(GROWTH, "square", {"points": 1.5})

    def kernel(points):
        return resolve("square", replace(trained(), kernel=replace(trained().kernel, n_train=points, memory="5GiB")))

    store = Store(tmp_path)
    keep(store, kernel(100), 1.0, memory=2**29)
    peaks = [Estimates(store).of(kernel(points)).memory for points in (50, 100, 5000, None)]
    assert peaks[:2] == [2**29, 2**29] and min(peaks[2:]) > 5 * 2**30


def test_auto_is_one_budget_on_all_machines_under_one_address():
    auto = replace(trained(), kernel=type(trained().kernel)(memory="auto"))
    assert auto.kernel.memory == "2GiB" and resolve("square", auto).key == resolve("square", trained()).key
