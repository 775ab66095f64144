"""Which of several processes this one is, while a stage runs on ranks of ``torch.distributed``.

Outside a process group every process leads. Only the leader writes; imports torch only where it is loaded already.
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
    # Ranks initialise their group before anything else; a process without torch cannot be in one.
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
    """Give every rank the leader's value; the other ranks' own are ignored."""
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

    What waits for Python's exit, as some trackers do, must be finished before. A reducer keeps gloo's threads alive
    after ``destroy_process_group``. One that drops a tensor while the interpreter is being torn down ends the process
    with SIGABRT: one of ten runs on a busy machine.
    """
    from torch import distributed

    distributed.barrier()
    distributed.destroy_process_group()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def share_buffers(network: nn.Module) -> None:
    """Give every rank the leader's buffers, such as the running statistics of batch normalisation."""
    if is_distributed():
        from torch import distributed

        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)
