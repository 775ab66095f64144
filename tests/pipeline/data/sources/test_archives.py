"""Archives are pinned by content: fetched once, verified always, never accepted with other bytes."""

import dataclasses
import hashlib
import io
import lzma
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.data.errors import ContentMismatch, DataError, SourceUnavailable
from pipeline.data.sources import archives
from pipeline.data.sources.archives import cached_path, fetch, sha256_of
from pipeline.data.sources.pins import Archive
from pipeline.data.sources.unpack import ar_members, read_members


def tar_bytes(files, mode="w"):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as opened:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def deb_bytes(files):
    """A Debian package by its published layout: an ar archive of a version, a control and a data member."""
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": lzma.compress(tar_bytes({"./control": b"x"})),
        "data.tar.xz": lzma.compress(tar_bytes(files)),
    }
    packed = b"!<arch>\n"
    for name, content in members.items():
        packed += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        packed += b"\n" * (len(content) % 2)
    return packed


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """A pinned Debian package at a file address, on a machine without apt."""
    monkeypatch.setattr(archives.shutil, "which", lambda name: None)
    origin = tmp_path / "origin.deb"
    origin.write_bytes(deb_bytes({"./usr/share/a.gz": b"rows", "./usr/share/b.txt": b"other"}))
    sha256 = hashlib.sha256(origin.read_bytes()).hexdigest()
    return Archive("made-up", "1.0", "deb", "made-up_1.0_all.deb", sha256, 0.1, "none", origin.as_uri())


def test_a_debian_package_is_fetched_without_apt_and_unpacked_in_python(pinned, tmp_path):
    path = fetch(pinned, tmp_path / "cache")
    assert path == cached_path(pinned, tmp_path / "cache")
    assert read_members(path, ["*.gz"]) == {"./usr/share/a.gz": b"rows"}


def test_a_second_fetch_reads_the_cache_only(pinned, tmp_path):
    path = fetch(pinned, tmp_path / "cache")
    (tmp_path / "origin.deb").unlink()
    assert fetch(pinned, tmp_path / "cache") == path
    assert sorted(entry.name for entry in (tmp_path / "cache").iterdir()) == ["archives"]


def test_what_a_killed_fetch_left_is_gone_after_the_next_one(pinned, tmp_path):
    left = tmp_path / "cache" / f"{archives.FETCHING}{pinned.filename}"
    (left / "state").mkdir(parents=True)
    (left / pinned.filename).write_bytes(b"half of it")
    left.with_name(f"{left.name}.lock").write_text("{}")
    fetch(pinned, tmp_path / "cache")
    assert sorted(entry.name for entry in (tmp_path / "cache").iterdir()) == ["archives"]


def test_a_client_that_is_interrupted_leaves_nothing(pinned, tmp_path, monkeypatch):
    def interrupted(archive, scratch):
        (scratch / "half").write_bytes(b"x")
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "_ways", lambda archive: [interrupted])
    with pytest.raises(KeyboardInterrupt):
        fetch(pinned, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_corrupted_cache_byte_is_refused_removed_and_fetched_on_the_next_request(pinned, tmp_path):
    path = fetch(pinned, tmp_path / "cache")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ContentMismatch, match=f"damaged: expected sha256 {pinned.sha256}, got") as refused:
        fetch(pinned, tmp_path / "cache")
    assert str(path) in str(refused.value) and not path.exists()
    assert fetch(pinned, tmp_path / "cache").read_bytes() == (tmp_path / "origin.deb").read_bytes()


def test_other_content_at_the_source_is_never_accepted(pinned, tmp_path):
    (tmp_path / "origin.deb").write_bytes(b"something else")
    with pytest.raises(SourceUnavailable, match="other content: expected sha256") as refused:
        fetch(pinned, tmp_path / "cache")
    assert "data.source=path" in str(refused.value) and "apt-get: not on this machine" in str(refused.value)
    assert list((tmp_path / "cache").iterdir()) == []


