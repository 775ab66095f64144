"""Sweeps through a real SLURM: they train, compute kernels and report; failures stay where they belong."""

import json

import pytest

from tests.cluster.conftest import TINY, finished, pipeline

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]
STUDY = (*TINY, "kernel=pntk", 'cells.model=[["model=mlp"]]', 'cells.kernel=[["kernel=pntk"]]', "cells.seed='0:2'")


def logs(store, sweep: str, suffix: str) -> list[str]:
    return [path.read_text() for path in sorted((store / sweep / ".submitit").glob(f"*/*_log.{suffix}"))]


def test_a_sweep_trains_then_computes_kernels_then_reports(slurm, tmp_path):
    early = finished(slurm.submit(tmp_path, "early", *STUDY, "stage=kernel", "seed=0,1"), code=2)
    assert "upstream=require" in early and "stage=train" in early, "the command that makes what is missing"
    finished(slurm.submit(tmp_path, "train", *STUDY, "stage=train", "seed=0,1"))
    trained = sorted((tmp_path / "store" / "train").glob("*/*"))
    assert len(trained) == 2
    for artifact in trained:
        assert json.loads((artifact / "provenance.json").read_text())["slurm"]["SLURM_JOB_ID"]
    assert len(list((tmp_path / "store" / "prepare").glob("*/*"))) == 1, "prepared once, by whichever job was first"
    finished(slurm.submit(tmp_path, "kernel", *STUDY, "stage=kernel", "seed=0,1"))
    output = finished(pipeline(tmp_path, *STUDY, "wants=[train,kernel]", "upstream=require"))
    assert "report.html" in output


def test_a_failing_job_keeps_its_traceback_and_the_others_finish(slurm, tmp_path):
    rates = "training.lr=0.01,1e30"
    finished(slurm.submit(tmp_path, "sweep", *TINY, "stage=train", rates), code=2)
    done = [path for path in (tmp_path / "store" / "train").glob("*/*") if path.suffix not in (".partial", ".lock")]
    assert len(done) == 1
    assert any("Training diverged" in path.read_text() for path in (tmp_path / "sweep").glob("*/run.log"))
    assert any("Training diverged" in text for text in logs(tmp_path, "sweep", "out"))
    status = finished(pipeline(tmp_path, *TINY, "stage=status", "wants=[]", "training.lr=1e30"))
    assert "1 failed" in status and "Training diverged" in status and "Traceback" in status


def test_two_sweeps_at_once_share_what_both_need(slurm, tmp_path):
    train = slurm.submit(tmp_path, "a", *TINY, "stage=train", "seed=0,1")
    kernel = slurm.submit(tmp_path, "b", *TINY, "stage=kernel", "seed=0,1", "upstream=make")
    finished(train)
    finished(kernel)
    said = "".join(logs(tmp_path, "a", "err") + logs(tmp_path, "b", "err"))
    assert said.count("epoch 1/1:") == 2, "each of the two networks was trained once"
    assert len(list((tmp_path / "store" / "kernel").glob("*/*"))) == 2
    assert not list((tmp_path / "store").rglob("*.lock"))
