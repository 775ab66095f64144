"""One command for a whole graph on SLURM: it submits what is missing, once, whatever happens to it and to its jobs."""

import os
import random
import re
import stat
from collections import Counter
from dataclasses import replace

import pytest

from pipeline.config.numerics import HardwareConfig
from pipeline.engine import graph as graph_module
from pipeline.engine.artifacts import Artifact, Store, partial_of
from pipeline.engine.graph import Graph
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.schedule.slurm import records, submission
from pipeline.engine.schedule.slurm.records import FOLDER, VOID
from pipeline.engine.schedule.slurm.submission import submit
from pipeline.engine.stages import STAGES
from pipeline.engine.status import show_status
from pipeline.errors import UserError
from pipeline.upkeep.leftovers import leftovers
from tests.pipeline.pretend_slurm import PretendSlurm
from tests.pipeline.toy_cells import run_config
from tests.pipeline.toy_stages import install

pytest.importorskip("submitit", reason="the slurm extra is not installed")
LAUNCHER = {"timeout_min": 60, "mem_gb": 2, "cpus_per_task": 1, "array_parallelism": 4, "partition": None}


class Killed(BaseException):
    """A kill -9: nothing catches it."""


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    install(monkeypatch)
    (tmp_path / "counts").mkdir()
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin" / "srun"  # submitit wants to see one
    srun.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TOY_COUNTS", str(tmp_path / "counts"))


def command(tmp_path, queue, seeds="0:4", **options):
    config = run_config(cells={"seed": seeds}, wants=["square"], hardware=options.pop("hardware", HardwareConfig()))
    config = replace(config, **options.pop("config", {}))
    graph, store = Graph(["experiment=toy"]), Store(tmp_path / "store")
    return submit(graph.resolve("total", config), graph, store, config, LAUNCHER, queue=queue, **options)


def made(tmp_path):
    """How often each stage ran, and the payload of everything that is there."""
    runs = Counter({path.name: len(path.read_text().split()) for path in (tmp_path / "counts").iterdir()})
    folders = [one for one in (tmp_path / "store").glob("*/*/*") if one.parents[1].name != FOLDER]
    return dict(runs), {one.name: Artifact(one).manifest["files"] for one in folders}


def test_a_graph_is_three_waves_of_arrays_that_wait_for_one_another(tmp_path, capsys):
    queue = PretendSlurm()
    assert command(tmp_path, queue, command=["experiment=toy", "paths.store=my store"])
    assert [(one.after, len(one.left)) for one in queue.arrays] == [([], 4), (["41"], 4), (["42"], 1)]
    assert "#SBATCH --dependency=afterany:42" in queue.arrays[2].text and "--mem=2GB" in queue.arrays[0].text
    said = capsys.readouterr().err
    assert "wave 2: square, 4 artifacts in 4 jobs: 42, after 41" in said and "scancel 41 42 43" in said
    assert "python run.py experiment=toy 'paths.store=my store' stage=status watch=10" in said
    queue.run()
    assert made(tmp_path)[0] == {"draw": 4, "square": 4, "total": 1}
    assert "(seed 3)" in capsys.readouterr().err, "jobs know the cells of what they make"
    assert not command(tmp_path, queue) and len(queue.arrays) == 3


def test_the_same_command_twice_submits_nothing_twice(tmp_path, capsys):
    queue = PretendSlurm()
    command(tmp_path, queue)
    queue.run(waves=1)
    capsys.readouterr()
    assert command(tmp_path, queue) and len(queue.arrays) == 3
    assert "in the queue already: 5 artifacts in 5 waiting jobs of 42 43" in capsys.readouterr().err
    queue.run()
    assert made(tmp_path)[0] == {"draw": 4, "square": 4, "total": 1}


def test_the_command_that_cancels_leaves_other_studies_of_the_store_alone(tmp_path, capsys):
    queue = PretendSlurm()
    command(tmp_path, queue, "0:2")
    command(tmp_path, queue, "5:7")
    command(tmp_path, queue, "0:2")
    assert re.findall(r"scancel (.*)", capsys.readouterr().err) == ["41 42 43", "44 45 46", "41 42 43"]


