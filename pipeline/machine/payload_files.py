"""Files of a finished artifact against its manifest: which ones count, and whether each is what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.machine.content_digest import file_sha256
from pipeline.machine.scratch import SCRATCH

MANIFEST, PROVENANCE = "manifest.json", "provenance.json"
OUTSIDE = {MANIFEST, PROVENANCE}
OUTSIDE_FOLDERS = {"logs", SCRATCH}
MAY_NOT_READ = "may not be read by this user"


def payload_files(folder: Path) -> list[str]:
    """Relative names of the files that a manifest lists, sorted."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(name) for name in names if str(name) not in OUTSIDE and name.parts[0] not in OUTSIDE_FOLDERS)


def file_problem(path: Path, expected: Mapping[str, Any]) -> str | None:
    """Say how a payload file differs from its entry in a manifest; None where it does not.

    Raises
    ------
    UserError
        If this user may not read it, which is no damage.
    """
    try:
        size = path.stat().st_size
        if size != expected["bytes"]:
            return f"has {size} bytes, its manifest says {expected['bytes']}"
        found = file_sha256(path)
    except FileNotFoundError:
        return "is missing"
    except PermissionError as error:
        raise UserError(not_readable(path)) from error
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if found != expected["sha256"]:
        return f"has sha256 {found[:12]}…, its manifest says {expected['sha256'][:12]}…"
    return None


def not_readable(path: Path) -> str:
    """Say who can let this user read a file of a shared store."""
    try:
        owner = path.owner()
    except (OSError, KeyError):
        owner = "its owner"
    return f"{path} {MAY_NOT_READ}. Ask {owner} for: chmod -R g+rX {path.parent}"


def lists_files(files: Any) -> bool:
    """Whether a manifest's ``files`` has the form that :func:`complete` writes."""
    return isinstance(files, dict) and all(
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and isinstance(entry.get("bytes"), int)
        for entry in files.values()
    )
