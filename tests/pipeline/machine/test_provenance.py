"""Code that belongs to another user, or to no repository, stops nothing, and provenance says why there is no commit."""

import subprocess

import pytest

from pipeline.machine import provenance


@pytest.fixture
def git(monkeypatch):
    """Let git answer as the test says."""

    def answers(code: int, stderr: bytes) -> dict:
        done = subprocess.CompletedProcess(["git"], code, b"", stderr)
        monkeypatch.setattr(provenance.subprocess, "run", lambda *call, **options: done)
        for cached in (provenance.current_commit, provenance.git_refusal, provenance.code_state):
            cached.cache_clear()
        return provenance.code_state()

    yield answers
    for cached in (provenance.current_commit, provenance.git_refusal, provenance.code_state):
        cached.cache_clear()


def test_the_checkout_of_another_user_is_said_to_be_one(git):
    state = git(128, b"fatal: detected dubious ownership in repository at '/srv/seedscope'\n")
    assert state["commit"] is None and state["diff_sha256"] is None
    assert "belongs to another user" in state["git"] and "safe.directory" in state["git"]


def test_code_outside_a_repository_has_no_commit_and_no_complaint(git):
    state = git(128, b"fatal: not a git repository\n")
    assert state["commit"] is None and "git" not in state


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Another repository, with one commit."""
    done = subprocess.run(
        "git init -q . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one",
        shell=True, cwd=tmp_path, capture_output=True,
    )  # fmt: skip
    if done.returncode:
        pytest.skip("git is not here")
    for name in [name for name in provenance.os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    provenance.current_commit.cache_clear()
    yield tmp_path
    provenance.current_commit.cache_clear()


def test_a_wheel_inside_another_repository_does_not_take_its_commit(repository, monkeypatch):
    file = repository / "venv" / "pipeline" / "machine" / "provenance.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    monkeypatch.setattr(provenance, "ROOT", repository / "venv")
    monkeypatch.setattr(provenance, "__file__", str(file))
    assert provenance.current_commit() is None


def test_the_variables_of_another_repositorys_hook_are_not_followed(repository, monkeypatch):
    here = provenance.current_commit()
    provenance.current_commit.cache_clear()
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert provenance.current_commit() == here


def test_a_lock_that_cannot_be_read_is_left_out(git, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(provenance.Path, "read_bytes", refused)
    assert git(128, b"")["lock_sha256"] is None
