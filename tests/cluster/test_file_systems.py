"""Scratch and store on different file systems; a file system without locks is refused in one sentence."""

import dataclasses
import errno
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from pipeline.engine.artifacts import SCRATCH, open_partial, partial_of
from pipeline.errors import UserError
from tests.pipeline.test_store import payload, pull, run_config
from tests.pipeline.toy_stages import install


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    install(monkeypatch)


@pytest.fixture
def elsewhere(tmp_path):
    """A folder on another file system than the store's."""
    other = Path("/dev/shm")
    if not other.is_dir() or os.stat(other).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no second file system to write to")
    folder = other / f"seedscope-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def scratched(scratch: Path, seed: int = 0):
    config = run_config(seed)
    return dataclasses.replace(config, paths=dataclasses.replace(config.paths, scratch=str(scratch)))


def test_scratch_elsewhere_gives_the_same_artifact_and_leaves_nothing(tmp_path, elsewhere):
    here = pull(tmp_path / "one", "draw", run_config())
    there = pull(tmp_path / "two", "draw", scratched(elsewhere))
    assert payload(here) == payload(there)
    assert not (there.folder / SCRATCH).is_symlink()
    assert not [path for path in elsewhere.rglob("*") if path.is_file()]


def test_scratch_elsewhere_survives_and_a_wiped_one_starts_over(tmp_path, elsewhere):
    folder = tmp_path / "draw" / "toy-0"
    open_partial(folder, elsewhere)
    kept = partial_of(folder) / SCRATCH / "tile"
    kept.write_text("kept")
    open_partial(folder, elsewhere)
    assert kept.read_text() == "kept" and (partial_of(folder) / SCRATCH).is_symlink()
    shutil.rmtree(elsewhere / "draw")
    open_partial(folder)
    assert not (partial_of(folder) / SCRATCH).is_symlink() and not kept.exists()


def test_a_file_system_without_locks_is_one_sentence(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match="has no file locks .* paths.store elsewhere"):
        pull(tmp_path, "draw", run_config())
