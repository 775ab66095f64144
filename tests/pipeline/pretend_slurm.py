"""A cluster of the imagination: it takes the scripts of arrays and runs their members here, when it is told to."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.engine.schedule.slurm.member import make
from pipeline.engine.schedule.slurm.queue import Queue, Task
from pipeline.engine.schedule.slurm.records import Submission
from pipeline.errors import UserError


@dataclass
class PretendArray:
    job: str
    name: str
    text: str
    folder: Path
    number: int
    after: list[str]
    left: list[int]
    """Members that have not ended."""
    failed: list[int] = field(default_factory=list)


class PretendSlurm(Queue):
    """Remembers arrays; ``run`` runs what may begin."""

    def __init__(self, most: int = 1000, takes: int = 10**6) -> None:
        self.most, self.takes = most, takes
        self.arrays: list[PretendArray] = []
        self.forgotten: list[PretendArray] = []
        self.first = 41

    def most_members(self) -> int:
        return self.most

    def tasks(self, users) -> list[Task]:
        return [Task(one.job, member, "PENDING", one.name) for one in self.arrays for member in one.left]

    def submit(self, script: Path, keep_open=()) -> str:
        if len(self.arrays) + len(self.forgotten) >= self.takes:
            raise UserError("sbatch refuses: Job violates accounting/QOS policy")
        one = self.parse(script)
        self.arrays.append(one)
        return one.job

    def parse(self, script: Path) -> PretendArray:
        text = script.read_text()
        flags = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", text, re.M))
        last = int(re.fullmatch(r"0-(\d+)%\d+", flags["array"])[1])
        assert last < self.most
        after = flags.get("dependency", "").removeprefix("afterany:").split(":") if "dependency" in flags else []
        known = {one.job for one in [*self.arrays, *self.forgotten]}
        assert set(after) <= known, "a dependency on a job that SLURM does not know is refused"
        command = shlex.split(next(line for line in text.splitlines() if line.startswith("srun")))
        job = str(self.first + len(self.arrays) + len(self.forgotten))
        folder, number = Path(command[-2]), int(command[-1])
        return PretendArray(job, flags["job-name"], text, folder, number, after, list(range(last + 1)))

    def begin(self, one: PretendArray, members: list[int]) -> None:
        """Run some members of an array, whether or not it may begin."""
        for member in members:
            one.left.remove(member)
            submission = Submission(one.folder)
            if submission.claim(one.number, one.job) == one.job and make(submission, one.number, member):
                one.failed.append(member)

    def run(self, waves: int = 100) -> None:
        """Run what may begin, and what may begin then."""
        for _ in range(waves):
            busy = {one.job for one in self.arrays if one.left}
            ready = [one for one in self.arrays if one.left and not busy & set(one.after)]
            for one in ready:
                self.begin(one, list(one.left))

    def cancel(self, one: PretendArray, *members: int) -> None:
        one.left = [member for member in one.left if members and member not in members]

    @property
    def waiting(self) -> list[PretendArray]:
        return [one for one in self.arrays if one.left]
