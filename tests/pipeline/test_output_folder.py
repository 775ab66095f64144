"""A working folder that cannot be written to stops no command: Hydra's log goes elsewhere, and this is said."""

import os
import shutil

import pytest

from pipeline import output_folder
from pipeline.errors import UserError
from pipeline.output_folder import usable_outputs, with_usable_outputs


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A working folder to which this process may not write, also if it is the superuser's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(tmp_path).startswith(str(path)))
    monkeypatch.setattr(output_folder.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_that_can_be_written_to_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert usable_outputs(["stage=train", f"hydra.run.dir={tmp_path}/x"]) == []
    assert list(tmp_path.iterdir()) == []


def test_the_log_goes_elsewhere_and_this_is_said(read_only, capsys):
    run, sweep = usable_outputs(["stage=train"])
    assert run.startswith("hydra.run.dir='") and sweep.startswith("hydra.sweep.dir='")
    assert "cannot be written to: Hydra's log of this command is in" in capsys.readouterr().err


def test_a_command_that_only_looks_says_and_leaves_nothing(read_only, capsys, monkeypatch):
    ends = []
    monkeypatch.setattr(output_folder.atexit, "register", lambda *call, **options: ends.append(call))
    assert len(usable_outputs(["stage=status"])) == 2
    assert capsys.readouterr().err == ""
    assert ends[0][0] is shutil.rmtree


def test_the_moved_folders_stand_beside_the_commands_own_settings(read_only):
    words = with_usable_outputs(["--config-name", "config", "stage=train", "seed=1"])
    assert words[:2] == ["--config-name", "config"] and words[4:] == ["stage=train", "seed=1"]
    assert [word.split("=")[0] for word in words[2:4]] == ["hydra.run.dir", "hydra.sweep.dir"]
    assert with_usable_outputs(["stage=train", "--cfg", "job"]) == ["stage=train", "--cfg", "job"]


def test_a_folder_that_the_command_names_is_refused_in_one_sentence(read_only):
    with pytest.raises(UserError, match="Cannot write to mine. Set hydra.run.dir"):
        usable_outputs(["hydra.run.dir=mine"])


def test_outputs_of_somebody_else_are_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").write_text("a file")
    (only,) = usable_outputs(["stage=train"])
    assert only.startswith("hydra.run.dir='")
    shutil.rmtree(only.split("'")[1].split("/outputs/")[0])


def test_a_deleted_working_folder_is_one_sentence(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(UserError, match="working folder was deleted"):
        usable_outputs([])
