"""One job of an array: it makes its artifacts one after another, without anything upstream.

What lacks an input ends before torch is imported, with the command that makes the input. The requeue after a time
limit or a preemption is submitit's, as in a sweep.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.engine.artifacts import Store
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph, Node, refuse_changed
from pipeline.engine.plan import plan
from pipeline.engine.schedule.estimates import Estimates
from pipeline.engine.schedule.slurm.records import VOID, Submission
from pipeline.engine.schedule.worker_process import can_fork
from pipeline.errors import UserError
from pipeline.machine.cores import usable_cores, visible_gpus
from pipeline.machine.progress import say
from pipeline.shown_text import shown

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

_MINUTES, _REQUEUES = 240, 20


def make(one: Submission, number: int, member: int) -> list[str]:
    """Make the artifacts of one member of an array; returns the keys of those that could not be made.

    Parameters
    ----------
    one : Submission
        That the array belongs to.
    number : int
        The array.
    member : int
        Place in it.
    """
    study, keys = one.study(number), one.arrays[number].members[member]
    graph, store = Graph(study.overrides, cells=study.cells), Store(study.root)
    puller = Puller(
        store,
        graph,
        require=True,
        allow_missing=study.allow_missing,
        rebuild=study.rebuild,
        _total=len(keys),
        _labels=dict(study.labels),
    )
    failed = []
    for key in keys:
        node = study.nodes[key]
        name = f"{node.stage.name} {node.slug}-{key}"
        if puller.has(node):
            say(f"{name} exists already")
            continue
        try:
            refuse_changed(node, "after the job of {} was submitted")
            _make(puller, node)
        except Exception as error:  # the others of this job do not rest on it
            failed.append(key)
            text = str(error) if isinstance(error, UserError) else "".join(traceback.format_exception(error))
            say(f"{name} is not made: {shown(text)}")
    return failed


def _make(puller: Puller, node: Node) -> None:
    """Make one artifact; networks that its stage trains itself are trained on all cores of the job."""
    puller.workers = workers_of(node)
    if puller.workers > 1:
        found = plan(node, puller.store, puller.keeps)
        if found.todo == [node]:  # otherwise an input is missing
            puller.make_together(found, Estimates(puller.store, puller.workers))
    puller.make(node)


def workers_of(node: Node) -> int:
    """How many artifacts a job makes at the same time: one, unless its stage trains many networks itself.

    Parameters
    ----------
    node : Node
        What the job makes.
    """
    numerics = node.config.numerics
    if "train" not in node.stage.makes or not can_fork() or numerics.world_size > 1:
        return 1
    if numerics.device == "cuda":
        return max(1, len(visible_gpus()))
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    cores = min(usable_cores(), int(given)) if given.isdecimal() else 1
    return max(1, cores // numerics.threads)


class Member:
    """What submitit runs in a job, and again after a requeue.

    Parameters
    ----------
    folder : str
        Of the submission.
    number, member : int
        Array, and place in it.
    """

    def __init__(self, folder: str, number: int, member: int) -> None:
        self.folder, self.number, self.member = folder, number, member

    def __call__(self) -> None:
        """Make what this member makes, and end with exit code 1 if something could not be made."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})  # submitit handles it from here on
        try:
            failed = make(Submission(Path(self.folder)), self.number, self.member)
        except UserError as error:
            say(shown(str(error)))
            sys.exit(1)
        if failed:
            say(f"not made: {len(failed)}; the command that submitted this job tries again")
            sys.exit(1)
        say("done")

    def checkpoint(self) -> DelayedSubmission:
        """Be the same again: what is finished is found, and the rest continues from its checkpoints."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def run(folder: str, number: int) -> None:
    """Be the member of an array that SLURM's environment names.

    Parameters
    ----------
    folder : str
        Of the submission.
    number : int
        The array.
    """
    job, member = os.environ["SLURM_ARRAY_JOB_ID"], int(os.environ["SLURM_ARRAY_TASK_ID"])
    one = Submission(Path(folder))
    noted = one.claim(number, job)
    if noted != job:
        other = "a later command took its place" if noted == VOID else f"job {noted} is the same"
        say(f"nothing to do: {other}")
        return
    from submitit.core import submission
    from submitit.core.utils import DelayedSubmission, JobPaths

    # submitit's command writes this file after sbatch has answered; a command that is killed in between would leave
    # jobs that have nothing to run. So each job writes its own.
    paths = JobPaths(one.logs, job_id=f"{job}_{member}")
    if not paths.submitted_pickle.exists():
        resources = one.arrays[number].resources
        delayed = DelayedSubmission(Member(folder, number, member))
        delayed.set_timeout(resources.get("timeout_min", _MINUTES), resources.get("max_num_timeout", _REQUEUES))
        written = paths.submitted_pickle.with_name(f".{paths.submitted_pickle.name}.{uuid.uuid4().hex}")
        delayed.dump(written)
        os.replace(written, paths.submitted_pickle)
    submission.process_job(one.logs)
