"""As many artifacts at the same time as this process may use cores or GPUs, whatever the machine has."""

import os

import pytest

from pipeline.machine.cores import gpu_groups, usable_cores, visible_gpus


@pytest.mark.parametrize("quota, cores", [("150000 100000", 1), ("400000 100000", 4), ("max 100000", 6), ("", 6)])
def test_a_container_leaves_fewer_cores_than_the_machine_has(tmp_path, monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path) == cores


def test_quotas_of_the_first_version_count(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    group = tmp_path / "sys/fs/cgroup/cpu"
    group.mkdir(parents=True)
    (group / "cpu.cfs_period_us").write_text("100000")
    for quota, cores in (("-1", 6), ("250000", 2), ("50000", 1)):
        (group / "cpu.cfs_quota_us").write_text(quota)
        assert usable_cores(tmp_path) == cores


def test_gpus_are_those_that_the_environment_shows_or_the_driver_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 1")
    assert visible_gpus(tmp_path) == gpu_groups(1) == ["3", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7,9")
    assert gpu_groups(2) == ["4,5", "6,7"] and gpu_groups(8) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_gpus(tmp_path) == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert visible_gpus(tmp_path) == []
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "proc/driver/nvidia/gpus" / name).mkdir(parents=True)
    assert visible_gpus(tmp_path) == ["0", "1"]
