"""Names stay inside the store, and path settings name folders that can be used, each refusal in one sentence."""

import os
from pathlib import Path

import pytest

from pipeline.checks.folders import folder_problems, name_problems
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Store
from pipeline.errors import UserError
from pipeline.machine.folders import folders_of, user_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../../escaped", "holds a slash"),
        ("/tmp/x", "holds a slash"),
        ("a\\b", "holds a slash"),
        ("..", "begins with a dot"),
        (".hidden", "begins with a dot"),
        ("", "is empty"),
        (" ", "is empty"),
        ("a\nb", "holds a control character"),
        ("a\0b", "holds a control character"),
        ("é" * 51, "is longer than 100 bytes"),
        ("\udcff", "is not text"),
    ],
)
def test_a_name_that_would_leave_the_store_is_refused(name, words):
    config = RunConfig(experiment_name=name)
    (found,) = name_problems(config)
    assert found.startswith("experiment_name=") and words in found
    config = RunConfig()
    config.data.name = name
    (found,) = name_problems(config)
    assert found.startswith("data.name=") and words in found
    config = RunConfig()
    config.data.path.extra = {name: "rows.parquet"}
    (found,) = name_problems(config)
    assert found.startswith("data.path.extra, split") and words in found
    config = RunConfig()
    config.data.hub.splits = {name: "train"}
    (found,) = name_problems(config)
    assert words in found


@pytest.mark.parametrize(
    "name", ["prüfung 1", "we ird=dir, (1) [x] é'q label=1", "a.b", "-x", "über", "日本", "[/red] [bold", "a/b"]
)
def test_odd_but_harmless_names_pass(name):
    config = RunConfig(experiment_name=name)
    config.data.name = name
    assert not list(name_problems(config))


def test_a_cell_cannot_leave_the_store_either(tmp_path):
    with pytest.raises(UserError, match="would leave the store"):
        Store(tmp_path).folder("train", "../../x", "0123456789ab")


def stored(text: str) -> list[str]:
    config = RunConfig()
    config.paths.store = text
    return list(folder_problems(config))


def test_a_store_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "broken").symlink_to("/nonexistent/place")
    (tmp_path / "link").symlink_to(tmp_path)
    assert "is a file, not a folder" in stored(str(tmp_path / "file"))[0]
    assert "is a file, not a folder" in stored(str(tmp_path / "file" / "below"))[0]
    assert "is a link to /nonexistent/place, which does not exist" in stored(str(tmp_path / "broken"))[0]
    assert "which does not exist" in stored(str(tmp_path / "broken" / "below"))[0]
    assert not stored(str(tmp_path / "link" / "new" / "folder")) and not stored("artifacts")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("$HOME/x", "only a shell replaces"),
        ("${SCRATCH}/x", "only a shell replaces"),
        ("a/$USER", "only a shell replaces"),
        ("~nobody-of-this-name/x", "home folder that does not exist"),
        ("a\tb", "control character"),
    ],
)
def test_a_path_is_taken_as_it_is_meant_or_refused(text, words):
    assert words in stored(text)[0]
    config = RunConfig()
    config.data.path.train = text
    assert words in next(folder_problems(config))


def test_a_tilde_is_the_home_folder_in_every_path_setting(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert user_path("~/store") == Path("/home/somebody/store")
    config = RunConfig()
    config.paths.store = config.paths.cache = config.paths.scratch = config.logging.folder = "~/x"
    assert set(folders_of(config).values()) == {Path("/home/somebody/x")}
    assert user_path("a$b") == Path("a$b") and not stored("price$")
    with pytest.raises(UserError, match="no such home folder"):
        user_path("~nobody-of-this-name/x")
    assert os.sep in str(user_path("~/x"))


@pytest.mark.parametrize("place", ["/proc/store", "/sys/x/y", "/dev/store", "/dev/shm/../store", "/proc/self/fd/x"])
def test_a_folder_of_the_operating_system_is_none_of_ours(place):
    config = RunConfig()
    for section, name in ((config.paths, "store"), (config.paths, "scratch"), (config.paths, "cache")):
        setattr(section, name, place)
        (found,) = folder_problems(config)
        assert "belongs to the operating system and keeps no files; name another." in found, name
        setattr(section, name, "/dev/shm/mine")
        assert not list(folder_problems(config))