def test_a_larger_study_adds_only_what_is_new(tmp_path):
    queue = PretendSlurm()
    command(tmp_path, queue)
    command(tmp_path, queue, "0:6")
    assert [len(one.left) for one in queue.arrays] == [4, 4, 1, 2, 2, 1]
    assert queue.arrays[5].after == ["42", "45"], "the report waits for the jobs of both commands"
    queue.run()
    assert made(tmp_path)[0] == {"draw": 6, "square": 6, "total": 2}


def test_what_a_canceled_job_did_not_make_is_submitted_again_with_all_that_needs_it(tmp_path):
    queue = PretendSlurm()
    command(tmp_path, queue)
    queue.cancel(queue.arrays[0], 2)
    queue.run(waves=1)
    command(tmp_path, queue)  # while the second wave still waits
    assert [len(one.left) for one in queue.arrays] == [0, 4, 1, 1, 1, 1]
    assert queue.arrays[5].after == ["42", "45"]
    queue.run()
    assert made(tmp_path)[0] == {"draw": 4, "square": 4, "total": 1}


def test_a_member_whose_input_is_missing_says_which_command_makes_it(tmp_path, capsys):
    queue = PretendSlurm()
    command(tmp_path, queue)
    queue.cancel(queue.arrays[0])  # the whole wave
    queue.run()
    said = capsys.readouterr().err
    assert "is missing and upstream=require. Make it with:\n  python run.py experiment=toy seed=2 stage=draw" in said
    assert [one.failed for one in queue.arrays] == [[], [0, 1, 2, 3], [0]]
    assert made(tmp_path) == ({}, {})
    assert command(tmp_path, queue)
    queue.run()
    assert made(tmp_path)[0] == {"draw": 4, "square": 4, "total": 1}


def test_a_failure_costs_only_what_needs_it_and_is_tried_again(tmp_path, capsys):
    queue = PretendSlurm()
    command(tmp_path, queue, "12:15")  # seed 13 raises
    queue.run()
    assert [one.failed for one in queue.arrays] == [[1], [1], [0]]
    capsys.readouterr()
    command(tmp_path, queue, "12:15")
    assert re.search(r"failed before, and submitted again: draw toy-none\S*-s13", capsys.readouterr().err)
    assert [len(one.left) for one in queue.waiting] == [1, 1, 1]
    queue.run()
    command(tmp_path, queue, "12:15", config={"allow_missing": 1})
    queue.run()
    assert list((tmp_path / "store" / "total").iterdir()), "a report may go without some cells, if it is told so"


def test_a_job_that_was_out_of_memory_is_told_with_what_it_may_ask_for(tmp_path, capsys):
    queue = PretendSlurm()
    command(tmp_path, queue)
    (array,) = [one for one in queue.arrays if one.job == "41"]
    node = records.Submission(array.folder).study(0).nodes[keys_of(array)[1]]
    partial_of(Store(tmp_path / "store").folder(*node.address)).mkdir(parents=True)
    log = array.folder / "logs" / "41_1_0_log.err"
    log.write_text("to make\nslurmstepd: error: Detected 1 oom_kill event in StepId=41.0.\nsrun: task 0: Killed\n")
    queue.cancel(array, 1)
    queue.run()
    command(tmp_path, queue)
    said = capsys.readouterr().err
    assert "Detected 1 oom_kill event" in said and "hardware.resources.draw.mem_gb=" in said and str(log) in said


def test_jobs_hold_several_artifacts_once_their_time_is_known(tmp_path):
    queue = PretendSlurm()
    command(tmp_path, queue, "0:2")
    queue.run()
    command(tmp_path, queue, "0:5")
    assert [len(one.left) for one in queue.waiting] == [1, 1, 1], "draws of milliseconds share one job"
    queue.run()
    assert made(tmp_path)[0] == {"draw": 5, "square": 5, "total": 2}


