"""One command for a whole graph: submit what is missing and not in the queue, say what is, and leave.

The same command later shows what runs and waits, and submits again what failed or was canceled, with all that needs
it. Nothing of this process is needed while the jobs run.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.config.logging import MLFLOW_URI
from pipeline.config.run import RunConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.composition.command_words import shell_word
from pipeline.engine.graph import Graph, Node
from pipeline.engine.plan import announce, plan
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.schedule.estimates import Estimates
from pipeline.engine.schedule.labels import labels_of
from pipeline.engine.schedule.slurm.arrays import Array, arrays_of
from pipeline.engine.schedule.slurm.failures import why_not_made
from pipeline.engine.schedule.slurm.jobs import MEMBER, resources_by, script_of
from pipeline.engine.schedule.slurm.queue import Queue, Task
from pipeline.engine.schedule.slurm.records import (
    FOLDER,
    LOCK,
    VOID,
    Study,
    Submission,
    clear_unfinished,
    members_in,
    submissions,
    users,
    write,
)
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError
from pipeline.machine.owner_lock import HeldLock, owner_lock
from pipeline.machine.progress import say
from pipeline.shown_text import masked, masked_overrides, visible


@dataclass(frozen=True)
class Job:
    """The member of an array that makes an artifact.

    Attributes
    ----------
    task : Task
        In the queue.
    submission : Submission
        That it belongs to.
    number : int
        Its array in the submission.
    """

    task: Task
    submission: Submission
    number: int

    def __str__(self) -> str:
        """Write it as ``job 41_3, pending (Dependency)``."""
        return f"{self.task}, {self.task.state.lower()}" + (f" ({self.task.why})" if self.task.why else "")

    def waits_for(self, other: Job) -> bool:
        """Whether it begins only after another one has ended, or has begun and therefore found its inputs."""
        array = self.submission.arrays[self.number]
        return not self.task.waits or self.submission == other.submission or other.task.job in array.behind


def jobs_of(store: Store, queue: Queue) -> dict[str, Job]:
    """Give the job of every artifact that waits or runs in SLURM, by key; of several the last submitted."""
    found = submissions(store.root)
    return _jobs(found, queue.tasks(users(found))) if found else {}


def _jobs(found: Sequence[Submission], tasks: Sequence[Task]) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for one, number, task in members_in(found, sorted(tasks, key=lambda task: int(task.job))):
        jobs.update(dict.fromkeys(one.arrays[number].members[task.member], Job(task, one, number)))
    return jobs


@cache
def _say_once(text: str) -> None:
    say(text)


def in_queue(store: Store) -> dict[str, Job]:
    """Give the job of every artifact that waits or runs, for a table; none where SLURM cannot be asked, with a word."""
    try:
        return jobs_of(store, Queue())
    except UserError as error:
        _say_once(f"what waits in SLURM is not shown: {error}")
        return {}


def submit(
    target: Node,
    graph: Graph,
    store: Store,
    config: RunConfig,
    launcher: Mapping[str, Any],
    *,
    rebuild: Rebuild | None = None,
    command: Sequence[str] = (),
    queue: Queue | None = None,
    module: str = MEMBER,
) -> bool:
    """Submit all that a target lacks and that is not in the queue yet.

    Parameters
    ----------
    target : Node
        What is asked for.
    graph : Graph
        That resolved it.
    store : Store
        Where artifacts live; on a file system that all nodes see.
    config : RunConfig
        Of the command: ``hardware``, ``allow_missing`` and ``logging.uri`` are read.
    launcher : mapping
        Fields of ``hydra.launcher``, which every job gets.
    rebuild : Rebuild, optional
        What is made again although it exists.
    command : sequence of str
        Overrides as typed, for what is printed.
    queue : Queue, optional
        The cluster.
    module : str
        What a job runs, with the folder of the submission and the number of its array as arguments.

    Returns
    -------
    bool
        Whether anything is missing still; False if the target is there.
    """
    queue, rebuild = queue or Queue(), rebuild or Rebuild()
    resources = resources_by(config.hardware, launcher)
    if config.logging.uri is not None and masked(config.logging.uri) != config.logging.uri:
        raise UserError(
            "logging.uri holds a password, and jobs read their settings from files: put the address into the variable "
            f"{MLFLOW_URI} of the environment, which jobs inherit, and leave logging.uri out."
        )

    def keeps(node: Node) -> bool:
        return not rebuild.covers(node) or rebuild.has(node, store.folder(*node.address))

    if rebuild.words:
        whole = plan(target, store, keeps)
        inner = config.allow_missing > 0 or any("train" in node.stage.makes for node in whole.todo)
        for word in rebuild.check([*whole.todo, *whole.kept, *whole.gone], inner):
            say(f"rebuild: nothing of this run has the key or stage {word}")
        rebuild.open(store.root, target)
    if rebuild.has(target, store.folder(*target.address)):
        if submissions(store.root):
            with contextlib.suppress(UserError), owner_lock(store.root / FOLDER / LOCK, say):
                _settled(store, queue)  # closes the records; nothing depends on it
        return False
    with owner_lock(store.root / FOLDER / LOCK, say) as lock:
        jobs, gone = _settled(store, queue)
        found = plan(target, store, keeps)  # behind the look at the queue: what a job has made meanwhile is there
        covered = _covered(found.todo, jobs, rebuild)
        fresh = [node for node in found.todo if node.key not in covered]
        _show_queue(covered)
        if fresh:
            estimates = Estimates(store, workers=1)
            announce(found, store, estimates, int(launcher.get("array_parallelism") or 1))
            for line in why_not_made(fresh, store, found.listing, gone):
                say(line)
            arrays = arrays_of(
                fresh,
                seconds=lambda node: estimates.of(node).seconds,
                resources=resources,
                most_members=queue.most_members(),
                job_seconds=60 * config.hardware.job_minutes,
                queued={key: job.task.job for key, job in covered.items()},
            )
            one = _record(arrays, fresh, target, graph, store, config, rebuild)
            _submit(one, queue, lock, module)
    if fresh:
        jobs = _jobs(submissions(store.root), queue.tasks({os.getuid()}))
    own = {node.key for node in found.todo}  # a store may have jobs of other studies too
    _show_ways({key: job for key, job in jobs.items() if key in own}, command)
    return True


def _settled(store: Store, queue: Queue) -> tuple[dict[str, Job], dict[str, Path]]:
    """Find out what became of every array whose job is not noted, close what has ended, and list what is left.

    An array that the queue does not know was never submitted: its command was killed before. It is noted as void, so
    that its job ends at once should it still arrive.

    Returns
    -------
    tuple of dict of str to Job and dict of str to Path
        By key of an artifact: the job that will make it, and the error log of one that has ended since the last look.
    """
    clear_unfinished(store.root)
    found = submissions(store.root)
    if not found:
        return {}, {}
    tasks = queue.tasks(users(found))
    mine = [one for one in found if one.folder.stat().st_uid == os.getuid()]
    by_name = {task.name: task.job for task in tasks}
    late = False
    for one in mine:
        for number in range(len(one.arrays)):
            if one.job(number) is None:
                there = by_name.get(one.name(number), VOID)
                late |= one.claim(number, there) != there
    if late:  # its jobs began between the two looks
        tasks = queue.tasks(users(found))
    jobs = _jobs(found, tasks)
    busy = {job.submission.mark for job in jobs.values()}
    gone: dict[str, Path] = {}
    for one in mine:
        for number, array in enumerate(one.arrays):
            job = one.job(number)
            for member, keys in enumerate(array.members):
                gone |= {key: one.logs / f"{job}_{member}_0_log.err" for key in keys if key not in jobs}
        if one.mark not in busy:
            one.end()
    return jobs, gone


def _covered(todo: Sequence[Node], jobs: Mapping[str, Job], rebuild: Rebuild) -> dict[str, Job]:
    """Choose the artifacts that jobs in the queue will make: those whose missing inputs come in time."""
    making = {node.key for node in todo}
    found: dict[str, Job] = {}
    for node in todo:
        job = jobs.get(node.key)
        if job is None or (rebuild.covers(node) and job.submission.plan["request"] != rebuild.request):
            continue
        inputs = [one.key for one in node.upstream() if one.key in making]
        if all(key in found and job.waits_for(found[key]) for key in inputs):
            found[node.key] = job
    return found


def _record(
    arrays: Sequence[Array],
    nodes: Sequence[Node],
    target: Node,
    graph: Graph,
    store: Store,
    config: RunConfig,
    rebuild: Rebuild,
) -> Submission:
    by_key, labels = {node.key: node for node in nodes}, labels_of(target)
    overrides = tuple(masked_overrides(graph.overrides))
    same = Rebuild(rebuild.words, rebuild.request)
    studies = []
    for array in arrays:
        own = {key: by_key[key] for key in array.keys}
        cells = graph.cells(config) if STAGES[array.stage].gathers is not None else None
        named = {key: labels[key] for key in array.keys if key in labels}
        studies.append(Study(store.root.resolve(), overrides, own, cells, same, config.allow_missing, named))
    return write(store.root, arrays, studies, {"request": rebuild.request})


def _submit(one: Submission, queue: Queue, lock: HeldLock, module: str) -> None:
    """Submit the arrays of a recorded submission, each after those that it waits for, and note their jobs."""
    for number in range(len(one.arrays)):  # an unfit value is refused before anything is submitted
        script_of(one, number, (), module)
    jobs_of_all = sum(len(array.members) for array in one.arrays)
    artifacts = sum(len(array.keys) for array in one.arrays)
    arrays = _some(len(one.arrays), "job array")
    say(f"submitting {arrays} with {_some(jobs_of_all, 'job')} for {_some(artifacts, 'artifact')}:")
    jobs: list[str] = []
    for number, array in enumerate(one.arrays):
        after = [*array.behind, *(jobs[place] for place in array.after)]
        script = one.script(number)
        script.write_text(script_of(one, number, after, module), encoding="utf-8")
        try:
            job = queue.submit(script, lock.files())
        except UserError as error:
            for left in range(number, len(one.arrays)):
                one.claim(left, VOID)
            took = f"SLURM took {number} of {len(one.arrays)} job arrays and not the next. " if number else ""
            rest = " What it took stays in the queue, and the same command submits the rest." if number else ""
            raise UserError(f"{took}{error}{rest}") from error
        jobs.append(one.claim(number, job))
        waits = f", after {' '.join(after)}" if after else ""
        what = f"{_some(len(array.keys), 'artifact')} in {_some(len(array.members), 'job')}"
        say(f"  wave {array.wave}: {array.stage}, {what}: {jobs[-1]}{waits}")


def _show_queue(covered: Mapping[str, Job]) -> None:
    if not covered:
        return
    tasks = {str(job.task): job.task for job in covered.values()}
    counts = Counter("waiting" if task.waits else "running" for task in tasks.values())
    words = " and ".join(f"{counts[state]} {state}" for state in ("running", "waiting") if counts[state])
    arrays = sorted({task.job for task in tasks.values()}, key=int)
    jobs = "job" if len(tasks) == 1 else "jobs"
    say(f"in the queue already: {_some(len(covered), 'artifact')} in {words} {jobs} of {' '.join(arrays)}")


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _show_ways(jobs: Mapping[str, Job], command: Sequence[str]) -> None:
    arrays = sorted({job.task.job for job in jobs.values()}, key=int)
    logs = sorted({str(job.submission.logs) for job in jobs.values()})
    dropped = ("stage=", "watch=", "rebuild=", "allow_missing=", "workers=")
    words = [word for word in command if not word.lstrip("+").startswith(dropped)]
    typed = " ".join(map(shell_word, masked_overrides(["python", "run.py", *words, "stage=status"])))
    say(visible(f"watch:    {typed} watch=10"))
    if arrays:
        say(f"cancel:   scancel {' '.join(arrays)}")
    for folder in logs:
        say(visible(f"logs:     {folder}"))
    say("continue: the same command; it submits what is missing and not in the queue. This process is not needed.")
