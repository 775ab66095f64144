"""``rebuild=`` makes an artifact and what rests on it again; the old ones stay until the new ones are complete."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.engine import replacement
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import construction
from pipeline.engine.rebuild import SWEEP, Rebuild, typed_words
from pipeline.engine.status import rows_of
from pipeline.errors import CorruptArtifact, MissingUpstream, UserError
from pipeline.hydra_callbacks import SweepChecks
from pipeline.machine.owner_lock import HeldLock
from tests.pipeline.test_store import payload, pull, puller, run_config, runs
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
    return sorted(str(path.relative_to(tmp_path / "store")) for path in (tmp_path / "store").glob("*/*/*"))


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
    assert not list((tmp_path / "store").glob(".rebuild*")), "a refused request leaves nothing"
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
    maker = puller(tmp_path)
    (row,) = rows_of([maker.graph.resolve("draw", run_config())], maker.store)
    assert (row.state, row.note) == ("done", "its rebuild failed: ValueError: out of luck")


def test_an_upstream_folder_that_is_gone_is_said(tmp_path, toy, capsys):
    square = pull(tmp_path, "square", run_config())
    draw = next((tmp_path / "store" / "draw").glob("*/*"))
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


def test_a_damaged_gather_of_fewer_cells_is_rebuilt_by_its_key(tmp_path, toy):
    config = run_config(cells={"seed": [0, 13]})
    fewer = pull(tmp_path, "total", config, allow_missing=1)
    (fewer.folder / "total.parquet").write_bytes(b"damaged")
    with pytest.raises(
        CorruptArtifact, match=rf"add rebuild=\[{fewer.key}\] to the command.*stage=total allow_missing=1 'rebuild="
    ):
        pull(tmp_path, "total", config, allow_missing=1)
    pull(tmp_path, "total", config, allow_missing=1, rebuild={fewer.key}).verify()
    assert made(toy)[2] == 2


# --- kills ---------------------------------------------------------------------------------------------------------


def child(work) -> int:
    """Start a process that does some work; fork, since importing everything anew takes seconds."""
    if pid := os.fork():
        return pid
    try:
        work()
        os._exit(0)
    except BaseException:
        os._exit(1)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(attribute, when=lambda path: True):
    """Kill the process where a module or class would do something to a path."""

    def patch():
        place, name = attribute
        real = getattr(place, name)
        setattr(place, name, lambda path, *rest, **more: die() if when(path) else real(path, *rest, **more))

    return patch


MOMENTS = {
    "while it is made": (lambda: os.environ.update(TOY_KILL="draw4"), True),
    "before the exchange": (_die_at((replacement, "_exchange")), True),
    "while the old one is deleted": (
        _die_at((replacement.shutil, "rmtree"), lambda path: path.suffix == ".replaced"),
        True,
    ),
    "before two renames": (_die_at((Path, "rename"), lambda path: path.suffix != ".json"), False),
    "between two renames": (_die_at((Path, "rename"), lambda path: path.suffix == ".partial"), False),
}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_one(tmp_path, toy, monkeypatch, moment):
    good = payload(pull(tmp_path, "square", run_config()))
    patch, exchange = MOMENTS[moment]
    if not exchange:
        monkeypatch.setattr(replacement, "_exchange", lambda one, other: False)

    def killed():
        patch()
        pull(tmp_path, "square", run_config(), rebuild={"draw"})

    assert ended(child(killed)) == -signal.SIGKILL
    assert payload(pull(tmp_path, "square", run_config())) == good, "the plain command still works"
    pull(tmp_path, "square", run_config(), rebuild={"draw"})
    assert {(name.split("/")[0], name.split("/")[2][:4]) for name in folders(tmp_path)} == {
        ("draw", "toy-"),
        ("square", "toy-"),
    }
    assert not [name for name in folders(tmp_path) if re.search(r"\.[a-z]", name)], "nothing is left over"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_kill_between_the_final_name_and_the_end_of_the_lock_leaves_no_lock(tmp_path, toy, monkeypatch):
    def killed():
        monkeypatch.setattr(HeldLock, "release", die)
        pull(tmp_path, "draw", run_config())

    assert ended(child(killed)) == -signal.SIGKILL
    (done,) = (name for name in folders(tmp_path) if not name.endswith(".lock"))
    assert f"{done}.lock" in folders(tmp_path), "the artifact is finished, and its lock lies beside it"
    assert made(toy)[0] == 1
    pull(tmp_path, "draw", run_config())
    assert folders(tmp_path) == [done] and made(toy)[0] == 1


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


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_that_rebuild_one_store_at_once_all_end_well(tmp_path, toy, monkeypatch):
    good = payload(pull(tmp_path, "square", run_config()))
    monkeypatch.setenv("TOY_SLEEP", "0.02")
    pids = [child(lambda: pull(tmp_path, "square", run_config(), rebuild={"draw"})) for _ in range(4)]
    assert [ended(pid) for pid in pids] == [0] * 4
    assert payload(pull(tmp_path, "square", run_config())) == good
    assert not [name for name in folders(tmp_path) if re.search(r"\.[a-z]", name)]


def test_provenance_that_cannot_be_read_does_not_pass_for_a_finished_rebuild(tmp_path, toy):
    draw = pull(tmp_path, "draw", run_config())
    record = json.loads((draw.folder / "provenance.json").read_text())
    (draw.folder / "provenance.json").write_text(json.dumps({**record, "rebuild": 7}))
    pull(tmp_path, "draw", run_config(), rebuild={"draw"})
    assert made(toy) == (2, 0, 0)
    assert os.listdir(draw.folder.parent) == [draw.folder.name]


def test_the_words_are_taken_as_typed_since_some_keys_look_like_numbers():
    for typed in ("[12e456789012,train]", "['12e456789012', \"train\"]"):
        assert typed_words(["inf", "train"], ["seed=1", f"rebuild={typed}"]) == {"12e456789012", "train"}
    assert typed_words(["train"], ["seed=1"]) == {"train"}


def test_all_jobs_of_a_sweep_have_one_mark_and_another_sweep_another(monkeypatch):
    config = OmegaConf.create({"hydra": {"launcher": {}}, "hardware": {"devices": 1}})
    marks = []
    for _ in range(2):
        SweepChecks().on_multirun_start(config)
        marks.append(os.environ[SWEEP])
        SweepChecks().on_multirun_end(config)
        assert SWEEP not in os.environ
    assert marks[0] != marks[1]
