"""A study is read from Python: without a command, from threads, beside the caller's own Hydra, and without a write."""

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline import open_study
from pipeline.engine.cells import compose_run
from pipeline.entry import execute
from pipeline.errors import UserError
from pipeline.study.entries import StoredEntries
from tests.pipeline.data.own_files import flowers

RUN = Path(__file__).resolve().parents[3] / "run.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Overrides of a study of two seeds with one of its kernels, and its store, in a folder with a blank."""
    folder = tmp_path_factory.mktemp("two seeds")
    (folder / "flowers.csv").write_text(flowers(), encoding="utf-8")
    words = (
        "data=table",
        f"data.path.train='{folder}/flowers.csv'",
        "data.columns={x: all, label: species}",
        "model.widths=[4]",
        "training.epochs=1",
        "cells={seed: '0:2'}",
        "wants=[train]",
        "experiment_name=flowers",
    )
    store = folder / "the store"
    for extra in (("stage=report",), ("stage=kernel", "seed=1", "kernel.n_train=12", "kernel.n_test=6")):
        execute(compose_run((*words, f"paths.store='{store}'", *extra)), (*words, f"paths.store='{store}'", *extra))
    return (*words, "kernel.n_train=12", "kernel.n_test=6"), store


def contents(store):
    return {str(path): path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


def test_artifacts_are_found_by_their_labels(made):
    words, store = made
    study = open_study(*words, store=store)
    assert study.cells == [{"seed": "0"}, {"seed": "1"}]
    trained = study.artifact("train", seed=1)
    assert trained.labels == {"seed": "1"} and trained.stage == "train" and trained.path.is_dir()
    assert trained.metrics and trained.command.startswith("python run.py ")
    assert trained.settings["training.epochs"] == 1
    assert trained.arrays["test.logits"].shape == (12, 3)
    assert "loss" in " ".join(trained.tables["history"].columns)
    assert len(study.artifacts("train")) == 2 and len(study.artifacts("prepare", seed=0)) == 1
    assert study.artifact("prepare").metrics["rows"] == {"train": 60}
    assert repr(study).startswith("Study data=table: seed: 0, 1\n  store: ")


def test_logits_of_all_seeds_have_the_same_rows(made):
    words, store = made
    study = open_study(*words, store=store)
    logits = study.logits()
    assert list(logits) == ["seed 0", "seed 1"] and logits["seed 0"].shape == (12, 3)
    assert not np.array_equal(logits["seed 0"], logits["seed 1"])
    assert study.labels().shape == study.ids().shape == (12,)
    assert list(study.logits("train", seed=1)) == ["seed 1"]
    with pytest.raises(UserError, match="have no split 'tset'; they have test, train, val"):
        study.logits("tset")


def test_a_kernel_is_an_array_that_knows_its_samples(made):
    words, store = made
    study = open_study(*words, store=store)
    square, test = study.kernel(seed=1), study.kernel("test", seed=1)
    assert np.allclose(np.diag(np.asarray(square)), 1) and test.shape == (6, 12)
    assert np.array_equal(square.row_ids, test.column_ids) and np.array_equal(test.column_labels, square.row_labels)
    assert (test @ np.ones(12)).shape == (6,)
    with pytest.raises(UserError, match="has no rows of split 'val'; it has test, train"):
        study.kernel("val", seed=1)


def test_what_is_not_made_names_the_command_that_makes_it(made, tmp_path):
    words, store = made
    study = open_study(*words, store=store)
    with pytest.raises(UserError, match=r"kernel \(seed 0\) is missing in .*run.py .* stage=kernel") as refused:
        study.kernel(seed=0)
    command = str(refused.value).partition("python run.py ")[2].removesuffix(" makes it.")
    typed = tuple(shlex.split(command))
    assert compose_run(typed).stage == "kernel" and compose_run(typed).seed == 0
    with pytest.raises(UserError, match="2 artifacts of stage train fit: seed 0, seed 1. Say .* by seed='0'"):
        study.artifact("train")
    with pytest.raises(UserError, match="no label 'sed': its cells are told apart by seed"):
        study.artifact("train", sed=0)
    with pytest.raises(UserError, match="no seed '7': seed is one of 0, 1"):
        study.artifact("train", seed=7)
    with pytest.raises(UserError, match="no stage 'trian'"):
        study.artifact("trian")
    with pytest.raises(UserError, match="no experiment and no folder 'quickstrat'; is it 'quickstart'"):
        open_study("quickstrat")
    with pytest.raises(UserError, match="has no file 'x'; it has arrays.safetensors"):
        study.artifact("prepare").file("x")


def test_results_are_a_table_of_every_number_with_its_labels(made):
    words, store = made
    results = open_study(*words, store=store).results
    assert {"stage", "seed", "quantity", "value", "key", "made"} <= set(results.columns)
    assert set(results["stage"]) >= {"prepare", "train", "kernel"}
    trained = results[results["stage"] == "train"]
    assert set(trained["seed"]) == {"0", "1"} and trained.groupby("seed").size().nunique() == 1


def test_a_report_and_a_store_are_studies_of_what_they_hold(made):
    words, store = made
    (report,) = {path.parent for path in store.rglob("report.html")}
    for place in (report, report / "report.html"):
        study = open_study(place)
        assert study.cells == [{"seed": "0"}, {"seed": "1"}] and list(study.logits()) == ["seed 0", "seed 1"]
        with pytest.raises(UserError, match="has no artifact of stage kernel"):
            study.kernel()
    whole = open_study(store)
    assert whole.kernel().shape == (12, 12) and len(whole.artifacts("train")) == 2
    assert set(whole.results["stage"]) == set(open_study(*words, store=store).results["stage"])
    with pytest.raises(UserError, match="is a folder, which has its settings"):
        open_study(store, "seed=1")
    with pytest.raises(UserError, match="is no store: it holds no finished artifact"):
        open_study(store.parent)


@pytest.mark.parametrize(("asked", "stage"), [("train", "checkpoint"), ("train", "outputs"), ("train", "train")])
def test_networks_and_outputs_from_files_stand_for_trainings_in_a_store(asked, stage):
    stored = StoredEntries([(SimpleNamespace(stage=stage, command=""), {"seed": "0"})])
    assert [entry.labels for entry in stored.of(asked, {"seed": "0"})] == [{"seed": "0"}]
    assert stored.of("snapshots", {}) == []


def test_nothing_is_written(made, tmp_path):
    words, store = made
    before = contents(store)
    study = open_study(*words, store=store)
    study.logits()
    study.kernel(seed=1)
    assert contents(store) == before
    with pytest.raises(UserError, match="is missing in"):
        open_study(*words, store=tmp_path / "none").artifact("train", seed=0)
    assert not (tmp_path / "none").exists()


def test_a_study_stays_where_it_is_when_the_caller_changes_folders(made, tmp_path, monkeypatch):
    words, store = made
    monkeypatch.chdir(store.parent)
    study = open_study(*words, store=store.name)
    monkeypatch.chdir(tmp_path)
    assert len(study.logits()) == 2 and len(study.results)


def test_the_hydra_of_the_caller_stays_as_it_is(made, tmp_path):
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra

    words, store = made
    (tmp_path / "mine.yaml").write_text("mine: 7\n", encoding="utf-8")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        before, stored = GlobalHydra.instance(), dict(ConfigStore.instance().repo)
        assert len(open_study(*words, store=store).artifacts("train")) == 2
        assert GlobalHydra.instance() is before and ConfigStore.instance().repo == stored
        assert compose("mine").mine == 7
    assert not GlobalHydra.instance().is_initialized()


def test_several_threads_read_at_the_same_time(made):
    words, store = made

    def look(seed):
        study = open_study(*words, store=store)
        return study.artifact("train", seed=seed).key, list(study.logits())

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(look, [0, 1, 0, 1]))
    assert found[0] == found[2] != found[1] == found[3]


@pytest.mark.slow
def test_it_works_in_a_process_that_has_done_nothing_else(made, tmp_path):
    words, store = made
    code = f"from pipeline import open_study as o; print(len(o(*{words!r}, store={str(store)!r}).artifacts('train')))"
    environment = {**os.environ, "PYTHONPATH": str(RUN.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "2\n" and not list(tmp_path.iterdir())
