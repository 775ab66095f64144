"""A lock of a dead colleague is free, a held one is waited for, and a link in its place is never written through."""

import errno
import fcntl
import json
import os
import stat
import threading

import pytest

from pipeline.errors import UserError
from pipeline.machine import owner_lock as locks
from pipeline.machine.owner_lock import current_owner, folder_lock, owner_lock


@pytest.fixture(params=[0o002, 0o022])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_lock_file_has_the_mode_of_the_umask(tmp_path, umask):
    path = tmp_path / "a.lock"
    with owner_lock(path, print) as lock:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
        assert current_owner(path)["pid"] == os.getpid() and not lock.lost()
    assert not path.exists() and current_owner(path) is None


def test_a_dead_colleagues_file_that_may_not_be_written_is_taken_over(tmp_path, monkeypatch):
    path = tmp_path / "a.lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    before = path.stat().st_ino
    keep = open(path)  # so that the new file cannot get the old one's number
    real = os.open

    def foreign(name, flags, *rest):  # the superuser of a test may write to everything
        if os.fspath(name) == os.fspath(path) and flags & os.O_RDWR and os.path.exists(name):
            if os.stat(name).st_ino == before:
                raise PermissionError(errno.EACCES, "Permission denied", name)
        return real(name, flags, *rest)

    monkeypatch.setattr(os, "open", foreign)
    with owner_lock(path, print, poll_seconds=0.01):
        assert path.stat().st_ino != before
        assert current_owner(path)["pid"] == os.getpid()
    keep.close()


def test_a_lock_that_may_neither_be_written_nor_removed_is_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "a.lock"
    path.write_text("")
    real = os.open

    def foreign(name, flags, *rest):
        if os.fspath(name) == os.fspath(path):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return real(name, flags, *rest)

    monkeypatch.setattr(os, "open", foreign)
    with pytest.raises(UserError, match="lock of another user's process.*ask its owner to delete the file"):
        with owner_lock(path, print):
            pass
    assert current_owner(path) == {}  # unknown, so it counts as held


@pytest.mark.parametrize("odd", ["link", "folder"])
def test_a_link_or_folder_in_its_place_is_refused(tmp_path, odd):
    path, victim = tmp_path / "a.lock", tmp_path / "victim"
    victim.write_text("years of work")
    path.symlink_to(victim) if odd == "link" else path.mkdir()
    with pytest.raises(UserError, match="it is a link or a folder: delete it"):
        with owner_lock(path, print):
            pass
    assert victim.read_text() == "years of work"


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b"{", bytes(300), b"[" * 100_000])
def test_a_damaged_record_stops_nobody(tmp_path, content):
    path = tmp_path / "a.lock"
    path.write_bytes(content)
    assert current_owner(path) is None
    with open(path) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert current_owner(path) == {}
    with owner_lock(path, print):
        pass


def test_a_lock_that_was_cleaned_away_is_noticed_and_the_next_owners_is_left(tmp_path):
    path = tmp_path / "a.lock"
    with owner_lock(path, print) as lock:
        path.unlink()
        path.write_text("of another process")
        assert lock.lost()
    assert path.read_text() == "of another process"


def test_a_folder_without_lock_file_lets_no_second_process_in(tmp_path):
    said, entered = [], threading.Event()

    def second():
        with folder_lock(tmp_path, said.append, poll_seconds=0.01) as locked:
            assert locked
            entered.set()

    with folder_lock(tmp_path, said.append) as locked:
        assert locked
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.1)
    assert entered.wait(5) and "still at work in it" in said[0]
    thread.join()


def test_a_wait_for_another_machine_ends_in_what_to_do(tmp_path, monkeypatch):
    path, said = tmp_path / "a.lock", []
    monkeypatch.setattr(locks, "_PATIENCE", 0.0)
    held = open(path, "w")
    fcntl.flock(held, fcntl.LOCK_EX)
    held.write(json.dumps({"host": "elsewhere", "pid": 7}))
    held.flush()
    waiting = locks._Waiting(path, said.append)
    waiting.tell()
    waiting.tell()
    assert said == [
        "waiting for process 7 on elsewhere, which is making a",
        f"still waiting: if elsewhere is gone for good and the file server keeps its lock, delete {path}, and this "
        "process goes on",
    ]
    held.close()


def test_a_file_system_without_locks_has_no_owners(tmp_path, monkeypatch):
    path = tmp_path / "a.lock"
    path.write_text("{}")

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert current_owner(path) is None
    with folder_lock(tmp_path, print) as locked:
        assert not locked
