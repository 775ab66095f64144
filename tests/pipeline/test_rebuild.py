"""``rebuild=`` makes an artifact and what rests on it again; the old ones stay until the new ones are complete."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.engine import replacement
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import construction
from pipeline.engine.rebuild import SWEEP, Rebuild
from pipeline.errors import CorruptArtifact, MissingUpstream, UserError
from tests.pipeline.test_store import ROOT, payload, pull, puller, run_config, runs
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    install(monkeypatch)
    counts = tmp_path / "counts"
    counts.mkdir()
    monkeypatch.setenv("TOY_COUNTS", str(counts))
    monkeypatch.delenv(SWEEP, raising=False)
    return counts


def made(toy: Path) -> tuple[int, int, int]:
    return runs(toy, "draw"), runs(toy, "square"), runs(toy, "total")


def folders(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path / "store")) for path in (tmp_path / "store").glob("*/*"))


STUDY = {"seed": "0:2"}


def test_a_stage_and_what_rests_on_it_are_rebuilt_and_announced(tmp_path, toy, capsys):
    pull(tmp_path, "total", run_config(cells=STUDY))
    before = folders(tmp_path)
    capsys.readouterr()
    pull(tmp_path, "total", run_config(cells=STUDY), rebuild={"draw"})
    said = capsys.readouterr().err
    assert "to make: 2 draw, 2 square, 1 total" in said and "rebuilt: 2 draw, 2 square, 1 total; the old ones" in said
    assert made(toy) == (4, 4, 2)
    assert folders(tmp_path) == before
    assert not list((tmp_path / "store").glob(".rebuild*"))
    pull(tmp_path, "total", run_config(cells=STUDY), rebuild={"total"})
    assert made(toy) == (4, 4, 3)


def test_a_key_rebuilds_one_cell_and_what_rests_on_it(tmp_path, toy):
    pull(tmp_path, "total", run_config(cells=STUDY))
    maker = puller(tmp_path)
    key = maker.graph.resolve("draw", run_config(1)).key
    pull(tmp_path, "total", run_config(cells=STUDY), rebuild={key})
    assert made(toy) == (3, 3, 2)


def test_without_a_request_nothing_is_made_again(tmp_path, toy):
    pull(tmp_path, "square", run_config(), rebuild={"draw"})
    pull(tmp_path, "square", run_config())
    assert made(toy) == (1, 1, 0)


def test_what_is_no_key_or_stage_of_this_run_is_refused_by_name(tmp_path, toy, monkeypatch, capsys):
    pull(tmp_path, "square", run_config())
    for word, words in (
        ("0123456789ab", r"rebuild=\[0123456789ab\]: no artifact of this run .* Its stages are draw, square"),
        ("spectra", r"rebuild=\[spectra\]: no artifact of this run"),
        ("sqare", r"rebuild=\[sqare\]: neither keys .* nor stages. Stages: prepare"),
    ):
        with pytest.raises(UserError, match=words):
            pull(tmp_path, "square", run_config(), rebuild={word})
    monkeypatch.setenv(SWEEP, "one-sweep")  # whose jobs share one command
    pull(tmp_path, "square", run_config(), rebuild={"0123456789ab"})
    assert "nothing of this run has the key or stage 0123456789ab" in capsys.readouterr().err
    assert made(toy) == (1, 1, 0)


def test_the_jobs_of_a_sweep_rebuild_what_they_share_once(tmp_path, toy, monkeypatch):
    pull(tmp_path, "square", run_config())
    monkeypatch.setenv(SWEEP, "one-sweep")
    for _ in range(2):
        pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert made(toy) == (2, 2, 0)
    monkeypatch.setenv(SWEEP, "another-sweep")
    pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert made(toy) == (3, 3, 0)


def test_nothing_is_touched_that_require_refuses_to_make(tmp_path, toy):
    pull(tmp_path, "square", run_config())
    before = folders(tmp_path)
    with pytest.raises(MissingUpstream, match=r"Nothing was changed.*\n  python run.py .*stage=draw 'rebuild=\["):
        pull(tmp_path, "square", run_config(), rebuild={"draw"}, require=True)
    assert folders(tmp_path) == before and made(toy) == (1, 1, 0)
    pull(tmp_path, "square", run_config(), rebuild={"square"}, require=True)
    assert made(toy) == (1, 2, 0)


def test_a_rebuild_that_fails_leaves_the_old_artifact(tmp_path, toy, monkeypatch):
    old = payload(pull(tmp_path, "draw", run_config()))

    def fail(build):
        raise ValueError("out of luck")

    monkeypatch.setattr("tests.pipeline.toy_stages.draw", fail)
    with pytest.raises(ValueError, match="out of luck"):
        pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert payload(pull(tmp_path, "draw", run_config())) == old


def test_an_upstream_folder_that_is_gone_is_said(tmp_path, toy, capsys):
    square = pull(tmp_path, "square", run_config())
    draw = next((tmp_path / "store" / "draw").iterdir())
    shutil.rmtree(draw)
    capsys.readouterr()
    assert pull(tmp_path, "square", run_config()).folder == square.folder
    said = capsys.readouterr().err
    assert f"1 draw on which existing artifacts rest is gone: draw {draw.name}. To make it again: python run.py" in said
    assert "to make" not in said and made(toy) == (1, 1, 0)
    pull(tmp_path, "square", run_config(), rebuild={"square"})
    assert made(toy) == (2, 2, 0), "a rebuild makes what it needs"


def test_the_remedy_for_a_damaged_artifact_works_as_printed(tmp_path, toy):
    square = pull(tmp_path, "square", run_config())
    good = payload(square)
    (square.folder / "square.safetensors").write_bytes(b"damaged")
    with pytest.raises(CorruptArtifact, match=rf"add rebuild=\[{square.key}\] to the command"):
        Artifact(square.folder).verify()
    again = pull(tmp_path, "square", run_config(), rebuild={square.key})
    again.verify()
    assert payload(again) == good


# --- kills ---------------------------------------------------------------------------------------------------------

KILLED = """
import os, pathlib, signal, pytest
from pipeline.engine import replacement
from tests.pipeline.toy_stages import install
from tests.pipeline.test_store import pull, run_config
install(pytest.MonkeyPatch())
def die(*a, **k): os.kill(os.getpid(), signal.SIGKILL)
{patch}
pull(pathlib.Path({folder!r}), "square", run_config(), rebuild={{"draw"}})
"""


@pytest.mark.parametrize(
    ("patch", "exchange"),
    [
        ("os.environ['TOY_KILL'] = 'draw4'", True),
        ("replacement._exchange = die", True),
        ("replacement.shutil.rmtree = die", True),
        ("replacement._exchange = lambda a, b: False; replacement.Path.rename = die", False),
        (
            "replacement._exchange = lambda a, b: False; move = replacement.Path.rename\n"
            "replacement.Path.rename = lambda a, b: die() if a.name.endswith('.partial') else move(a, b)",
            False,
        ),
    ],
    ids=["while-made", "before-the-exchange", "old-one-half-deleted", "before-two-renames", "between-two-renames"],
)
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_one(tmp_path, toy, monkeypatch, patch, exchange):
    good = payload(pull(tmp_path, "square", run_config()))
    if not exchange:
        monkeypatch.setattr(replacement, "_exchange", lambda one, other: False)
    code = KILLED.format(patch=patch, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert payload(pull(tmp_path, "square", run_config())) == good, "the plain command still works"
    pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert {payload_name.rsplit("-")[0] for payload_name in folders(tmp_path)} == {"draw/toy", "square/toy"}
    assert not [name for name in folders(tmp_path) if "." in name], "nothing is left over"


def test_a_stopped_request_continues_with_what_it_has_not_made(tmp_path, toy, monkeypatch):
    pull(tmp_path, "square", run_config())
    with monkeypatch.context() as patch:
        patch.setattr("tests.pipeline.toy_stages.square", lambda build: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert made(toy) == (2, 1, 0)
    pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert made(toy) == (2, 2, 0), "the draw was already made for this request"
    pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert made(toy) == (3, 3, 0), "and a new request makes it again"


def test_a_rebuild_starts_from_nothing_and_not_from_an_older_attempt(tmp_path, toy):
    maker = puller(tmp_path)
    node = maker.graph.resolve("draw", run_config())
    with pytest.raises(KeyboardInterrupt), construction(node, maker.graph, maker.store, inputs={}) as build:
        (build.scratch / "0.npy").write_bytes(b"of an older attempt")
        raise KeyboardInterrupt
    pull(tmp_path, "draw", run_config(), rebuild={"draw"})
    assert made(toy) == (1, 0, 0)


def test_a_reader_is_told_when_an_artifact_was_rebuilt_under_it(tmp_path):
    reader = pull(tmp_path, "draw", run_config())
    assert reader.manifest
    with construction(
        puller(tmp_path).graph.resolve("draw", run_config()),
        puller(tmp_path).graph,
        puller(tmp_path).store,
        rebuild=Rebuild(frozenset(["draw"]), "other"),
        inputs={},
    ) as build:
        (build.folder / "draws.safetensors").write_bytes(b"other bytes")
    with pytest.raises(UserError, match="was rebuilt by another process while this one read it"):
        reader.path("draws.safetensors")


def test_processes_that_rebuild_one_store_at_once_all_end_well(tmp_path, toy):
    good = payload(pull(tmp_path, "square", run_config()))
    code = KILLED.format(patch="os.environ['TOY_SLEEP'] = '0.02'", folder=str(tmp_path))
    both = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert payload(pull(tmp_path, "square", run_config())) == good
    assert not [name for name in folders(tmp_path) if "." in name]


def test_provenance_that_cannot_be_read_does_not_pass_for_a_finished_rebuild(tmp_path, toy):
    draw = pull(tmp_path, "draw", run_config())
    record = json.loads((draw.folder / "provenance.json").read_text())
    (draw.folder / "provenance.json").write_text(json.dumps({**record, "rebuild": 7}))
    pull(tmp_path, "draw", run_config(), rebuild={"draw"})
    assert made(toy) == (2, 0, 0)
    assert os.listdir(tmp_path / "store" / "draw") == [draw.folder.name]
