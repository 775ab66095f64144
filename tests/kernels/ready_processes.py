"""Processes of tests that start in a moment: a server imports what all of them need, and each begins as its copy."""

import multiprocessing

METHOD = "forkserver"


def prepare() -> None:
    """Say what the server imports; without effect once it runs."""
    multiprocessing.get_context(METHOD).set_forkserver_preload(["torch.distributed", "kernels", "tests.kernels.cases"])
