"""Which of several processes this one is, while a stage runs on ranks of ``torch.distributed``.

Outside a process group every process is the main process. Only the main process writes. Nothing here imports torch
unless it is loaded already.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn, TypeVar

if TYPE_CHECKING:
    from torch import nn

Value = TypeVar("Value")


def is_distributed() -> bool:
    """Whether this process is one of several ranks."""
    # Ranks initialize their group before anything else; a process without torch cannot be in one.
    if "torch" not in sys.modules:
        return False
    from torch import distributed

    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def is_main_process() -> bool:
    """Whether this process writes: rank 0, or the only process there is."""
    if not is_distributed():
        return True
    from torch import distributed

    return distributed.get_rank() == 0


def broadcast_object(value: Value) -> Value:
    """Give every rank the main process's value; those of the other ranks are ignored."""
    if not is_distributed():
        return value
    from torch import distributed

    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def barrier() -> None:
    """Wait for all ranks, if there are several."""
    if is_distributed():
        from torch import distributed

        distributed.barrier()


def shutdown() -> NoReturn:
    """Wait for all ranks, leave the group and end the process with status 0, without tearing Python down.

    What waits for Python's exit, such as some trackers, must be finished before. A gradient reducer keeps gloo's
    threads alive after ``destroy_process_group``. If such a thread frees a tensor while the interpreter shuts down,
    the process ends with SIGABRT, in one of ten runs on a busy machine.
    """
    from torch import distributed

    distributed.barrier()
    distributed.destroy_process_group()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def share_buffers(network: nn.Module) -> None:
    """Give every rank the main process's buffers, such as the running statistics of batch normalization."""
    if is_distributed():
        from torch import distributed

        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)
