"""Freed memory stays with the process, for what is allocated next.

A page that is new to the process costs an interrupt, on a virtual machine some microseconds: where a network has a
table of 25 MB, the pages of its gradients cost as much as the passes. glibc gives freed pages back once they are twice
as many as the largest array of less than 32 MiB that was freed so far, to take them anew with the next pass.
"""

from __future__ import annotations

import ctypes
import platform
from functools import lru_cache

KEPT = 2**28
"""Bytes of freed memory that stay with the process at most; glibc itself keeps a quarter of it in the end."""

_TRIM_THRESHOLD = -1  # of glibc's malloc.h


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Have the C library keep freed memory, from the first call on; say whether it does.

    Examples
    --------
    >>> from kernels.machine.freed_memory import keep_freed_memory
    >>> keep_freed_memory() in (True, False)  # False with another C library than glibc
    True
    """
    import numpy as np

    if platform.libc_ver()[0] != "glibc":
        return False
    np.empty(2**25 - 2**14, dtype=np.uint8)  # freed untouched: smaller arrays come out of kept memory from now on
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    return option is not None and bool(option(_TRIM_THRESHOLD, KEPT))
