"""Main memory that a process has held at most, and whether the system had to end processes for want of memory."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path


def peak_of(process: int | None = None) -> int:
    """Give the most memory in bytes that a process has held since :func:`start_peak` or its beginning; 0 if unknown."""
    table = Path(f"/proc/{process or os.getpid()}/status")
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in table.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0 if process is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def start_peak() -> None:
    """Forget this process's peak, so that the next one is that of what is made next; nothing where Linux cannot."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def out_of_memory_kills() -> int:
    """Count the processes that this machine has ended for want of memory; 0 where that is not counted."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
