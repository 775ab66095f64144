"""With which code and on which machine an artifact was made; not covered by the reproducibility guarantee."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.machine.memory_peak import peak_of

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = (
    "torch",
    "pytorch-lightning",
    "hydra-core",
    "numpy",
    "scipy",
    "scikit-learn",
    "transformers",
    "safetensors",
)
_SLURM = (
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_CPUS_PER_NODE",
    "SLURM_JOB_GPUS",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_NUM_NODES",
    "SLURM_JOB_PARTITION",
)
"""Variables that are kept; any other may hold a password."""


def _run_git(*arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    # A hook of another repository sets GIT_DIR and its like, which would win over the folder.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG")
    }
    try:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, timeout=10, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _git(*arguments: str) -> bytes | None:
    done = _run_git(*arguments)
    return done.stdout if done is not None and done.returncode == 0 else None


@cache
def git_refusal() -> str | None:
    """Say why git does not tell the commit although there is a repository: the code belongs to another user."""
    done = _run_git("rev-parse", "HEAD")
    if done is None or done.returncode == 0 or b"dubious ownership" not in done.stderr:
        return None
    return (
        "the code belongs to another user, so git tells neither its commit nor its changes; "
        f"git config --global --add safe.directory {ROOT} lets it"
    )


@cache
def current_commit() -> str | None:
    """Commit of the code that runs; None where the code is not in a repository, or lies untracked in another's."""
    ours = _git("ls-files", "--error-unmatch", str(Path(__file__).relative_to(ROOT)))
    commit = _git("rev-parse", "HEAD") if ours else None
    return commit.decode().strip() if commit else None


@cache
def code_state() -> dict[str, str | None]:
    """Commit, hash of uncommitted changes and hash of the lock file; None where they are not available.

    Where git refuses to tell them, ``git`` says why.
    """
    diff = _git("diff", "--no-ext-diff", "--no-color", "HEAD") if current_commit() else None
    state = {
        "commit": current_commit(),
        "diff_sha256": hashlib.sha256(diff).hexdigest() if diff else None,
        "lock_sha256": _lock_sha256(),
    }
    refusal = git_refusal()
    return state if refusal is None else {**state, "git": refusal}


def _lock_sha256() -> str | None:
    try:
        return hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    except OSError:  # a wheel has none, and another user's may not be readable
        return None


@cache
def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def cpu_seconds() -> float:
    """Time that all cores together have computed for this process and its ended children, in seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def provenance(command: str, wall_seconds: float, computed_seconds: float) -> dict[str, Any]:
    """Describe how an artifact was made.

    Parameters
    ----------
    command : str
        The command that makes it.
    wall_seconds : float
        Time that the stage took, in seconds.
    computed_seconds : float
        By how much :func:`cpu_seconds` grew meanwhile: on a shared machine it tells more than the wall's clock.

    Returns
    -------
    dict
        JSON-ready record; memory in bytes, read from the operating system.
    """
    return {
        "command": command,
        **code_state(),
        "versions": _versions(),
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "slurm": {name: os.environ[name] for name in _SLURM if name in os.environ},
        "wall_seconds": round(wall_seconds, 3),
        "cpu_seconds": round(computed_seconds, 3),
        "peak_memory_bytes": peak_of(),
    }
