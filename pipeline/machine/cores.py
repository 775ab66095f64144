"""Cores and GPUs that this process may use: the machine's, less what a batch job or a container leaves out."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores(root: Path = Path("/")) -> int:
    """Count the cores that this process may use, at least 1.

    The least of the affinity (SLURM and ``taskset`` set it) and the quota of control groups (containers).

    Parameters
    ----------
    root : Path
        Root of the file system; another one in tests.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for quota, period in (
        _pair(root / "sys/fs/cgroup/cpu.max"),
        (_first(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us"), _first(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us")),
    ):
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            counts.append(int(quota) // int(period))
    return max(1, min(counts))


def visible_gpus(root: Path = Path("/")) -> list[str]:
    """Name the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` does; starts no driver.

    Parameters
    ----------
    root : Path
        Root of the file system; another one in tests.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    folder = root / "proc/driver/nvidia/gpus"
    return [str(number) for number in range(len(list(folder.iterdir())))] if folder.is_dir() else []


def gpu_groups(size: int) -> list[str]:
    """Share the GPUs that this process may use between worker processes, as ``CUDA_VISIBLE_DEVICES`` names them.

    Parameters
    ----------
    size : int
        GPUs of each worker; what is left over is in no group.
    """
    gpus = visible_gpus()
    return [",".join(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size)]


def _pair(path: Path) -> tuple[str, str]:
    quota, _, period = _first(path).partition(" ")
    return quota, period.strip()


def _first(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
