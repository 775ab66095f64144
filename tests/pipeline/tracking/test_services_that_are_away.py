"""A tracker that is away stops no training and loses nothing: what it misses is kept and sent later."""

import dataclasses
import re
import shutil
import socket
import threading
import time

import numpy as np
import pytest

from pipeline.config.data import HubConfig
from pipeline.data.errors import SourceUnavailable
from pipeline.data.sources.hub import load_hub
from pipeline.engine.build import construction
from pipeline.entry import execute
from pipeline.errors import UserError
from pipeline.machine.reachable import unanswered
from pipeline.tracking.journal import Entry, Journal, kept_journals
from pipeline.tracking.opening import stage_tracker
from pipeline.tracking.remote import RemoteTracker
from pipeline.tracking.sending import sync
from tests.pipeline.test_local_trackers import killed_after, mlflow_client, mlflow_runs, record, tracked
from tests.pipeline.test_store import puller
from tests.pipeline.toy_stages import install
from tests.pipeline.tracking.test_wandb_tracker import records, runs


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)
    monkeypatch.setattr(RemoteTracker, "_away", {})
    for name in ("WANDB_MODE", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def silent_server():
    """A server that takes every connection and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(5)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_folder_that_cannot_be_made_is_said_once_and_everything_is_sent_later(tmp_path, capsys):
    pytest.importorskip("tensorboard", reason="the tensorboard extra is not installed")
    (tmp_path / "tracking").write_text("a file where the folder should be")
    maker = puller(tmp_path)
    config = tracked(tmp_path, "tensorboard")
    node = maker.graph.resolve("draw", config)
    record(maker, node)
    said = capsys.readouterr().err
    assert said.count("TensorBoard cannot be opened (") == 1 and "python run.py stage=sync" in said
    (kept,) = kept_journals(maker.store.root)
    assert maker.folder(node) in kept.parents
    assert not [name for name in maker.make(node).manifest["files"] if "tracking" in name], "no part of the payload"
    with pytest.raises(UserError, match="TensorBoard does not take it yet; 1 of 1 runs are still kept"):
        sync(maker.graph, maker.store, config)
    sync(maker.graph, maker.store, tracked(tmp_path, "mlflow"))
    said = capsys.readouterr().err
    assert "keeps nothing for mlflow" in said and "stage=sync logging=tensorboard sends them" in said
    (tmp_path / "tracking").unlink()
    RemoteTracker._away.clear()
    sync(maker.graph, maker.store, config)
    assert not kept_journals(maker.store.root)
    from tests.pipeline.test_local_trackers import read_events

    (folder,) = (tmp_path / "tracking" / "toy").iterdir()
    events = read_events(folder)
    assert [(row.step, row.value) for row in events.Scalars("train/loss")] == [(1, 1.0), (2, 0.5)]
    assert events.Images("a figure: τ")[0].width == 4


@pytest.mark.parametrize(
    "line",
    ["7", '{"kind": "log"}', "[" * 100_000, '{"kind": "log", "step": "a", "name": "", "content": []}']
    + ['{"kind": "image", "step": 1, "name": "", "content": {}, "file": "../absent.png"}'],
    ids=["a number", "no step", "too deep", "other types", "a file outside"],
)
def test_a_damaged_journal_keeps_its_sound_lines_and_stops_nothing(tmp_path, line):
    journal = Journal(tmp_path / "journal")
    journal.append(Entry("log", 1, content={"loss": 0.5}))
    with (journal.folder / "entries.jsonl").open("a") as stream:
        stream.write(line + "\n")
    (journal.folder / "delivered").write_text("²")
    (kept,) = Journal(journal.folder).entries()
    assert kept.content == {"loss": 0.5} and Journal(journal.folder).delivered == 0
    shutil.rmtree(journal.folder)
    journal.folder.write_text("a file where the folder should be")
    assert len(Journal(journal.folder)) == 0


def test_mlflow_is_away_and_gets_the_run_later(tmp_path, capsys, closed_port):
    pytest.importorskip("mlflow", reason="the mlflow extra is not installed")
    maker = puller(tmp_path)
    secret = closed_port.replace("http://", "http://alice:open-sesame@")
    started = time.monotonic()
    record(maker, maker.graph.resolve("draw", tracked(tmp_path, "mlflow", uri=secret)))
    assert time.monotonic() - started < 20
    said = capsys.readouterr().err
    assert said.count("MLflow cannot be opened (") == 1 and "open-sesame" not in said
    uri, client = mlflow_client(tmp_path)
    sync(maker.graph, maker.store, tracked(tmp_path, "mlflow", uri=uri))
    (run,) = mlflow_runs(client)
    assert run.info.status == "FINISHED" and run.data.metrics["accuracy"] == 0.75
    assert [row.step for row in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2]


def test_wandb_without_a_key_or_a_server_records_files(tmp_path, capsys, monkeypatch, closed_port):
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", closed_port)
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "wandb", mode="online"))
    killed_after(maker, node, (1,))
    said = capsys.readouterr().err
    assert said.count("there is no key") == 1 and f"wandb sync {tmp_path}/tracking/wandb/offline-run-*" in said
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    RemoteTracker._away.clear()
    killed_after(maker, node, (2,))
    assert "refused" in capsys.readouterr().err
    record(maker, node)
    assert "cannot be reached" not in capsys.readouterr().err, "said a moment ago"
    (folder,) = runs(tmp_path)
    assert "0.75" in records(folder)
    assert not kept_journals(maker.store.root)


def test_a_continued_offline_run_is_one_run_with_every_step(tmp_path):
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", tracked(tmp_path, "wandb"))
    killed_after(maker, node, (1, 2, 3))
    with construction(node, maker.graph, maker.store, inputs={}) as build, stage_tracker(build) as tracker:
        for step in (3, 4):
            tracker.log({"train/loss": 1.0}, step=step)
    (folder,) = runs(tmp_path)
    steps = [int(step) for step in re.findall(r'"_step":"?(\d+)', records(folder, "--json").replace(" ", ""))]
    assert sorted(set(steps)) == [1, 2, 3, 4]


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_the_environments_wandb_mode_wins(tmp_path, monkeypatch, mode):
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    monkeypatch.setenv("WANDB_MODE", mode)
    maker = puller(tmp_path)
    record(maker, maker.graph.resolve("draw", tracked(tmp_path, "wandb", mode="online")))
    assert len(runs(tmp_path)) == (mode == "offline")


def test_a_server_that_never_answers_is_not_waited_for(silent_server, closed_port):
    started = time.monotonic()
    assert unanswered(silent_server, patience=0.4).startswith(f"{silent_server}: ")
    assert time.monotonic() - started < 3 and "refused" in unanswered(closed_port)


def test_a_hub_that_never_answers_is_refused_in_seconds(silent_server, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", silent_server)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("pipeline.data.sources.hub.PATIENCE", 0.4)
    started = time.monotonic()
    with pytest.raises(SourceUnavailable, match=f"cannot be had .*{silent_server}"):
        load_hub(HubConfig(id="nobody/nothing", revision="0" * 40), "image", tmp_path)
    assert time.monotonic() - started < 5
    assert not huggingface_hub.constants.HF_HUB_OFFLINE, "put back"


def test_any_answer_of_a_server_counts():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert unanswered(f"http://127.0.0.1:{listening.getsockname()[1]}") is None
        thread.join()


def test_a_journal_survives_a_cut_line_and_forgets_later_steps(tmp_path):
    journal = Journal(tmp_path / "journal")
    for step in (1, 2, 3):
        journal.append(Entry("log", step, content={"loss": float(step)}))
    journal.append(Entry("histogram", 3, "weights", data=np.arange(3.0)))
    journal.delivered = 3
    with (tmp_path / "journal" / "entries.jsonl").open("a") as stream:
        stream.write('{"kind": "log", "st')
    again = Journal(tmp_path / "journal")
    again.append(Entry("log", 4, content={"loss": 4.0}))
    assert [entry.step for entry in Journal(tmp_path / "journal").entries()] == [1, 2, 3, 3, 4]
    assert again.entries()[3].data.tolist() == [0.0, 1.0, 2.0]
    again.cut(3)
    assert len(Journal(tmp_path / "journal")) == 2 == again.delivered


def test_sync_needs_a_tracker(tmp_path):
    overrides = ["stage=sync", "data=parabola", f"paths.store={tmp_path}"]
    from pipeline.engine.cells import compose_run

    config = compose_run(tuple(overrides))
    with pytest.raises(UserError, match="stage=sync needs the tracker that it sends to, such as logging="):
        execute(config, overrides)
    tensorboard = dataclasses.replace(config, logging=dataclasses.replace(config.logging, tracker="tensorboard"))
    execute(tensorboard, overrides)