SETUP = "from pathlib import Path\nPath({marker!r}).touch()\nfrom setuptools import setup\nsetup(name='evil')\n"


@pytest.fixture
def only_folder(tmp_path, monkeypatch):
    """A folder that is all that pip knows."""
    links = tmp_path / "links"
    links.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(links), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return links


def test_fetching_a_source_distribution_runs_nothing_of_it(tmp_path, only_folder):
    marker = tmp_path / "setup-was-run"
    files = {"evil-1.0/setup.py": SETUP.format(marker=str(marker)).encode(), "evil-1.0/rows.csv": b"1"}
    (only_folder / "evil-1.0.tar.gz").write_bytes(tar_bytes(files, "w:gz"))
    sha256 = sha256_of(only_folder / "evil-1.0.tar.gz")
    path = fetch(Archive("evil", "1.0", "sdist", "evil-1.0.tar.gz", sha256, 0.1, "none"), tmp_path / "cache")
    assert read_members(path, ["*.csv"]) == {"evil-1.0/rows.csv": b"1"}
    assert not marker.exists()


def test_what_pip_does_not_find_and_what_has_other_content_are_told_apart(tmp_path, only_folder):
    (only_folder / "made_up-1.0-py3-none-any.whl").write_bytes(b"something else")
    wheel = Archive("made-up", "1.0", "wheel", "made_up-1.0-py3-none-any.whl", "0" * 64, 0.1, "none")
    with pytest.raises(SourceUnavailable, match="other content: expected sha256 000"):
        fetch(wheel, tmp_path)
    with pytest.raises(SourceUnavailable, match="pip: no index or folder that pip knows holds made_up-2"):
        fetch(dataclasses.replace(wheel, filename="made_up-2.0-py3-none-any.whl"), tmp_path)


def test_wheels_and_tars_are_read_by_pattern(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as opened:
        opened.writestr("pkg/data/x.csv", "1")
        opened.writestr("pkg/code.py", "2")
    assert read_members(tmp_path / "a.whl", ["*/data/*.csv"]) == {"pkg/data/x.csv": b"1"}
    (tmp_path / "a.tar.gz").write_bytes(tar_bytes({"pkg/y.txt": b"3"}, "w:gz"))
    assert read_members(tmp_path / "a.tar.gz", ["*.txt"]) == {"pkg/y.txt": b"3"}


def test_missing_members_and_damaged_archives_are_named(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_bytes({"y": b"3"}))
    with pytest.raises(DataError, match="holds no file like"):
        read_members(tmp_path / "a.tar", ["*.csv"])
    (tmp_path / "cut.tar.gz").write_bytes(tar_bytes({"y": b"3" * 5000}, "w:gz")[:40])
    with pytest.raises(DataError, match="cut.tar.gz is damaged: Compressed file ended"):
        read_members(tmp_path / "cut.tar.gz", ["*"])
    (tmp_path / "b.bin").write_bytes(b"nothing")
    with pytest.raises(DataError, match="neither a zip, a tar nor a Debian package"):
        read_members(tmp_path / "b.bin", ["*"])
    with pytest.raises(DataError, match="magic"):
        ar_members(b"nothing")
    with pytest.raises(DataError, match="damaged ar header at byte 8"):
        ar_members(b"!<arch>\n" + b" " * 60)
    for size, words in (("xx", "damaged ar header at byte 8"), ("9999", "ends within its member data.tar: 9999 bytes")):
        with pytest.raises(DataError, match=words):
            ar_members(f"!<arch>\n{'data.tar':<48}{size:<10}`\nabc".encode())


def test_concurrent_jobs_fetch_one_intact_file(pinned, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: fetch(pinned, tmp_path / "cache"), range(8)))
    assert len(paths) == 1 and sha256_of(paths.pop()) == pinned.sha256
    assert sorted(entry.name for entry in (tmp_path / "cache").iterdir()) == ["archives"]
