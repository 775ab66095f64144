"""One owner per artifact under construction, held by the operating system and released when the process ends.

The rule for a dead owner: a lock belongs to an open file, not to the file's existence. A lock file that nobody holds is
free, whatever its record says, and whoever made it. An owner on another machine holds its lock through the file
server. If that machine dies, the server gives the lock up by its own rule (NFS v4: when the lease ends, 90 seconds by
default), and a process that waits then goes on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_PATIENCE = 120.0
"""Seconds after which a wait for another machine says what to do if that machine is gone; above NFS's lease."""


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        here, there = os.fstat(descriptor), os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _open(path: Path) -> int | None:
    """Open or create a lock file; None where another attempt is due, such as after removing a dead owner's file."""
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    except FileExistsError:  # another process was faster; it is asked for its lock at the next attempt
        return None
    except PermissionError:
        if not path.exists():
            raise
        _remove_unheld(path)
        return None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR):
            raise
        raise UserError(f"{path} must be a lock file, but it is a link or a folder: delete it.") from error


def _remove_unheld(path: Path) -> None:
    """Remove the lock file of a colleague's process that has ended.

    Raises
    ------
    UserError
        If this user may neither lock nor remove it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same_file(descriptor, path):
                path.unlink()
        except BlockingIOError:
            pass  # its owner is at work: wait for it as for any other
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(
            f"{path} is the lock of another user's process, and this user may not write to it ({error.strerror}). If "
            f"that process has ended, ask its owner to delete the file, and to share the store with umask 002."
        ) from error


def _try_lock(path: Path) -> int | None:
    descriptor = _open(path)
    if descriptor is None:
        return None
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
            "at once. Mount it with locks (NFS: without nolock; Lustre: -o flock), or set paths.store elsewhere, or "
            "paths.cache if the cache is meant."
        ) from error
    # The former owner deletes its lock file: a lock on a deleted file protects nothing.
    if not _same_file(descriptor, path):
        os.close(descriptor)
        return None
    return descriptor


@dataclass(frozen=True)
class HeldLock:
    """A lock that this process holds.

    Attributes
    ----------
    path : Path
        The lock file.
    """

    path: Path
    _descriptor: int

    def lost(self) -> bool:
        """Whether somebody deleted or replaced the lock file, so that another process may hold one as well."""
        return not _same_file(self._descriptor, self.path)

    def files(self) -> tuple[int, ...]:
        """Give the open file that carries the lock: a child that shares it keeps the lock until it ends as well."""
        return (self._descriptor,)

    def release(self) -> None:
        """Give the lock up and delete its file, unless the file is another process's by now."""
        if not self.lost():
            with contextlib.suppress(OSError):  # a colleague's file in a folder where only owners delete
                self.path.unlink()
        os.close(self._descriptor)


@contextmanager
def owner_lock(path: Path, say: Callable[[str], None], poll_seconds: float = 0.2) -> Iterator[HeldLock]:
    """Hold an exclusive lock on a path; wait while another process holds it.

    A ``kill -9`` releases it, since the lock belongs to the open file and not to the file's existence.

    Parameters
    ----------
    path : Path
        Lock file; created with the mode of the umask, and removed on release.
    say : callable
        Called with a message that names the process being waited for, and once more after two minutes if that
        process is on another machine.
    poll_seconds : float
        Time between two attempts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = _Waiting(path, say)
    while (descriptor := _try_lock(path)) is None:
        waiting.tell()
        time.sleep(poll_seconds)
    lock = HeldLock(path, descriptor)
    try:
        record = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "started": time.time(),
        }
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(record).encode(), 0)
        yield lock
    finally:
        lock.release()


@contextmanager
def lock_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock if nobody else does, without waiting; yields whether it is held."""
    descriptor = _try_lock(path)
    lock = None if descriptor is None else HeldLock(path, descriptor)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


class _Waiting:
    """What is said while another process holds the lock."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path, self._say = path, say
        self._since, self._said, self._warned = time.monotonic(), False, False

    def tell(self) -> None:
        """Name the owner once, and once more with a way out if it is on another machine for long."""
        owner = current_owner(self._path)
        if owner is None:
            return
        if not self._said:
            place = f"process {owner.get('pid')} on {owner.get('host')}"
            self._say(f"waiting for {place}, which is making {self._path.stem}")
            self._said = True
        abroad = owner.get("host") not in (None, socket.gethostname())
        if abroad and not self._warned and time.monotonic() - self._since > _PATIENCE:
            self._say(
                f"still waiting: if {owner['host']} is gone for good and the file server keeps its lock, delete "
                f"{self._path}, and this process goes on"
            )
            self._warned = True


@contextmanager
def folder_lock(folder: Path, say: Callable[[str], None], poll_seconds: float = 0.2) -> Iterator[bool]:
    """Hold a lock on an existing folder itself: somebody who cleans lock files away lets no second process in.

    Yields whether the file system can do this; NFS locks no folders.

    Parameters
    ----------
    folder : Path
        Stays locked when it is renamed.
    say : callable
        Called once if another process is still in the folder.
    poll_seconds : float
        Time between two attempts.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        said = False
        while (locked := _lock_folder(descriptor)) is None:
            if not said:
                say(f"waiting: {folder} has no lock file any more, but a process is still at work in it")
                said = True
            time.sleep(poll_seconds)
        yield locked
    finally:
        os.close(descriptor)


def folder_in_use(folder: Path) -> bool:
    """Whether a process holds :func:`folder_lock` of a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return _lock_folder(descriptor) is None
    finally:
        os.close(descriptor)


def _lock_folder(descriptor: int) -> bool | None:
    """Whether the folder is locked now; None while another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def current_owner(path: Path) -> dict[str, Any] | None:
    """Return the record of the process that holds the lock, or None if nobody does.

    The record is empty while its owner writes it, where it is damaged, or where this user may not read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        return {}
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            record = json.loads(os.pread(descriptor, 4096, 0))
        except (OSError, ValueError, RecursionError):
            return {}
        return record if isinstance(record, dict) else {}
    except OSError:  # a file system without locks has no owners
        return None
    finally:
        os.close(descriptor)
    return None