def test_arrays_are_as_long_as_the_cluster_allows(tmp_path):
    queue = PretendSlurm(most=3)
    command(tmp_path, queue)
    assert [len(one.left) for one in queue.arrays] == [3, 1, 3, 1, 1]
    queue.run()
    assert made(tmp_path)[0] == {"draw": 4, "square": 4, "total": 1}


def test_what_the_cluster_refuses_is_submitted_by_the_same_command_later(tmp_path):
    queue = PretendSlurm(takes=2)
    with pytest.raises(UserError, match="took 2 of 3 job arrays and not the next. sbatch refuses: Job violates"):
        command(tmp_path, queue)
    queue.takes = 9
    assert command(tmp_path, queue)
    assert [len(one.left) for one in queue.arrays] == [4, 4, 1] and queue.arrays[2].after == ["42"]
    queue.run()
    assert made(tmp_path)[0] == {"draw": 4, "square": 4, "total": 1}


def test_a_value_that_no_job_can_have_is_refused_before_anything_is_submitted(tmp_path):
    queue, hardware = PretendSlurm(), HardwareConfig(resources={"total": {"mem_gb": "much"}})
    with pytest.raises(UserError, match="Jobs of stage total cannot have these resources"):
        command(tmp_path, queue, hardware=hardware)
    assert not queue.arrays
    command(tmp_path, queue)
    assert len(queue.arrays) == 3


def kill_at(patch, queue, moment: int) -> list[str]:
    """Raise at a step of the submission: a file is written, named or claimed, or ``sbatch`` begins or has answered."""
    steps: list[str] = []

    def counted(name, function, before=True):
        def step(*words, **options):
            for when in ("before", "after"):
                if when == "after":
                    result = function(*words, **options)
                steps.append(f"{when} {name}")
                if len(steps) == moment + 1:
                    raise Killed
            return result

        return step

    patch.setattr(records, "_write", counted("write", records._write))
    patch.setattr(records.os, "link", counted("claim", os.link))
    patch.setattr(records.os, "rename", counted("record", os.rename))
    patch.setattr(queue, "submit", counted("sbatch", queue.submit))
    return steps


@pytest.mark.parametrize("draw", [pytest.param(draw, marks=[pytest.mark.kill] * (draw > 5)) for draw in range(20)])
def test_a_command_killed_at_any_moment_loses_no_job_and_doubles_none(tmp_path, draw):
    queue, moment = PretendSlurm(), random.Random(draw).randrange(28)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, queue, moment)
        command(tmp_path, queue, "0:2")
    begun = random.Random(draw).random() < 0.5
    if begun:  # jobs run while nobody watches
        queue.run(waves=2)
    command(tmp_path, queue, "0:2")
    waiting = Counter(key for one in queue.waiting for key in keys_of(one))
    assert max(waiting.values(), default=1) == 1 or begun
    queue.run()
    command(tmp_path, queue, "0:2")
    queue.run()
    assert made(tmp_path)[0] == {"draw": 2, "square": 2, "total": 1}
    assert not command(tmp_path, queue, "0:2")


def keys_of(array) -> list[str]:
    one = records.Submission(array.folder)
    return [key for member in array.left for key in one.arrays[array.number].members[member]]


def test_the_moments_cover_a_whole_submission(tmp_path):
    queue = PretendSlurm()
    with pytest.MonkeyPatch.context() as patch:
        steps = kill_at(patch, queue, 10**6)
        command(tmp_path, queue)
    assert len(steps) == 28 and steps.count("before sbatch") == 3 and steps.count("after claim") == 3


def test_an_array_that_arrives_when_its_command_is_dead_and_replaced_does_nothing(tmp_path, capsys):
    queue = PretendSlurm()

    def late(script, keep_open=()):
        queue.forgotten.append(queue.parse(script))
        raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(queue, "submit", late)
        command(tmp_path, queue)
    command(tmp_path, queue)
    (orphan,) = queue.forgotten
    one = records.Submission(orphan.folder)
    assert one.job(0) == VOID and orphan.name not in {array.name for array in queue.arrays}
    queue.begin(orphan, list(orphan.left))
    assert made(tmp_path) == ({}, {})
    queue.run()
    assert made(tmp_path)[0] == {"draw": 4, "square": 4, "total": 1}


