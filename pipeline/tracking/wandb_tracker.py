"""Weights & Biases: one run per artifact, sent while running or kept in files until ``wandb sync``."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.machine.folders import user_path
from pipeline.machine.progress import say
from pipeline.machine.reachable import unanswered
from pipeline.shown_text import masked
from pipeline.tracking.base import needed
from pipeline.tracking.journal import Entry
from pipeline.tracking.remote import RemoteTracker

_OPEN, _FINISH = 30.0, 120.0
"""Seconds to wait for a run to begin, and for its last data to be sent."""


class WandbTracker(RemoteTracker):
    """One W&B run per artifact: group = experiment, job type = stage, id = key and nonce.

    A requeued job continues its run. WANDB_MODE of the environment wins over ``logging.mode``. Without a key or a
    server, the run is recorded in files that ``wandb sync`` sends later.
    """

    service = "W&B"

    def place(self) -> str:
        """Folder of the files; a server that is away is replaced by them."""
        return str(user_path(self.settings.folder).absolute())

    def connect(self) -> None:
        """Begin the run, or take it up again."""
        self._wandb = needed("wandb", "wandb")
        mode = os.environ.get("WANDB_MODE") or self.settings.mode
        user_path(self.settings.folder).mkdir(parents=True, exist_ok=True)
        if mode in ("online", "run") and not self._begin_online(mode):
            mode = "offline"
        if mode not in ("online", "run"):
            self._run = self._begin_run(mode)
        self._offline = mode in ("offline", "dryrun")

    def _begin_online(self, mode: str) -> bool:
        """Begin the run at the server, or say once that it is away."""
        server = (self.service, "server")
        if self.recently_away(server):
            return False
        reason = self._why_away()
        if reason is None:
            try:
                self._run = self._begin_run(mode)
                return True
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
        self._away[server] = time.monotonic()
        files = user_path(self.settings.folder).absolute() / "wandb"
        say(
            f"  W&B cannot be reached ({reason}). The work goes on and is recorded in files; send them later with:"
            f"\n    wandb sync {shlex.quote(str(files))}/offline-run-*"
        )
        return False

    @property
    def _files(self) -> Path:
        """Folder of this run's own files."""
        return Path(self._run.dir).parent

    def _why_away(self) -> str | None:
        """Say why nothing can be sent; None if the server answers and there is a key for it."""
        from requests.utils import get_netrc_auth

        known = self._wandb.setup().settings
        address = os.environ.get("WANDB_BASE_URL") or known.base_url
        key = os.environ.get("WANDB_API_KEY") or known.api_key or known.identity_token_file or get_netrc_auth(address)
        return unanswered(address) if key else "there is no key: `wandb login`, or the variable WANDB_API_KEY"

    def _begin_run(self, mode: str) -> Any:
        run, settings = self.run, self.settings
        # An agent of a W&B sweep has chosen the id of the run that it asked for; upstream runs keep ours.
        in_sweep = "WANDB_SWEEP_ID" in os.environ and run.target
        holds_password = any(masked(word) != word for word in sys.argv)
        return self._wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=run.experiment,
            job_type=run.stage,
            name=run.name,
            id=None if in_sweep else f"{run.key}-{run.nonce}",
            tags=[run.key, *settings.tags],
            config=run.note,
            dir=str(user_path(settings.folder)),
            mode=mode,
            resume="allow",
            reinit="finish_previous",
            settings=self._wandb.Settings(
                silent=True,
                console="off",
                init_timeout=_OPEN,
                finish_timeout=_FINISH,
                finish_timeout_raises=True,
                x_disable_meta=holds_password,  # W&B's own record of the command line
            ),
        )

    def to_repeat(self) -> int:
        """Everything into new files; to a server what it lacks."""
        if self._offline or not self._run.step:
            return 0
        entries = enumerate(self.journal.entries())
        later = (i for i, entry in entries if entry.step is not None and entry.step >= self._run.step)
        return next(later, len(self.journal))

    def forget_earlier(self) -> None:
        """Delete the files of the earlier process: this run holds what they hold, and only one can be sent."""
        for folder in self._files.parent.glob(f"offline-run-*-{self._run.id}"):
            if folder != self._files:
                shutil.rmtree(folder, ignore_errors=True)

    def deliver(self, entry: Entry) -> None:
        """Record history or summary, a picture, a histogram, or a table whose columns may mix numbers and words."""
        name, step = entry.name, entry.step
        if entry.kind == "log" and step is None:
            self._run.summary.update(dict(entry.content))
        elif entry.kind == "log":
            self._run.log(dict(entry.content), step=step)
        elif entry.kind == "image":
            from PIL import Image

            self._run.log({name: self._wandb.Image(Image.open(io.BytesIO(entry.data)))}, step=step)
        elif entry.kind == "histogram":
            self._run.log({name: self._wandb.Histogram(entry.data)}, step=step)
        else:
            columns, rows = entry.content["columns"], entry.content["rows"]
            self._run.log({name: self._wandb.Table(columns=columns, data=rows, allow_mixed_types=True)})

    def wait(self) -> None:
        """End the files, or the run, as finished for now; files that hold nothing go."""
        files = self._files
        self.close(0)
        if self._offline and len(self.journal) == 0:
            shutil.rmtree(files, ignore_errors=True)

    def close(self, exit_code: int) -> None:
        """End the run."""
        self._run.finish(exit_code=exit_code)
