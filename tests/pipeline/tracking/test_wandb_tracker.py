"""W&B offline: one run per artifact that can be read back with its metrics, configuration and images."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from pipeline.engine.build import construction
from pipeline.engine.executor import Puller
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.schedule.worker_process import Postponed
from pipeline.tracking.base import nonce
from pipeline.tracking.opening import stage_tracker
from tests.pipeline.test_store import puller, run_config
from tests.pipeline.toy_stages import install

wandb = pytest.importorskip("wandb", reason="the wandb extra is not installed")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    install(monkeypatch)
    monkeypatch.setenv("WANDB_SILENT", "true")


def tracked(tmp_path, seed=0):
    config = run_config(seed)
    folder = str(tmp_path / "tracking")
    return dataclasses.replace(config, logging=dataclasses.replace(config.logging, tracker="wandb", folder=folder))


def runs(tmp_path):
    return sorted((tmp_path / "tracking" / "wandb").glob("offline-run-*"))


def records(folder, *options: str) -> str:
    """Read an offline run back through W&B's own reader, as text."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_sweep_makes_one_run_per_artifact_and_finishes_each(tmp_path):
    maker: Puller = puller(tmp_path)
    for seed in (0, 1):
        maker.pull(maker.graph.resolve("draw", tracked(tmp_path, seed)))
        assert wandb.run is None, "a finished job leaves no open run behind"
    found = runs(tmp_path)
    assert len(found) == 2
    keys = {maker.graph.resolve("draw", run_config(seed)).key for seed in (0, 1)}
    assert {re.search(r"([0-9a-f]{12})-[0-9a-f]{8}$", run.name)[1] for run in found} == keys


def test_a_run_that_waited_for_others_leaves_one_folder_and_a_long_name_is_cut(tmp_path):
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path))
    given = {"inputs": {}, "labels": {"model": "wide " * 60}}
    with pytest.raises(Postponed), construction(node, maker.graph, maker.store, **given) as build, stage_tracker(build):
        raise Postponed([])
    assert not runs(tmp_path)
    with construction(node, maker.graph, maker.store, **given) as build, stage_tracker(build) as tracker:
        assert tracker._run.name == tracker.run.name and len(tracker.run.name) <= 128
    assert len(runs(tmp_path)) == 1


def test_an_offline_run_reads_back(tmp_path):
    import io

    from PIL import Image

    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path))
    png = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(png, "png")
    with construction(node, maker.graph, maker.store, inputs={}) as build, stage_tracker(build) as tracker:
        tracker.log({"train/loss": 0.5}, step=1)
        tracker.histogram("spectra/fc", np.arange(5.0), step=2)
        tracker.image("a figure", png.getvalue())
        tracker.log({"accuracy": 0.75, "note": "kept"})
    (folder,) = runs(tmp_path)
    text = re.sub(r"\s+", " ", records(folder))
    for part in ("train/loss", "0.75", node.key, "histogram", "image-file", 'run_group: "toy"', 'job_type: "draw"'):
        assert part in text, part
    assert "exit_code: 1" not in text
    assert list(folder.rglob("*.png"))


def test_the_nonce_survives_a_kill_and_not_a_rebuild(tmp_path):
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", run_config())
    with pytest.raises(KeyboardInterrupt), construction(node, maker.graph, maker.store, inputs={}) as build:
        first = nonce(build)
        raise KeyboardInterrupt
    with construction(node, maker.graph, maker.store, inputs={}) as build:
        assert nonce(build) == first
    again = Rebuild(frozenset(["draw"]), request="again")
    with construction(node, maker.graph, maker.store, rebuild=again, inputs={}) as build:
        assert nonce(build) != first


def test_a_lost_tracker_takes_nothing_with_it(tmp_path, monkeypatch, capsys):
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path))

    def gone(*_: object, **__: object) -> None:
        raise ConnectionResetError("Connection lost")

    with (
        pytest.raises(SystemExit),
        construction(node, maker.graph, maker.store, inputs={}) as build,
        stage_tracker(build) as tracker,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(tracker._run, "log", gone)
            tracker.log({"train/loss": 0.5}, step=1)
        raise SystemExit(-1)
    assert capsys.readouterr().err.count("W&B has failed (ConnectionResetError") == 1
    wandb.run.finish()


def tracked_training(maker, node, snapshots, fail_at=None):
    """Train with spectra at log-spaced steps, as the stage does, and tell W&B of each."""
    from pipeline.config.snapshots import SnapshotsConfig
    from pipeline.stages.train.tracked_spectra import track_snapshot
    from pipeline.training.snapshots import SnapshotWriter
    from tests.pipeline.training_cases import Blobs, train

    with construction(node, maker.graph, maker.store, inputs={}) as build, stage_tracker(build) as tracker:
        writer = SnapshotWriter(
            snapshots,
            SnapshotsConfig(record=["spectra"], schedule="log"),
            Blobs(),
            on_snapshot=lambda step, files: track_snapshot(tracker, snapshots, step, files),
        )
        train(
            snapshots.parent / "run",
            data=Blobs(fail_at=fail_at),
            snapshots=writer,
            on_epoch=lambda row: tracker.log({"train/loss": row["train_loss"]}, step=int(row["step"])),
        )


def test_each_spectrum_reaches_the_run_once_as_histogram_and_picture_also_after_a_kill(tmp_path):
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path))
    with pytest.raises(RuntimeError, match="killed"):
        tracked_training(maker, node, tmp_path / "snapshots", fail_at=13)
    tracked_training(maker, node, tmp_path / "snapshots")
    segments = runs(tmp_path)
    assert len({re.search(r"[0-9a-f]{12}-[0-9a-f]{8}$", run.name)[0] for run in segments}) == 1
    logged = {"spectra/conv.weight._type": [], "spectra/head.weight._type": [], "spectra._type": []}
    for segment in segments:
        for line in records(segment, "--json").splitlines():
            item = json.loads(line).get("history", {}).get("item", {})
            for name, steps in logged.items():
                if name in item:
                    steps.append((int(item["_step"]), item[name]))
    recorded = [0, 1, 2, 3, 6, 10, 18, 20]
    assert logged.pop("spectra._type") == [(step, "image-file") for step in recorded]
    assert all(found == [(step, "histogram") for step in recorded] for found in logged.values())
    assert len([path for run in segments for path in run.rglob("spectra_*.png")]) == len(recorded)