def test_code_that_changed_while_a_job_waited_is_told_before_anything_is_made(tmp_path, capsys, monkeypatch):
    queue = PretendSlurm()
    command(tmp_path, queue, "0:1")
    with monkeypatch.context() as patch:
        patch.setattr(graph_module, "hashed_sections", lambda *words: {"training.lr": "another file"})
        queue.begin(queue.arrays[0], [0])
    assert "was changed after the job of draw toy-none-sgd-lr0.1-s0 was submitted" in capsys.readouterr().err
    with monkeypatch.context() as patch, pytest.raises(UserError, match="Stage square was VERSION 1 when this job was"):
        patch.setitem(STAGES, "square", replace(STAGES["square"], version=7))
        queue.begin(queue.arrays[1], [0])
    assert made(tmp_path) == ({}, {})
    pickled = queue.arrays[0].folder / "array-0.pkl"
    pickled.write_bytes(b"cpipeline.no_such_module\nNode\n.")
    with pytest.raises(UserError, match="code has changed since this job was submitted .*no_such_module"):
        records.Submission(queue.arrays[0].folder).study(0)


def test_a_rebuild_is_submitted_once_and_is_not_what_was_in_the_queue_before(tmp_path):
    queue = PretendSlurm()
    command(tmp_path, queue)
    queue.run()
    assert command(tmp_path, queue, rebuild=Rebuild(frozenset({"square"})))
    assert command(tmp_path, queue, rebuild=Rebuild(frozenset({"square"})))
    assert [len(one.left) for one in queue.waiting] == [1, 1]
    queue.run()
    assert made(tmp_path)[0] == {"draw": 4, "square": 8, "total": 2}
    with pytest.raises(UserError, match=r"rebuild=\[kernel\]: no artifact of this run"):
        command(tmp_path, queue, rebuild=Rebuild(frozenset({"kernel"})))


def test_status_tells_what_waits_in_the_queue(tmp_path, capsys, monkeypatch):
    queue = PretendSlurm()
    command(tmp_path, queue)
    queue.run(waves=1)
    monkeypatch.setattr(submission, "Queue", lambda: queue)
    config = run_config(cells={"seed": "0:4"}, wants=["square"])
    show_status(Graph(["experiment=toy"]), Store(tmp_path / "store"), config)
    said = capsys.readouterr().out
    assert "4 done, 4 queued, 1 missing" in said and "job 42_3, pending" in said  # the report itself is not asked for


def test_records_are_closed_when_the_jobs_have_ended_and_unfinished_ones_go(tmp_path):
    queue = PretendSlurm()
    command(tmp_path, queue)
    queue.run(waves=2)
    (tmp_path / "store" / FOLDER / ".new-12345678").mkdir()
    command(tmp_path, queue, "0:5")
    first, second = sorted(path for path in (tmp_path / "store" / FOLDER).iterdir())
    queue.run()
    command(tmp_path, queue, "0:6")
    assert set(records.ended(tmp_path / "store")) == {first, second}
    listed = {one.path for one in leftovers(Store(tmp_path / "store"), run_config())}
    assert {first, second} <= listed
    queue.run()
    assert not command(tmp_path, queue, "0:6") and len(records.ended(tmp_path / "store")) == 3


def test_a_password_reaches_no_record(tmp_path):
    config = run_config()
    logging = replace(config.logging, uri="http://alice:swordfish@host")
    with pytest.raises(UserError, match="logging.uri holds a password"):
        command(tmp_path, PretendSlurm(), config={"logging": logging})
    assert not (tmp_path / "store").exists()


def test_records_belong_to_whoever_submits(tmp_path):
    queue = PretendSlurm()
    command(tmp_path, queue)
    (one,) = records.submissions(tmp_path / "store")
    assert records.users([one]) == {os.getuid()} and stat.S_ISDIR(one.logs.stat().st_mode)
