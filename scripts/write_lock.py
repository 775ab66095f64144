"""Write the SHA-256 of every file of every pinned version into ``requirements.lock``: ``python -m scripts.write_lock``.

Run it after changing a pin. The hashes are those that the package index tells pip, for every platform and every
version of Python, so that one lock holds for all of them; a version of Python for which a pin has no file is an error.
torch has no line: which of its builds is right depends on the machine (``scripts/install_torch.py``).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from packaging.tags import Tag, cpython_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
PYTHONS = ((3, 11), (3, 13))
HEADER = """\
# Every version that the tests ran with, with the hashes of its files. torch, whose build depends on the machine, is
# installed by `make` (scripts/install_torch.py). Written by `python -m scripts.write_lock`.
"""


def pins(text: str) -> list[tuple[str, str]]:
    """Read names and versions of a lock."""
    return re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE)


def read_name(filename: str) -> tuple[str, str, frozenset[Tag] | None] | None:
    """Read name, version and tags of a file of an index; tags are None for a source distribution."""
    try:
        if filename.endswith(".whl"):
            name, version, _, tags = parse_wheel_filename(filename)
            return name, str(version), tags
        name, version = parse_sdist_filename(filename)
        return name, str(version), None
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def serves(tags: frozenset[Tag] | None, python: tuple[int, int]) -> bool:
    """Whether a file can be installed on 64-bit Linux under a version of Python."""
    if tags is None:
        return True
    known = {(tag.interpreter, tag.abi) for tag in cpython_tags(python, platforms=["any"])}
    known |= {("py3", "none"), ("py2.py3", "none"), (f"py{python[0]}{python[1]}", "none")}
    fits = (tag for tag in tags if (tag.interpreter, tag.abi) in known)
    return any(tag.platform == "any" or re.fullmatch(r"(many|)linux\w*_x86_64", tag.platform) for tag in fits)


def files_of(collector: Any, name: str) -> list[tuple[str, str]]:
    """Ask pip's indexes for the files of a package: file name and SHA-256."""
    from pip._internal.index.collector import parse_links
    from pip._internal.models.link import Link

    found = []
    for address in collector.search_scope.get_index_urls_locations(name):
        page = collector.fetch_response(Link(address))
        for link in () if page is None else parse_links(page):
            if link.hash_name == "sha256" and link.hash:
                found.append((link.filename, link.hash))
    return found


def locked_line(name: str, version: str, files: list[tuple[str, str]]) -> str:
    """Write one line of the lock.

    Raises
    ------
    SystemExit
        If some version of Python has no file.
    """
    hashes, tags = [], []
    for filename, sha256 in files:
        read = read_name(filename)
        if read is not None and read[0] == canonicalize_name(name) and read[1] == version:
            hashes.append(sha256)
            tags.append(read[2])
    for python in PYTHONS:
        if not any(serves(tag, python) for tag in tags):
            sys.exit(f"{name}=={version} has no file for Python {python[0]}.{python[1]}")
    return " ".join([f"{name}=={version}", *(f"--hash=sha256:{value}" for value in sorted(set(hashes)))])


def main() -> None:
    """Rewrite the lock in place."""
    from pip._internal.commands import create_command

    command: Any = create_command("download")
    options, _ = command.parse_args(["--quiet", "any"])
    with command.main_context():
        collector = command._build_package_finder(options, command.get_default_session(options))._link_collector
        rows = [(name, version) for name, version in pins(LOCK.read_text(encoding="utf-8")) if name != "torch"]
        lines = [locked_line(name, version, files_of(collector, name)) for name, version in rows]
    LOCK.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
