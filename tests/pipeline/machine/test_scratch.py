"""Scratch elsewhere is shared by stores without meeting, and no planted link makes us write or delete elsewhere."""

import os
import shutil

import pytest

from pipeline.engine.artifacts import open_partial, partial_of
from pipeline.errors import UserError
from pipeline.machine.deletion import remove, remove_strangers
from pipeline.machine.scratch import SCRATCH, belongs_to, drop_scratch, open_scratch


@pytest.fixture
def victim(tmp_path):
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    yield folder
    assert (folder / "thesis.tex").read_text() == "years of work"
    assert sorted(path.name for path in folder.iterdir()) == ["thesis.tex"]


def test_two_stores_share_scratch_without_meeting(tmp_path):
    shared = tmp_path / "scratch"
    partials = [tmp_path / store / "train" / "toy-0.partial" for store in ("one", "two")]
    for partial in partials:
        partial.mkdir(parents=True)
        (open_scratch(partial, shared) / "tile").write_text(str(partial))
    for partial in partials:
        assert (open_scratch(partial, shared) / "tile").read_text() == str(partial)
        assert belongs_to((partial / SCRATCH).resolve()) == partial
    drop_scratch(partials[0])
    assert (partials[1] / SCRATCH / "tile").exists()
    drop_scratch(partials[1])
    assert not [path for path in shared.rglob("*") if path.is_file()]


def test_a_planted_link_is_removed_and_its_goal_left(tmp_path, victim, capsys):
    folder = tmp_path / "train" / "toy-0"
    partial_of(folder).mkdir(parents=True)
    (partial_of(folder) / SCRATCH).symlink_to(victim)
    partial = open_partial(folder)
    assert not (partial / SCRATCH).is_symlink()
    assert "was not made for it" in capsys.readouterr().err
    (partial / SCRATCH).rmdir()
    (partial / SCRATCH).symlink_to(victim)  # planted while the stage ran
    drop_scratch(partial)
    assert not (partial / SCRATCH).is_symlink()


def test_a_link_to_the_scratch_of_another_artifact_is_not_followed(tmp_path):
    one, two = (tmp_path / "store" / "train" / f"toy-{i}.partial" for i in range(2))
    for partial in (one, two):
        partial.mkdir(parents=True)
    kept = open_scratch(one, tmp_path / "scratch") / "tile"
    kept.write_text("of one")
    (two / SCRATCH).symlink_to((one / SCRATCH).resolve())
    assert not (open_scratch(two, None) / "tile").exists()
    drop_scratch(two)
    assert kept.read_text() == "of one"


def test_a_construction_folder_that_is_a_link_is_replaced(tmp_path, victim):
    folder = tmp_path / "train" / "toy-0"
    folder.parent.mkdir()
    partial_of(folder).symlink_to(victim)
    partial = open_partial(folder)
    assert partial.is_dir() and not partial.is_symlink()


def test_a_stage_folder_of_scratch_that_leads_elsewhere_is_refused(tmp_path, victim):
    shared = tmp_path / "scratch"
    shared.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (shared / "train").symlink_to(outside)
    partial = tmp_path / "train" / "toy-0.partial"
    partial.mkdir(parents=True)
    with pytest.raises(UserError, match="leads to another folder"):
        open_scratch(partial, shared)


def test_odd_things_in_a_left_construction_folder_go_and_links_in_scratch_too(tmp_path, victim):
    folder = tmp_path / "train" / "toy-0"
    partial = open_partial(folder)
    (partial / "weights.safetensors").mkdir()
    os.mkfifo(partial / "pipe")
    (partial / "link").symlink_to(victim)
    (partial / "loop").symlink_to(partial / "loop")
    (partial / SCRATCH / "progress.writing").symlink_to(victim / "thesis.tex")
    (partial / SCRATCH / "inner").mkdir()
    (partial / SCRATCH / "inner" / "steps").symlink_to(victim)
    (partial / SCRATCH / "tile").write_text("kept")
    open_partial(folder)
    assert sorted(path.name for path in partial.iterdir()) == ["logs", SCRATCH]
    assert sorted(path.name for path in (partial / SCRATCH).rglob("*")) == ["inner", "tile"]


def test_a_folder_in_the_place_of_a_record_is_removed(tmp_path):
    (tmp_path / "toy-0.partial" / SCRATCH / "progress.json").mkdir(parents=True)
    assert not any(open_scratch(tmp_path / "toy-0.partial", None).iterdir())


def test_a_scratch_that_is_a_file_is_replaced(tmp_path):
    partial = tmp_path / "toy-0.partial"
    partial.mkdir()
    (partial / SCRATCH).write_text("")
    assert open_scratch(partial, None).is_dir()


def test_deletion_never_follows_a_link(tmp_path, victim):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "link").symlink_to(victim)
    os.mkfifo(folder / "inner" / "pipe")
    (tmp_path / "direct").symlink_to(victim)
    remove(tmp_path / "direct")
    remove(tmp_path / "absent")
    remove_strangers(folder)
    assert not any((folder / "inner").iterdir())
    (folder / "inner" / "link").symlink_to(victim)
    remove(folder)
    assert not folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
