"""Memory budgets: how much is free, how a requested size is read, and how one is shown."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

from kernels.machine.control_groups import address_space_headroom, group_headroom, read_whole

if TYPE_CHECKING:
    import torch

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}


_sharing = 1


def share_memory(processes: int) -> None:
    """Say how many processes like this one share the machine: the default budget is divided by them.

    Examples
    --------
    >>> from kernels.machine.memory import share_memory
    >>> share_memory(2)
    >>> share_memory(1)
    """
    global _sharing
    _sharing = max(1, processes)


def parse_memory(memory: str | int | float | None, device: torch.device, free: int | None = None) -> int:
    """Bytes of a budget such as ``"12GiB"``, a number of bytes, or None for a share of what is free.

    The default is 70 % of the free GPU memory, where memory that torch caches counts as free, or a quarter of the free
    main memory (``free`` where it is known already) and at most 4 GiB; divided by the processes of
    :func:`share_memory`.

    Examples
    --------
    >>> import torch
    >>> from kernels.machine import parse_memory
    >>> parse_memory("12GiB", torch.device("cpu"))
    12884901888
    """
    if memory is None:
        if device.type == "cuda":
            import torch

            cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
            return int((torch.cuda.mem_get_info(device)[0] + cached) * 0.7 / _sharing)
        return min((available_memory() if free is None else free) // 4, 4 * 2**30) // _sharing
    if isinstance(memory, (int, float)) and not isinstance(memory, bool) and math.isfinite(memory):
        amount = int(memory)
    elif not isinstance(memory, str):
        raise ValueError(f"memory={memory!r} is not a size: write '12GiB', '800MB' or a number of bytes")
    else:
        match = re.fullmatch(r"\s*([0-9.]+)\s*([kmgt]?i?)b?\s*", memory.lower())
        if match is None or match.group(2) not in _UNITS:
            raise ValueError(f"memory={memory!r} is not a size: write '12GiB', '800MB' or a number of bytes")
        amount = int(float(match.group(1)) * _UNITS[match.group(2)])
    if amount <= 0:
        raise ValueError(f"memory={memory!r} must be positive")
    return amount


def available_memory() -> int:
    """Bytes of main memory that this process can take without swapping and without being killed.

    The least of what the machine has free, what the control groups of a container or batch job leave
    (:func:`kernels.machine.control_groups.group_headroom`), and what ``ulimit -v`` leaves.
    """
    bounds = (_free_on_machine(), group_headroom(), address_space_headroom())
    return min(bound for bound in bounds if bound is not None)


def _free_on_machine() -> int:
    for line in (read_whole("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def show_bytes(amount: float) -> str:
    """Write a number of bytes with its unit.

    Examples
    --------
    >>> from kernels.machine import show_bytes
    >>> show_bytes(3 * 2**30)
    '3 GiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"
