"""Free memory is what the tightest control group leaves, whichever version, nesting or name space."""

import resource
from pathlib import Path

import pytest

from kernels.machine import memory
from kernels.machine.control_groups import address_space_headroom, group_headroom

MIB = 2**20
V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n"
V1_MOUNT = (
    "33 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)


@pytest.fixture
def machine(tmp_path):
    """Function that writes a made-up /proc and /sys and returns their root."""

    def write(membership, mounts, files) -> Path:
        texts = {"proc/self/cgroup": membership, "proc/self/mountinfo": mounts, **files}
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n", encoding="utf-8")
        return tmp_path

    return write


def second(folder, current, limit="max", high="max", inactive=0):
    folder = f"sys/fs/cgroup{folder}"
    stat = f"anon 5\ninactive_file {inactive}\nactive_file {MIB}\nslab_reclaimable 0"
    named = {"memory.max": limit, "memory.high": high, "memory.current": current, "memory.stat": stat}
    return {f"{folder}/{name}": value for name, value in named.items()}


def first(folder, used, limit, hierarchical=2**63 - 4096, inactive=0):
    folder = f"sys/fs/cgroup/memory{folder}"
    stat = f"hierarchical_memory_limit {hierarchical}\ntotal_inactive_file {inactive}\ntotal_active_file 0"
    named = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}
    return {f"{folder}/{name}": value for name, value in named.items()}


def test_a_batch_job_counts_the_limit_of_an_outer_group(machine):
    job = second("/slurm/job_7", current=300 * MIB, limit=1000 * MIB, inactive=99 * MIB)
    task = second("/slurm/job_7/step_0/task_0", current=200 * MIB)
    root = machine("0::/slurm/job_7/step_0/task_0", V2_MOUNT, job | task)
    assert group_headroom(root) == 800 * MIB


def test_the_throttling_limit_counts_like_the_killing_one(machine):
    root = machine("0::/job", V2_MOUNT, second("/job", current=101 * MIB, limit=1000 * MIB, high=400 * MIB))
    assert group_headroom(root) == 300 * MIB


def test_no_limit_anywhere_is_no_bound(machine):
    assert group_headroom(machine("0::/job", V2_MOUNT, second("/job", current=MIB))) is None
    unlimited = first("/job", used=MIB, limit=2**63 - 4096)
    assert group_headroom(machine("4:memory:/job\n0::/", V1_MOUNT, unlimited)) is None


def test_a_machine_without_control_groups_is_no_bound(tmp_path):
    assert group_headroom(tmp_path) is None


def test_the_first_version_with_a_limit_of_an_ancestor_out_of_sight(machine):
    files = first("/docker/abc", used=500 * MIB, limit=2**63 - 4096, hierarchical=2000 * MIB, inactive=100 * MIB)
    root = machine("5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/", V1_MOUNT, files)
    assert group_headroom(root) == 1600 * MIB


def test_a_container_sees_its_group_at_the_top_of_the_mount(machine):
    # the path is the host's, the mount shows the container's part of it
    files = first("", used=100 * MIB, limit=600 * MIB)
    mounts = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    assert group_headroom(machine("4:memory:/docker/abc", mounts, files)) == 500 * MIB
    # the mount shows nothing of the path: its top is the best that can be known
    assert group_headroom(machine("4:memory:/elsewhere/abc", mounts, files)) == 500 * MIB


def test_a_group_over_its_limit_leaves_nothing(machine):
    assert group_headroom(machine("0::/job", V2_MOUNT, second("/job", current=900 * MIB, limit=100 * MIB))) == 0


def test_the_default_budget_and_the_plan_follow_the_tightest_bound(monkeypatch):
    import torch

    monkeypatch.setattr(memory, "group_headroom", lambda: 400 * MIB)
    assert memory.available_memory() == 400 * MIB
    assert memory.parse_memory(None, torch.device("cpu")) == 100 * MIB
    monkeypatch.setattr(memory, "address_space_headroom", lambda: 80 * MIB)
    assert memory.available_memory() == 80 * MIB


def test_a_limit_of_the_address_space_counts(monkeypatch, tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("1000 10 10 1 0 10 0\n", encoding="utf-8")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (6_000_000_000, 6_000_000_000))
    assert address_space_headroom(tmp_path) == 6_000_000_000 - 1000 * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert address_space_headroom(tmp_path) is None


def test_odd_lines_are_passed_over(machine):
    files = second("/job", current=100 * MIB, limit=500 * MIB)
    files["sys/fs/cgroup/job/memory.stat"] = "anon\n\ninactive_file many\nactive_file 0"
    assert group_headroom(machine("what is this\n\n0::/job", V2_MOUNT, files)) == 400 * MIB
    files["sys/fs/cgroup/job/memory.current"] = "unknown"
    assert group_headroom(machine("0::/job", V2_MOUNT, files)) is None
