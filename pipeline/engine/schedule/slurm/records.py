"""What a store remembers of submitted arrays, written before SLURM is told, so that no kill loses or doubles a job.

``<store>/.slurm/<mark>/`` holds the plan of one submission (``plan.json``), the artifacts of each array
(``array-N.pkl``), its script (``array-N.sh``) and, once it is known, its job (``job-N``). The name of an array in
SLURM's queue carries the mark. A job whose number is not in ``job-N`` ends at once: so of two arrays that a killed
command and its successor submitted, one works.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.engine.cells import Cell
from pipeline.engine.graph import Node
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.schedule.slurm.arrays import Array
from pipeline.engine.schedule.slurm.queue import Task
from pipeline.errors import UserError
from pipeline.machine.side_files import read_record

FOLDER = ".slurm"
LOCK = "jobs.lock"
_PLAN, _ENDED, _NEW = "plan.json", "ended", ".new-"
VOID = "none"
"""In the place of a job's number: the array was never submitted, and never will be."""


@dataclass(frozen=True)
class Study:
    """What the jobs of an array need to know.

    Attributes
    ----------
    root : Path
        The store.
    overrides : tuple of str
        Of the command.
    nodes : dict of str to Node
        Artifacts of the array, by key.
    cells : list of Cell or None
        Of the experiment, for arrays of gathers.
    rebuild : Rebuild
        What is made again although it exists.
    allow_missing : int
        Cells that a gather may lack.
    labels : mapping
        Labels of the cells that each artifact serves, by key.
    """

    root: Path
    overrides: tuple[str, ...]
    nodes: dict[str, Node]
    cells: list[Cell] | None
    rebuild: Rebuild
    allow_missing: int
    labels: Mapping[str, dict[str, str]]


@dataclass(frozen=True)
class Submission:
    """One submission of a store.

    Attributes
    ----------
    folder : Path
        Its folder.
    """

    folder: Path

    @property
    def mark(self) -> str:
        """Eight hexadecimal digits."""
        return self.folder.name

    @property
    def logs(self) -> Path:
        """Folder of what its jobs print."""
        return self.folder / "logs"

    @cached_property
    def plan(self) -> dict[str, Any]:
        """Request of a rebuild, and the arrays."""
        return json.loads((self.folder / _PLAN).read_text(encoding="utf-8"))

    @cached_property
    def arrays(self) -> list[Array]:
        """The arrays, in the order in which they are submitted."""
        return [
            Array(**(one | {"members": tuple(tuple(member) for member in one["members"])}))
            for one in self.plan["arrays"]
        ]

    def name(self, number: int) -> str:
        """Name of an array in SLURM's queue."""
        return f"{self.arrays[number].stage}-{self.mark}-{number}"

    def script(self, number: int) -> Path:
        """File that ``sbatch`` reads."""
        return self.folder / f"array-{number}.sh"

    def study(self, number: int) -> Study:
        """Read what the jobs of an array need.

        Raises
        ------
        UserError
            If the code has changed so much since that it cannot be read.
        """
        written = (self.folder / f"array-{number}.pkl").read_bytes()
        try:
            return pickle.loads(written)
        except (AttributeError, ImportError, TypeError) as error:
            raise UserError(
                f"The code has changed since this job was submitted ({error}). Run the same command again."
            ) from error

    def job(self, number: int) -> str | None:
        """Job of an array; None where it is not known yet."""
        try:
            return (self.folder / f"job-{number}").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def claim(self, number: int, job: str) -> str:
        """Note the job of an array, unless one is noted already; returns the one that is."""
        written = self.folder / f".job-{number}-{uuid.uuid4().hex}"
        _write(written, job.encode())
        try:
            os.link(written, self.folder / f"job-{number}")  # atomic, and refused where there is one
        except FileExistsError:
            pass
        finally:
            written.unlink()
        return self.job(number) or job

    def end(self) -> None:
        """Note that none of its jobs is left, so that it is not asked for again."""
        (self.folder / _ENDED).touch()


def submissions(store: Path) -> list[Submission]:
    """List the submissions of a store that may have jobs in the queue, the oldest first."""
    folder = store / FOLDER
    if not folder.is_dir():
        return []
    found = [entry for entry in folder.iterdir() if not entry.name.startswith(".") and entry.is_dir()]
    open_ones = [entry for entry in found if not (entry / _ENDED).exists() and read_record(entry / _PLAN)]
    return [Submission(entry) for entry in sorted(open_ones, key=lambda one: (one.stat().st_mtime, one.name))]


def ended(store: Path) -> list[Path]:
    """List the folders of submissions whose jobs have all ended, and of those that were never complete."""
    folder = store / FOLDER
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [one for one in entries if one.is_dir() and ((one / _ENDED).exists() or one.name.startswith(_NEW))]


def users(found: Sequence[Submission]) -> set[int]:
    """Give the users whose jobs they are; a store may be shared."""
    return {os.getuid(), *(one.folder.stat().st_uid for one in found)}


def members_in(found: Sequence[Submission], tasks: Sequence[Task]) -> Iterator[tuple[Submission, int, Task]]:
    """Yield submission and array of every task that is a member of theirs."""
    by_name = {one.name(number): (one, number, one.job(number)) for one in found for number in range(len(one.arrays))}
    for task in tasks:
        one, number, job = by_name.get(task.name, (None, 0, None))
        if one is not None and job in (None, task.job) and task.member < len(one.arrays[number].members):
            yield one, number, task


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def clear_unfinished(store: Path) -> None:
    """Delete records that a killed command had not finished; none of their arrays was submitted."""
    for entry in (store / FOLDER).glob(f"{_NEW}*"):
        shutil.rmtree(entry, ignore_errors=True)


def write(store: Path, arrays: Sequence[Array], studies: Sequence[Study], settings: Mapping[str, Any]) -> Submission:
    """Write a submission whole, before any of its arrays is submitted.

    Parameters
    ----------
    store : Path
        Root of the store.
    arrays : sequence of Array
        In the order of submission.
    studies : sequence of Study
        One for each array.
    settings : mapping
        What else later commands read: ``request``.
    """
    mark = uuid.uuid4().hex[:8]
    new = store / FOLDER / f"{_NEW}{mark}"
    (new / "logs").mkdir(parents=True)
    for number, study in enumerate(studies):
        _write(new / f"array-{number}.pkl", pickle.dumps(study, protocol=pickle.HIGHEST_PROTOCOL))
    plan = {**settings, "arrays": [asdict(array) for array in arrays]}
    _write(new / _PLAN, json.dumps(plan, ensure_ascii=False, sort_keys=True).encode())
    final = new.with_name(mark)
    os.rename(new, final)
    return Submission(final)
