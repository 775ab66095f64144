"""Content is told by bytes and names below the folder, and by nothing else."""

import os
import shutil

from pipeline.machine import content_digest
from pipeline.machine.content_digest import cached_sha256, content_of, file_sha256


def test_folders_of_equal_content_are_equal_wherever_they_lie(tmp_path):
    here, there = tmp_path / "here", tmp_path / "elsewhere" / "there"
    here.mkdir()
    (here / "config.json").write_text("{}")
    (here / "weights.bin").write_bytes(b"\0" * 9)
    shutil.copytree(here, there)
    (there / ".cache").mkdir()
    (there / ".cache" / "download.metadata").write_text("when and from where")
    (there / "Thumbs.db").write_bytes(b"what a file manager leaves")
    (there / "link.txt").symlink_to(tmp_path / "gone")
    assert content_of(here) == content_of(there)
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in here.iterdir():
        (linked / path.name).symlink_to(path)
    assert content_of(linked) == content_of(here)
    (there / "weights.bin").rename(there / "other.bin")
    assert content_of(here) != content_of(there)


def test_inner_folders_count_where_they_are_read(tmp_path):
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "inner" / "rows.csv").write_text("1\n")
    (tmp_path / "data" / "inner" / "again").symlink_to(tmp_path / "data")
    flat, deep = content_of(tmp_path / "data"), content_of(tmp_path / "data", deep=True)
    (tmp_path / "data" / "inner" / "rows.csv").write_text("2\n")
    assert content_of(tmp_path / "data") == flat
    assert content_of(tmp_path / "data", deep=True) != deep


def test_a_file_of_the_same_size_and_time_with_other_bytes_is_read_again(tmp_path):
    path = tmp_path / "rows.bin"
    path.write_bytes(b"one")
    stat = path.stat()
    assert cached_sha256(path) == file_sha256(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert cached_sha256(path) == file_sha256(path)


def test_a_file_that_has_settled_is_read_once(tmp_path, monkeypatch):
    path = tmp_path / "rows.bin"
    path.write_bytes(b"one")
    monkeypatch.setattr(content_digest, "_SETTLED_NS", -1)
    digest = cached_sha256(path)
    monkeypatch.setattr(content_digest, "file_sha256", lambda path: "read again")
    assert cached_sha256(path) == digest
    path.write_bytes(b"two!")
    assert cached_sha256(path) == "read again"
