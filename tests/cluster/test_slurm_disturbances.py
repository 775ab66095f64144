"""Jobs that are preempted, requeued, killed or cancelled in mid-training end in the bytes of undisturbed ones."""

import json
import os
import random
import re
import signal
import time

import pytest

from tests.cluster.conftest import TINY, finished, pipeline
from tests.cluster.toy_study import ONCE, logs, runs, start, submitted
from tests.cluster.toy_study import payloads as payloads_of

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]
EPOCHS = 200
TRAIN = (*TINY, "stage=train", f"training.epochs={EPOCHS}", "seed=0,1,2,3")


def payloads(store):
    return {
        path.parent.name: {name: entry["sha256"] for name, entry in json.loads(path.read_text())["files"].items()}
        for path in (store / "store" / "train").glob("*/*/manifest.json")
    }


def owner(store, seed: int) -> dict:
    (lock,) = (store / "store" / "train").glob(f"*/*-s{seed}-*.lock")
    return json.loads(lock.read_text())


def task_of(store, seed: int) -> str:
    """Give ARRAY_TASK: the number of one of the jobs of an array is also that of the whole."""
    (folder,) = (store / "sweep" / ".submitit").glob(f"*_{seed}")
    return folder.name


def disturb_each_under_way(store, disturbances: dict, least: int = 3, seconds: float = 400.0) -> None:
    """Disturb every run once it has saved some epochs; on a busy machine the first would end before the last begins."""
    deadline = time.monotonic() + seconds
    waiting = dict(disturbances)
    while waiting:
        assert time.monotonic() < deadline, f"runs {list(waiting)} saved no epoch"
        for seed in list(waiting):
            notes = list((store / "store" / "train").glob(f"*/*-s{seed}-*.partial/scratch/progress.json"))
            if notes and int(re.search(r"epoch (\d+)/", json.loads(notes[0].read_text())["text"])[1]) > least:
                waiting.pop(seed)()
        time.sleep(0.1)


def log_of(store, seed: int, kind: str) -> str:
    return "".join(path.read_text() for path in (store / "sweep" / ".submitit").glob(f"*_{seed}/*_log.{kind}"))


@pytest.fixture(scope="module")
def disturbed(slurm, tmp_path_factory):
    """One array of four runs: 0 gets the signal of a time-out or preemption, 1 loses its node and is requeued by
    SLURM, 2 is killed, 3 is cancelled; then the same sweep is submitted again.
    """
    store = tmp_path_factory.mktemp("disturbed")
    tracking = ("logging=wandb_offline", f"logging.folder={store}/tracking")
    first = slurm.submit(store, "sweep", *TRAIN, *tracking)
    disturbances = {
        0: lambda: slurm.command("scancel", "--signal=USR2", task_of(store, 0)),
        1: lambda: slurm.command("scontrol", "requeue", task_of(store, 1)),
        2: lambda: os.kill(owner(store, 2)["pid"], signal.SIGKILL),
        3: lambda: slurm.command("scancel", task_of(store, 3)),
    }
    disturb_each_under_way(store, disturbances)
    output = finished(first, code=2)
    after_first = payloads(store)
    finished(slurm.submit(store, "again", *TRAIN, *tracking))
    return store, output, after_first


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed")
    finished(pipeline(store, "-m", f"hydra.sweep.dir={store}/sweep", *TRAIN))
    return payloads(store)


@pytest.mark.parametrize("seed", range(4), ids=["preempted", "node lost", "killed", "cancelled"])
def test_the_bytes_are_those_of_an_undisturbed_run(disturbed, undisturbed, seed):
    store, _, _ = disturbed
    (name,) = [name for name in undisturbed if f"-s{seed}-" in name]
    assert payloads(store)[name] == undisturbed[name]


def test_a_requeued_job_ends_in_its_own_sweep_and_the_others_in_the_next(disturbed):
    _, _, after_first = disturbed
    finished_first = {re.search(r"-s(\d)-", name)[1] for name in after_first}
    # submitit may give up on the job whose node was lost before SLURM starts it again.
    assert "0" in finished_first and not finished_first & {"2", "3"}


@pytest.mark.parametrize("seed", [0], ids=["preempted"])
def test_a_requeued_job_goes_on_at_its_epoch(disturbed, seed):
    store, _, _ = disturbed
    epochs = [int(number) for number in re.findall(rf"epoch (\d+)/{EPOCHS}:", log_of(store, seed, "err"))]
    assert epochs[0] == 1 and epochs[-1] == EPOCHS
    assert epochs == sorted(set(epochs)), "no epoch is trained twice and none before the checkpoint again"
    assert log_of(store, seed, "err").count("to make:") == 2


def test_a_continued_job_has_one_tracked_run_and_one_folder_for_all_its_starts(disturbed):
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    store, _, _ = disturbed
    for seed in range(4):
        (artifact,) = (store / "store" / "train").glob(f"*/*-s{seed}-*")
        key = artifact.name.rsplit("-", 1)[1]
        (found,) = (store / "tracking" / "wandb").glob(f"offline-run-*-{key}-*")
        (binary,) = found.glob("*.wandb")
        told = {int(epoch) for epoch in re.findall(rb"train/epoch\x82\x01.(\d+)", binary.read_bytes(), re.DOTALL)}
        assert told >= set(range(1, EPOCHS + 1)), "what the first start told is repeated into the later files"


def test_nothing_is_left_over(disturbed):
    store, _, _ = disturbed
    assert not [path for path in (store / "store").rglob("*") if path.suffix in (".partial", ".lock")]


def test_a_preempted_job_of_a_graph_asks_for_its_requeue_and_goes_on(slurm, tmp_path):
    submitted(slurm, tmp_path, TOY_SLEEP="0.5")
    deadline = time.monotonic() + 240
    while not (begun := list((tmp_path / "store" / "draw").glob("*/*.partial/scratch/3.npy"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lock = begun[0].parents[1].with_suffix(".lock")
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGUSR2)  # scancel would send it again to the requeued job
    slurm.wait_until_empty()
    assert runs(tmp_path) == {**ONCE, "draw": 13} and len(payloads_of(tmp_path)) == 25
    assert "Caught signal SIGUSR2" in logs(tmp_path, "draw")


def test_twenty_killed_commands_lose_no_job_and_double_none(slurm, tmp_path):
    dice, killed = random.Random(0), 0
    for moment in range(20):
        folder = tmp_path / str(moment)
        process = start(slurm, folder, "0:3")
        while process.poll() is None and not (folder / "store" / ".slurm").is_dir():
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.5))  # in which records are written and three arrays submitted
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        submitted(slurm, folder, "0:3")
    assert killed >= 5, "most commands had ended before"
    slurm.wait_until_empty(900)
    for moment in range(20):
        folder = tmp_path / str(moment)
        assert runs(folder) == {"draw": 3, "square": 3, "total": 1}, moment
        assert payloads_of(folder) == payloads_of(tmp_path / "0")
        assert "done: " in submitted(slurm, folder, "0:3")
