"""When snapshots are taken (optimizer steps, counted from 0 at initialization) and what their files are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from models.fields import choices_of
from pipeline.config.snapshots import SnapshotsConfig
from pipeline.errors import UserError

SCHEDULES = choices_of(SnapshotsConfig, "schedule")
STEPS = "steps.json"
"""Lists all snapshots of a finished artifact."""
MOMENT = "step.json"
"""In each snapshot's folder: its own entry of the list."""
PROBE = "probe.safetensors"
"""Ids and labels of the probe batch, once for all snapshots."""


class SnapshotMoment(TypedDict):
    """When one snapshot was taken."""

    step: int
    epoch: float
    lr: float


def snapshot_steps(
    schedule: str, *, total_steps: int, steps_per_epoch: int, steps: Sequence[int] = (), per_decade: int = 4
) -> list[int]:
    """List the steps after which a snapshot is taken; 0 is the untrained network.

    Parameters
    ----------
    schedule : {"log", "epochs", "steps"}
        ``log``: 0, then ``per_decade`` steps per factor of ten from 1, rounded, and the last step. ``epochs``: 0
        and the end of every epoch. ``steps``: those of ``steps``.
    total_steps, steps_per_epoch : int
        Length of training and of an epoch.
    steps : sequence of int
        For ``steps``; -1 is the last step.
    per_decade : int
        For ``log``.

    Returns
    -------
    list of int
        Increasing, without repetition.

    Raises
    ------
    UserError
        Unknown schedule, no steps, or a step outside training.

    Examples
    --------
    >>> snapshot_steps("log", total_steps=100, steps_per_epoch=10, per_decade=2)
    [0, 1, 3, 10, 32, 100]
    """
    if schedule == "epochs":
        return list(range(0, total_steps + 1, steps_per_epoch))
    if schedule == "steps":
        if not steps:
            raise UserError("snapshots.schedule=steps needs snapshots.steps, such as [0, 100, -1].")
        chosen = sorted({total_steps if step == -1 else step for step in steps})
        if chosen[0] < 0 or chosen[-1] > total_steps:
            raise UserError(
                f"snapshots.steps (or weights.step) holds {chosen[0] if chosen[0] < 0 else chosen[-1]}, but training "
                f"has {total_steps} steps ({steps_per_epoch} an epoch)."
            )
        return chosen
    if schedule == "log":
        if per_decade < 1:
            raise UserError(f"snapshots.per_decade={per_decade} must be at least 1.")
        chosen_log = {0, total_steps}
        power = 0
        while (step := round(10 ** (power / per_decade))) < total_steps:
            chosen_log.add(step)
            power += 1
        return sorted(chosen_log)
    raise UserError(f"snapshots.schedule={schedule!r} is not known; choose one of {', '.join(SCHEDULES)}.")


def step_folder(step: int) -> str:
    """Name of one snapshot's folder; names sort as steps do."""
    return f"step-{step:08d}"


def record_file(record: str) -> str:
    """Name of the file of one record (weights, logits, spectra, kernel) in a snapshot's folder."""
    return f"{record}.safetensors"
