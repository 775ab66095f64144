"""What SLURM's commands answer is understood, and what they refuse is said in their words."""

import pytest

from pipeline.engine.schedule.slurm.queue import Queue, Task
from pipeline.errors import UserError


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(name: str, body: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("said", "most"), [("MaxArraySize     = 1001", 1000), ("MaxArraySize = 10", 9), ("MaxArraySize = 9000", 1000)]
)
def test_arrays_are_cut_at_the_clusters_limit_and_at_a_thousand(pretend, said, most):
    pretend("scontrol", f"echo 'MailProg = /bin/mail\n{said}\nMaxCPUs = 4'")
    assert Queue().most_members() == most


def test_a_cluster_without_arrays_is_refused(pretend):
    pretend("scontrol", "echo 'MaxArraySize = 0'")
    with pytest.raises(UserError, match="takes no job arrays"):
        Queue().most_members()


def test_waiting_and_running_members_are_listed(pretend):
    lines = ["41|3|PENDING|train-3f2a9c11-0|(Dependency)", "42|0|RUNNING|x|a|b", "50|N/A|RUNNING|shell|node1"]
    body = "\n".join(f"echo '{one}'" for one in lines)
    pretend("squeue", f"test $4 = --user=0,7 || exit 1\n{body}")
    first, second = Queue().tasks([7, 0, 7])
    assert first == Task("41", 3, "PENDING", "train-3f2a9c11-0", "Dependency") and first.waits
    assert str(second) == "job 42_0" and second.why == "a|b" and not second.waits


def test_a_job_inherits_nothing_of_the_job_that_submits_it(pretend, monkeypatch, tmp_path):
    pretend("sbatch", f"env > {tmp_path}/seen; echo '71;cluster'")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/mine")
    assert Queue().submit(tmp_path / "script") == "71"
    seen = (tmp_path / "seen").read_text()
    assert "SLURM_JOB_ID" not in seen and "SLURM_CONF=/etc/mine" in seen and "PYTHONPATH=/" in seen


def test_settings_of_a_users_shell_hide_no_job_and_rename_none(pretend, monkeypatch, tmp_path):
    pretend("squeue", f"echo $* > {tmp_path}/asked; env > {tmp_path}/seen")
    for name in ("SQUEUE_PARTITION", "SQUEUE_STATES", "SBATCH_JOB_NAME", "SBATCH_ARRAY_INX"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("SBATCH_ACCOUNT", "physics")
    Queue().tasks([0])
    assert "--all" in (tmp_path / "asked").read_text(), "also where the partition is hidden"
    assert "SQUEUE_" not in (tmp_path / "seen").read_text()
    pretend("sbatch", f"env > {tmp_path}/seen; echo 71")
    Queue().submit(tmp_path / "script")
    seen = (tmp_path / "seen").read_text()
    assert "=mine" not in seen and "SBATCH_ACCOUNT=physics" in seen


def test_what_slurm_refuses_is_said_in_its_words(pretend, tmp_path):
    pretend("sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    with pytest.raises(UserError, match="sbatch refuses: sbatch: error: invalid partition specified: gpu"):
        Queue().submit(tmp_path / "script")
    pretend("sbatch", "echo hello")
    with pytest.raises(UserError, match="sbatch answered 'hello', which names no job"):
        Queue().submit(tmp_path / "script")


def test_a_machine_without_slurm_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"squeue is not on this machine.*a login node.*hardware=local"):
        Queue().tasks([0])
