"""What SLURM is asked and told: how long an array may be, what waits and runs, and a new array.

Nothing here needs accounting: ``squeue`` and ``scontrol`` answer from the controller's memory.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError

MOST = 1000
"""Members of one array, also where the cluster allows more."""
_OWN_JOB = re.compile(r"SLURMD?_(?!(CONF|JWT|CLUSTERS)$)")
"""Variables that describe the job in which a command runs; a job that it submits must not inherit them."""
_OTHERWISE = re.compile(r"SQUEUE_|SBATCH_(ARRAY_INX|EXPORT|JOB_NAME|NO_REQUEUE|OPEN_MODE|REQUEUE|SIGNAL|WAIT)$")
"""Variables of a user by which ``squeue`` would hide jobs, or ``sbatch`` heed another name, array or signal."""
_ROOT = str(Path(__file__).resolve().parents[4])


@dataclass(frozen=True)
class Task:
    """One member of an array that waits or runs.

    Attributes
    ----------
    job : str
        Number of the array.
    member : int
        Place in it.
    state : str
        SLURM's word, such as ``PENDING``.
    name : str
        Name of the array.
    why : str
        What it waits for, or the nodes that it runs on.
    """

    job: str
    member: int
    state: str
    name: str
    why: str = ""

    @property
    def waits(self) -> bool:
        """Whether it has not begun."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")

    def __str__(self) -> str:
        """Write it as ``job 41_3``."""
        return f"job {self.job}_{self.member}"


class Queue:
    """The cluster, through the commands of SLURM on this machine."""

    def most_members(self) -> int:
        """How many members an array may have: the least of ``MaxArraySize - 1`` and 1,000."""
        said = _ask(["scontrol", "show", "config"])
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", said, re.MULTILINE)
        most = min(int(found[1]) - 1, MOST) if found else MOST
        if most < 1:
            raise UserError("This cluster takes no job arrays (MaxArraySize): use workers= inside one job instead.")
        return most

    def tasks(self, users: Iterable[int]) -> list[Task]:
        """List what some users have waiting and running, each member of an array by itself."""
        asked = ",".join(map(str, sorted(set(users))))
        said = _ask(["squeue", "--noheader", "--array", "--all", f"--user={asked}", "--format=%F|%K|%T|%j|%R"])
        found = []
        for line in said.splitlines():
            job, member, state, name, why = (line.strip().split("|", 4) + [""] * 5)[:5]
            if member.isdecimal():  # others are no arrays, so none of ours
                found.append(Task(job, int(member), state, name, why.strip("()")))
        return found

    def submit(self, script: Path, keep_open: Sequence[int] = ()) -> str:
        """Submit a script and return the number of its job.

        Parameters
        ----------
        script : Path
            What ``sbatch`` reads.
        keep_open : sequence of int
            Open files that ``sbatch`` shares: a lock on one is held as long as ``sbatch`` runs, also when this process
            is killed meanwhile.

        Raises
        ------
        UserError
            If SLURM refuses it.
        """
        environment = {name: value for name, value in _environment().items() if not _OWN_JOB.match(name)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_ROOT, environment.get("PYTHONPATH")]))
        said = _ask(["sbatch", "--parsable", str(script)], keep_open, environment)
        job = said.strip().splitlines()[-1].partition(";")[0] if said.strip() else ""
        if not job.isdecimal():
            raise UserError(f"sbatch answered {said.strip()!r}, which names no job.")
        return job


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not _OTHERWISE.match(name)}


def _ask(words: Sequence[str], keep_open: Sequence[int] = (), environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=keep_open,
            env=environment or _environment(),
        )
    except FileNotFoundError as error:
        raise UserError(
            f"{words[0]} is not on this machine, and hardware=slurm_* needs SLURM's commands: run this where they are "
            "(a login node), or set hardware=local."
        ) from error
    if done.returncode:
        why = " ".join((done.stderr.strip() or f"exit code {done.returncode}").split())
        raise UserError(f"{words[0]} refuses: {why}")
    return done.stdout
