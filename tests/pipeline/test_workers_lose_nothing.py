"""Many artifacts at the same time end in the bytes of one after another, whoever is killed and when."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.engine.artifacts import Artifact

ROOT = Path(__file__).resolve().parents[2]
SEEDS = "0:6"
MOMENTS = int(os.environ.get("KILL_MOMENTS", "6"))
"""Kills of each kind; `make test-disturbances` has twenty."""


def start(folder: Path, workers: int, seeds: str = SEEDS, *more: str, **environment: str) -> subprocess.Popen:
    (folder / "counts").mkdir(parents=True, exist_ok=True)
    variables = os.environ | {"TOY_COUNTS": str(folder / "counts"), "PYTHONPATH": str(ROOT)} | environment
    command = [sys.executable, "-m", "tests.pipeline.toy_study", str(folder / "store"), str(workers), seeds, *more]
    return subprocess.Popen(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    said = process.communicate(timeout=120)[0]
    assert process.returncode == code, said
    return said


def payloads(folder: Path) -> dict[str, object]:
    found = {}
    for entry in sorted((folder / "store").glob("*/*/*")):
        assert entry.is_dir() and not entry.name.endswith(".partial"), entry
        found[f"{Artifact(entry).stage}/{entry.name}"] = Artifact(entry).manifest["files"]
        Artifact(entry).verify()
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("alone")
    finish(start(folder, 1))
    return payloads(folder)


def test_three_workers_make_what_one_makes_and_each_artifact_once(tmp_path, alone):
    said = finish(start(tmp_path, 3, TOY_SLEEP="0.02"))
    assert payloads(tmp_path) == alone
    pids = [(tmp_path / "counts" / name).read_text().split() for name in ("draw", "square", "total")]
    assert [len(found) for found in pids] == [6, 6, 1] and len(set(pids[0])) == 3
    assert "[13/13] total toy" in said and "draw toy-none-sgd-lr0.1-s4" in said and "(seed 4): done in" in said


def test_artifacts_that_a_stage_makes_itself_are_shared_by_the_workers(tmp_path):
    together, one = tmp_path / "together", tmp_path / "one"
    said = finish(start(together, 3, "0:2", "0", "pools", TOY_SLEEP="0.05"))
    finish(start(one, 1, "0:2", "0", "pools"))
    assert payloads(together) == payloads(one)
    pids = (together / "counts" / "draw").read_text().split()
    assert len(pids) == 8 and max(map(pids.count, pids)) < 8 and len(set(pids)) == 3
    assert "waits for 6 of draw" in said and "seed 103" in said and "failed" not in said
    assert len((together / "counts" / "pooled").read_text().split()) == 4  # begun, postponed, begun again


def test_a_killed_worker_costs_what_it_was_making_and_that_is_continued(tmp_path, alone):
    said = finish(start(tmp_path, 2, TOY_KILL_ONCE="draw5"))
    assert payloads(tmp_path) == alone
    assert "ended from outside (signal SIGKILL" in said and "begun once more" in said
    assert len((tmp_path / "counts" / "draw").read_text().split()) == 7


def test_what_kills_its_worker_twice_is_reported_and_the_rest_is_made(tmp_path):
    said = finish(start(tmp_path, 2, "14:17", TOY_KILL="draw9"), code=1)
    assert "It was tried twice." in said and "seed 14" in said
    assert not list((tmp_path / "store" / "total").glob("*/*[0-9a-f]"))


def test_a_failing_cell_stops_only_what_needs_it(tmp_path):
    said = finish(start(tmp_path, 3, "12:15"), code=1)  # seed 13 raises, and that is our fault
    made = sorted(entry.name.rpartition("-")[0] for entry in (tmp_path / "store" / "square").glob("*/*"))
    assert made == [f"toy-none-sgd-lr0.1-pntk-s{seed}" for seed in (12, 14)]
    assert "ValueError: unlucky seed" in said and "in draw" in said  # the traceback of the worker
    assert "again: python run.py experiment=toy" in said and ".partial/logs" in said
    said = finish(start(tmp_path, 3, "12:15", "1"))
    assert "total" in said and (tmp_path / "counts" / "square").read_text().count("\n") == 2


def test_an_interrupt_ends_everything_within_five_seconds_and_the_same_command_continues(tmp_path, alone):
    process = start(tmp_path, 3, TOY_SLEEP="0.3")
    count = tmp_path / "counts" / "draw"
    end = time.monotonic() + 60
    while not (count.exists() and len(count.read_text().split()) == 3):  # all workers are at work
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    said = finish(process, code=130)
    assert time.monotonic() - begun < 5 and "the same command continues" in said
    assert not list((tmp_path / "store").rglob("*.lock"))
    finish(start(tmp_path, 3))
    assert payloads(tmp_path) == alone


@pytest.mark.parametrize("moment", [0, 1])
def test_a_killed_scheduler_takes_its_workers_with_it_and_loses_nothing(tmp_path, alone, moment):
    kill_scheduler(tmp_path, random.Random(moment).uniform(0.6, 2.0))
    finish(start(tmp_path, 2))
    assert payloads(tmp_path) == alone


@pytest.mark.kill
@pytest.mark.timeout(1200)
def test_kills_of_the_scheduler_at_seeded_moments_lose_nothing(tmp_path, alone):
    dice = random.Random(0)
    for moment in range(MOMENTS):
        folder = tmp_path / f"scheduler{moment}"
        kill_scheduler(folder, dice.uniform(0.4, 3.0))
        finish(start(folder, 2))
        assert payloads(folder) == alone


@pytest.mark.kill
@pytest.mark.timeout(1200)
def test_kills_of_a_worker_at_seeded_moments_lose_nothing(tmp_path, alone):
    dice, killed = random.Random(1), 0
    for moment in range(MOMENTS):
        folder = tmp_path / f"worker{moment}"
        process = start(folder, 2, TOY_SLEEP="0.03")
        while not children(process.pid) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(dice.uniform(0.0, 1.0))
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, IndexError):  # it has just ended
            os.kill(children(process.pid)[0], signal.SIGKILL)
            killed += 1
        finish(process)
        assert payloads(folder) == alone
    assert killed > MOMENTS / 2


def kill_scheduler(folder: Path, seconds: float) -> None:
    process = start(folder, 2, TOY_SLEEP="0.05")
    time.sleep(seconds)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    time.sleep(0.2)
    assert not [pid for pid in workers if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
