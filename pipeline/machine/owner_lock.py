"""One owner per artifact under construction, held by the operating system and released when the process ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino == os.stat(path).st_ino
    except FileNotFoundError:
        return False


def _try_lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"The file system of {path.parent} has no file locks ({error}), so two jobs could make the same artifact "
            "at once. Mount it with locks (NFS: without nolock; Lustre: -o flock), or set paths.store elsewhere."
        ) from error
    # The former owner deletes its lock file: a lock on a deleted file protects nothing.
    if not _same_file(descriptor, path):
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def owner_lock(path: Path, say: Callable[[str], None], poll_seconds: float = 0.2) -> Iterator[None]:
    """Hold an exclusive lock on a path; wait while another process holds it.

    A ``kill -9`` releases it, since the lock belongs to the open file and not to the file's existence.

    Parameters
    ----------
    path : Path
        Lock file; created, and removed on release.
    say : callable
        Called once with a message that names the process being waited for.
    poll_seconds : float
        Time between two attempts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    announced = False
    while (descriptor := _try_lock(path)) is None:
        if not announced and (owner := current_owner(path)) is not None:
            say(f"waiting for process {owner.get('pid')} on {owner.get('host')}, which is making {path.stem}")
            announced = True
        time.sleep(poll_seconds)
    try:
        record = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "started": time.time(),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(record).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def current_owner(path: Path) -> dict[str, Any] | None:
    """Return the record of the process that holds the lock, or None if nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            return json.loads(os.pread(descriptor, 4096, 0))
        except ValueError:  # the owner is just writing its record
            return {}
    finally:
        os.close(descriptor)
    return None
