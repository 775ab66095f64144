"""Thread pools of the libraries that compute: bound to a number that the configuration names, never to the environment.

OpenBLAS, MKL and OpenMP add up in another order with another number of threads, so their number changes bits. Each has
a pool of its own, which follows variables such as OMP_NUM_THREADS or the number of cores unless it is told otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Read by a library when it is loaded, and inherited by processes that a stage starts."""


@contextmanager
def bound_threads(count: int) -> Iterator[None]:
    """Bind every pool of this process, loaded or not yet loaded, for the length of a ``with`` block.

    Parameters
    ----------
    count : int
        Threads of each pool.

    Examples
    --------
    >>> from threadpoolctl import threadpool_info
    >>> with bound_threads(1):
    ...     {pool["num_threads"] for pool in threadpool_info()} <= {1}
    True
    """
    from threadpoolctl import threadpool_limits

    inherited = {name: os.environ.get(name) for name in VARIABLES}
    torch_threads = _torch_threads()
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))
    try:
        with threadpool_limits(limits=count):
            _set_torch_threads(count)  # torch's MKL is linked into torch itself, where no one else finds it
            yield
    finally:
        for name, value in inherited.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch_threads is not None:
            _set_torch_threads(torch_threads)


def _torch_threads() -> int | None:
    """Threads of torch; None where it is not loaded."""
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None


def _set_torch_threads(count: int) -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
