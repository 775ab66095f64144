"""Stage ``ensemble``: one block of seeds trained together, from which the stage ``train`` copies single runs."""

from __future__ import annotations

import time
from typing import Any

from pipeline.data.datamodule import open_data
from pipeline.engine.build import Build
from pipeline.engine.seed_blocks import members_of
from pipeline.machine.arithmetic import arithmetic
from pipeline.machine.progress import note_progress
from pipeline.stages.train.block_files import member_folder, write_member
from pipeline.training.ensemble import Member, train_block
from pipeline.training.foresight import refuse_unfit_network

_SAY_SECONDS = 5.0


def ensemble(build: Build) -> dict[str, Any]:
    """Train a block; each member's folder holds the files of a ``train`` artifact.

    Returns
    -------
    dict
        ``members``: metrics by seed; ``diverged``: by seed, the reason why a member has no files.
    """
    config = build.config
    configs = members_of(config)
    data = open_data(config, build.inputs["data"])
    refuse_unfit_network(build, data)
    build.say(f"seeds {configs[0].seed} to {configs[-1].seed} together")
    members = train_block(
        configs, data, build.scratch, pretrained=build.inputs.get("pretrained"), on_epoch=_Lines(build)
    )
    metrics: dict[str, Any] = {"members": {}, "diverged": {}}
    with arithmetic(config.numerics):
        for member in members:
            seed = str(member.config.seed)
            if member.diverged:
                metrics["diverged"][seed] = _divergence(member)
            else:
                metrics["members"][seed] = write_member(member, data, build.folder / member_folder(member.config.seed))
    return metrics


def _divergence(member: Member) -> str:
    row = member.history[-1]
    return (
        f"Training diverged: the loss of epoch {row['epoch']} is {row['train_loss']} at learning rate {row['lr']:g}. "
        "Lower training.lr or set training.gradient_clip."
    )


class _Lines:
    """Print one line per epoch, at most one every few seconds; the last epoch is always printed."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._said = -_SAY_SECONDS
        self._first: tuple[int, float] | None = None

    def __call__(self, epoch: int, loss: float) -> None:
        now, epochs = time.monotonic(), self._build.config.training.epochs
        self._first = self._first or (epoch, now)
        ran = epoch - self._first[0]
        left = (now - self._first[1]) / ran * (epochs - epoch) if ran else None
        note_progress(self._build.scratch, epoch, epochs, f"epoch {min(epoch + 1, epochs)}/{epochs}", left)
        if now - self._said >= _SAY_SECONDS or epoch == epochs:
            self._build.say(f"epoch {epoch}/{epochs}: mean train_loss {loss:.4f}")
            self._said = now
