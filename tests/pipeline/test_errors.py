"""What the file system refuses is one sentence that names the file, the setting, and whether reading failed."""

import errno
import os
import re
from pathlib import Path

import pytest

from pipeline.errors import is_refused_by_disk, storage_error

FOLDERS = {
    "paths.store": Path("/data/store"),
    "paths.cache": Path("/data/store/cache"),
    "logging.folder": Path("/home/me/wandb"),
}


def said(number: int, name: str | None = None, folder: str = "/data/store/train/x.partial") -> str:
    error = OSError(number, os.strerror(number), name) if name else OSError(number, os.strerror(number))
    return str(storage_error(error, Path(folder), FOLDERS))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space left while writing /data/store/train/x.partial .* set paths.store to another disk"),
        (errno.EDQUOT, "No space left while writing"),
        (errno.EROFS, "Cannot write to /data/store/train/x.partial .*Set paths.store to a folder"),
        (errno.EACCES, "Cannot write to .*Set paths.store to a folder"),
        (errno.EIO, "The disk below .* fails .Input/output error.*stage=verify names damaged files"),
        (errno.ESTALE, "The file server below .* does not answer .Stale file handle.*mount it again"),
        (errno.ENOTCONN, "The file server below"),
        (errno.ETIMEDOUT, "The file server below"),
        (errno.ENOENT, "was deleted while this process worked in it"),
    ],
)
def test_each_refusal_is_one_sentence(number, words):
    text = said(number)
    assert re.search(words, text) and "\n" not in text


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("/data/store/train/x", "paths.store"),
        ("/data/store/cache/archives", "paths.cache"),
        ("/home/me/wandb/run-1", "logging.folder"),
        ("/home/me/hf/hub/model", "the variable HF_HOME"),
        ("/elsewhere/rows.parquet", "the setting that names it"),
    ],
)
def test_the_setting_is_that_of_the_file_which_failed(monkeypatch, name, setting):
    monkeypatch.setenv("HF_HOME", "/home/me/hf")
    assert f"Set {setting} to a folder" in said(errno.EROFS, name)
    assert f"or set {setting} to another disk" in said(errno.ENOSPC, name)


def test_a_read_failure_is_not_called_a_write_failure(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    path.write_text("")
    monkeypatch.setattr(os, "access", lambda name, mode: False)
    text = said(errno.EACCES, str(path))
    assert "may not be read (Permission denied)" in text and "write" not in text


def test_a_colleague_who_can_share_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setattr(Path, "owner", lambda self: "ada")
    monkeypatch.setattr(Path, "lstat", lambda self: os.stat_result((0o40755, 0, 0, 1, 1234, 0, 0, 0, 0, 0)))
    text = said(errno.EACCES, str(tmp_path / "new"), str(tmp_path))
    assert text.endswith(f"that you can write to, or ask ada for: chmod -R g+rwX {tmp_path}.")


def test_a_cache_that_may_not_be_read_is_not_blamed_on_a_service():
    assert is_refused_by_disk(PermissionError(errno.EACCES, "Permission denied", "/home/me/hf/token"))
    assert not is_refused_by_disk(ConnectionError("no route to the hub"))
    assert not is_refused_by_disk(FileNotFoundError(errno.ENOENT, "No such file", "/home/me/hf/token"))


def test_a_file_where_a_folder_is_needed_is_named():
    assert "/data/store/train cannot be used (Not a directory)" in said(errno.ENOTDIR, "/data/store/train")
    assert "too long a name" in said(errno.ENAMETOOLONG, "/data/store/" + "x" * 300)


def test_numbers_are_found_in_the_messages_of_other_languages(tmp_path):
    error = RuntimeError("Error while serializing: I/O error: Stale file handle (os error 116)")
    assert "does not answer" in str(storage_error(error, tmp_path, FOLDERS))
    error = RuntimeError("[Errno 5] Input/output error")
    assert "The disk below" in str(storage_error(error, tmp_path, FOLDERS))


def test_what_is_not_the_file_systems_fault_is_none(tmp_path):
    assert storage_error(ValueError("bug"), tmp_path, FOLDERS) is None
    assert storage_error(FileNotFoundError(2, "No such file", "x"), tmp_path, FOLDERS) is None
    assert storage_error(OSError("something else"), tmp_path) is None
