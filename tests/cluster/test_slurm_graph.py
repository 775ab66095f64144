"""A whole graph on a real SLURM by one command, which leaves; the same command shows, continues and repairs."""

import json
import os
import re
import signal
import time
from collections import Counter

import pytest

from tests.cluster.conftest import SMALL_JOBS, TINY, finished, pipeline
from tests.cluster.toy_study import ONCE, logs, payloads, runs, start, submitted

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]
OWN = """
from torch import nn


class Net(nn.Module):
    def __init__(self, in_features, num_classes):
        super().__init__()
        self.head = nn.Linear(in_features, num_classes)

    def forward(self, images):
        return self.head(images.flatten(1))
"""
STUDY = (*TINY, "kernel=pntk", 'cells.model=[["model=mlp"]]', 'cells.kernel=[["kernel=pntk"]]', "cells.seed='0:2'")


def test_two_commands_at_once_submit_three_waves_in_short_arrays_without_accounting(slurm, tmp_path):
    both = [start(slurm, tmp_path), start(slurm, tmp_path)]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    slurm.wait_until_empty()
    assert runs(tmp_path) == ONCE
    found = re.findall(r"wave (\d): (\w+), \d+ artifacts? in (\d+) jobs?: (\d+)", "".join(said))
    assert Counter(wave for wave, *_ in found) == {"1": 2, "2": 2, "3": 1}, "arrays of nine and three, and one report"
    assert len(reports(slurm, tmp_path)) == 1, "the second command found what the first had submitted"
    assert "done: " in submitted(slurm, tmp_path)


def test_a_killed_member_and_a_canceled_wave_are_repaired_by_the_same_command(slurm, tmp_path):
    said = submitted(slurm, tmp_path, TOY_SLEEP="0.4")
    (second,) = re.findall(r"wave 2: square, 9 artifacts in 9 jobs: (\d+)", said)
    slurm.command("scancel", second)
    pid = wait_for_owner(tmp_path)
    os.kill(pid, signal.SIGKILL)
    slurm.wait_until_empty()
    assert runs(tmp_path) == {"draw": 12, "square": 3 - square_of_killed(tmp_path)}
    assert "is missing and upstream=require. Make it with:\n  python run.py experiment=toy" in logs(tmp_path, "total")
    assert "imported: torch" not in logs(tmp_path, "total"), "what lacks its inputs ends before the long imports"
    again = submitted(slurm, tmp_path)
    assert "wave 1: draw, 1 artifact in 1 job" in again
    slurm.wait_until_empty()
    assert runs(tmp_path) == {"draw": 13, "square": 12, "total": 1}, "the killed draw continued"
    assert len(payloads(tmp_path)) == 25


def reports(slurm, folder) -> list[str]:
    """Jobs that make the report of a folder's study."""
    lines = slurm.command("scontrol", "--oneliner", "show", "job").splitlines()
    return [line for line in lines if "JobName=total-" in line and f"{folder}/" in line]


def wait_for_owner(folder) -> int:
    """Process of a draw that has begun and kept something."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        for kept in (folder / "store" / "draw").glob("*/*.partial/scratch/1.npy"):
            return json.loads(kept.parents[1].with_suffix(".lock").read_text())["pid"]
        time.sleep(0.05)
    raise AssertionError("no draw has begun")


def square_of_killed(folder) -> int:
    """Whether the input of one of the three squares that were not canceled is what was killed."""
    return sum("draw" in line and "is missing" in line for line in logs(folder, "square").splitlines())


def test_a_study_runs_on_gpus_where_it_needs_them_and_its_command_need_not_stay(slurm, tmp_path):
    one_core = ("mem_gb=2", "cpus_per_task=1")
    small = [f"hardware.resources.{stage}.{field}" for stage in ("prepare", "report") for field in one_core]
    study = [*STUDY, "wants=[train,kernel]", "hardware=slurm_gpu", "numerics=cpu", *small]
    words = [*study, "hydra.launcher.mem_gb=2", "hydra.launcher.cpus_per_task=1"]
    said = finished(pipeline(tmp_path, *words, "workers=3", **slurm.environment))
    assert "workers=3 is of a single machine" in said
    assert len(re.findall(r"wave \d: ", said)) == 4 and "continue: the same command" in said
    status = finished(pipeline(tmp_path, *study, "stage=status", **slurm.environment))
    assert re.search(r"\d queued", status) and "job " in status
    assert "in the queue already" in finished(pipeline(tmp_path, *words, **slurm.environment))
    slurm.wait_until_empty()
    shown = finished(pipeline(tmp_path, *words, **slurm.environment))
    assert "report.html" in shown
    for stage, gpus in (("train", True), ("kernel", True), ("prepare", False), ("report", False)):
        for artifact in (tmp_path / "store" / stage).glob("*/*"):
            record = json.loads((artifact / "provenance.json").read_text())["slurm"]
            assert record["SLURM_ARRAY_JOB_ID"] and ("SLURM_JOB_GPUS" in record) == gpus, stage


def test_own_networks_and_weights_in_the_commands_folder_reach_the_jobs(slurm, tmp_path):
    torch = pytest.importorskip("torch")
    folder = tmp_path / "my own study"
    folder.mkdir()
    (folder / "mynet.py").write_text(OWN)
    torch.save({"head.weight": torch.zeros(10, 1024), "head.bias": torch.zeros(10)}, folder / "zero0.pt")
    for name in ("models", "pipeline", "queue"):  # none of ours is hidden by a user's
        (folder / f"{name}.py").write_text("raise SystemExit('hidden')")
    study = (*TINY[:2], "model=custom", "model.target=mynet.Net", "snapshots=none", "stage=train", *SMALL_JOBS)
    said = finished(pipeline(folder, *study, "weights.path=zero{seed}.pt", folder=folder, **slurm.environment))
    assert len(re.findall(r"wave \d: ", said)) == 2
    swept = ("-m", *study, "upstream=make", f"hydra.sweep.dir={folder}/sweep", "seed=0")
    finished(pipeline(folder, *swept, folder=folder, **slurm.environment))
    slurm.wait_until_empty()
    for stage in ("checkpoint", "train"):
        (made,) = (folder / "store" / stage).glob("*/*")
        assert json.loads((made / "provenance.json").read_text())["slurm"]["SLURM_JOB_ID"], stage
