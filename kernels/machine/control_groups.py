"""Memory that a container, a batch job or a shell leaves to this process: Linux control groups and address space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

UNLIMITED = 2**60
"""The first version writes "no limit" as a number near 2**63."""
_PIECE = 2**16


@dataclass(frozen=True)
class _Version:
    """File names of one version of the memory controller."""

    limits: tuple[str, ...]
    usage: str
    reclaimable: tuple[str, ...]
    inherited_limit: str | None = None


_V2 = _Version(("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file", "slab_reclaimable"))
_V1 = _Version(
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
    "hierarchical_memory_limit",
)


def group_headroom(root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take before a control group stops or kills it.

    Each group from the process's own one up to the mount counts with its lowest limit (``memory.max`` and
    ``memory.high`` of version 2, ``memory.limit_in_bytes`` of version 1) minus what the group uses; file pages that the
    kernel gives back under pressure do not count as used. The tightest group decides.

    Parameters
    ----------
    root : Path
        Root of the file system; another one in tests.

    Returns
    -------
    int or None
        At least 0; None where no group limits memory, or the machine has no control groups.
    """
    memberships = read_whole(root / "proc/self/cgroup")
    groups = () if memberships is None else _groups(root, memberships)
    rooms = [room for version, folder in groups if (room := _room(folder, version)) is not None]
    return max(min(rooms), 0) if rooms else None


def address_space_headroom(root: Path = Path("/")) -> int | None:
    """Bytes of address space left under ``ulimit -v``, which some schedulers set per job; None without such a limit."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    table = None if limit == resource.RLIM_INFINITY else read_whole(root / "proc/self/statm")
    if table is None:
        return None
    return max(limit - int(table.split()[0]) * resource.getpagesize(), 0)


@lru_cache(maxsize=64)
def _groups(root: Path, memberships: str) -> tuple[tuple[_Version, Path], ...]:
    """Folders of the groups that hold this process, each with the version of its controller, innermost first.

    Where they are mounted is looked up once: the table has hundreds of lines on some machines.
    """
    return tuple(_mounted(root, memberships, read_whole(root / "proc/self/mountinfo") or ""))


def _mounted(root: Path, memberships: str, mounts: str) -> Iterator[tuple[_Version, Path]]:
    own: dict[str, str] = {}
    for line in memberships.splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon:
            continue
        if number == "0" and not controllers:
            own["cgroup2"] = path
        elif "memory" in controllers.split(","):
            own["cgroup"] = path
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.partition(" ")
        if kind not in own or (kind == "cgroup" and "memory" not in options.rsplit(" ", 1)[-1].split(",")):
            continue
        mounted, point = (_unescaped(word) for word in before.split()[3:5])
        top = root / point.lstrip("/")
        # In a container without a name space of its own the path is the host's and the mount shows a part of it.
        inside = Path(own[kind])
        relative = inside.relative_to(mounted) if inside.is_relative_to(mounted) else Path(str(inside).lstrip("/"))
        folder = top / relative
        while not folder.exists() and folder != top:
            folder = folder.parent
        version = _V2 if kind == "cgroup2" else _V1
        yield version, folder
        while folder != top:
            folder = folder.parent
            yield version, folder


def _room(folder: Path, version: _Version) -> int | None:
    """Free bytes of one group; None where it has no limit."""
    found = [read_whole(f"{folder}/{name}") for name in version.limits]
    statistics: str | None = None
    if version.inherited_limit is not None:  # set by an ancestor that a container does not see
        statistics = read_whole(f"{folder}/memory.stat")
        found.append(_amount(statistics, version.inherited_limit))
    limits = [int(limit) for limit in found if limit is not None and limit.strip().isdecimal()]
    limits = [limit for limit in limits if limit < UNLIMITED]
    used = read_whole(f"{folder}/{version.usage}") if limits else None
    if used is None or not used.strip().isdecimal():
        return None
    statistics = statistics or read_whole(f"{folder}/memory.stat")
    given_back = [_amount(statistics, name) for name in version.reclaimable]
    reclaimable = sum(int(amount) for amount in given_back if amount.isdecimal())
    return min(limits) - max(int(used) - reclaimable, 0)


def _amount(statistics: str | None, name: str) -> str:
    """Text behind a name at the beginning of a line, empty without one."""
    _, _, rest = f"\n{statistics or ''}".partition(f"\n{name} ")
    return rest.partition("\n")[0].strip()


def read_whole(path: str | Path) -> str | None:
    """Text of a small file, None where it cannot be read; without the buffers and decoders that ``open`` sets up.

    Examples
    --------
    >>> from kernels.machine.control_groups import read_whole
    >>> read_whole("/no/such/file") is None
    True
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        parts = [os.read(handle, _PIECE)]
        while parts[-1]:  # what the kernel makes up comes in pieces, and ends with an empty one
            parts.append(os.read(handle, _PIECE))
    except OSError:
        return None
    finally:
        os.close(handle)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _unescaped(word: str) -> str:
    """Undo the kernel's octal escapes of blanks in mount tables."""
    return word.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
