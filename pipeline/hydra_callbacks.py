"""Hydra callback: refuse an impossible sweep before any of its jobs is submitted."""

from __future__ import annotations

import sys
from typing import Any

from hydra.experimental.callback import Callback


def launcher_problem(tasks_per_node: int | None, devices: int) -> str | None:
    """Say what is wrong with a cluster launcher's tasks, in one sentence.

    A job is one task: it owns its artefact and starts the ranks on the devices itself. Further tasks would
    each train the same run and wait for the first one's lock.

    Parameters
    ----------
    tasks_per_node : int or None
        Of the launcher; None for launchers without tasks.
    devices : int
        ``hardware.devices``.
    """
    if tasks_per_node in (None, 1):
        return None
    return (
        f"hydra.launcher.tasks_per_node={tasks_per_node} is impossible: one task per job starts its own ranks. "
        f"Leave it at 1 and set numerics.world_size for several devices (hardware.devices={devices} now)."
    )


class SweepChecks(Callback):
    """Look at the launcher once, before the sweep starts."""

    def on_multirun_start(self, config: Any, **kwargs: Any) -> None:
        """Refuse the sweep; Hydra turns exceptions of callbacks into warnings, so this exits."""
        launcher = config.hydra.launcher
        problem = launcher_problem(launcher.get("tasks_per_node"), config.hardware.devices)
        if problem is not None:
            print(f"\nerror: {problem}", file=sys.stderr)
            raise SystemExit(2)
