"""A real SLURM on loopback for a test session, and the command line run against it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "slurm_loopback.sh"
TINY = ("experiment=quickstart", "debug=tiny", "model=mlp", "snapshots=none")
SMALL_JOBS = ("hardware=slurm_cpu", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2")


@dataclass(frozen=True)
class Cluster:
    """The environment that points a command at the cluster."""

    environment: dict[str, str]

    def command(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=check)
        return done.stdout

    def submit(self, store: Path, sweep: str, *overrides: str) -> subprocess.Popen:
        """Start a sweep of small jobs; ``sweep`` names its folder."""
        return pipeline(store, "-m", *SMALL_JOBS, f"hydra.sweep.dir={store}/{sweep}", *overrides, **self.environment)

    def wait_until_empty(self, seconds: float = 300.0) -> None:
        """Wait until no job waits or runs."""
        deadline = time.monotonic() + seconds
        while left := self.command("squeue", "--noheader"):
            assert time.monotonic() < deadline, left
            time.sleep(0.3)

    def job_of(self, store: Path, folder: str) -> str:
        """SLURM id of the job that owns an artifact under construction."""
        (lock,) = (store / "store").glob(folder.replace("/", "/*/") + "*.lock")
        return re.search(r'"job": "(\d+)"', lock.read_text())[1]


def pipeline(store: Path, *arguments: str, folder: Path = ROOT, **environment: str) -> subprocess.Popen:
    """Start ``run.py`` in a folder, on an artifact store below ``store``."""
    command = [sys.executable, str(ROOT / "run.py"), *arguments, f"paths.store={store}/store"]
    if "-m" not in arguments:
        command.append(f"hydra.run.dir={store}/hydra")
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen, code: int = 0) -> str:
    """Wait for a command, insist on its exit status and give its output."""
    output, _ = process.communicate()
    if "cannot be fetched" in output:
        pytest.skip("the packaged images are neither cached nor to be fetched here")
    assert process.returncode == code, output[-4000:]
    return output


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A cluster of this session's own; skipped where SLURM cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("starting SLURM daemons needs root")
    if shutil.which("slurmctld", path=os.environ["PATH"] + ":/usr/sbin") is None:
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "slurm-wlm", "munge"]
        if shutil.which("apt-get") is None or subprocess.run(install, capture_output=True).returncode:
            pytest.skip("slurm-wlm and munge are not installed and apt-get cannot install them")
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the slurm extra is not installed")
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    folder = tempfile.mkdtemp(prefix="slurm-", dir="/tmp")  # short: sockets have short names
    settings = {**os.environ, "LOOPBACK_DIR": folder, "LOOPBACK_PORT": str(28817 + 10 * worker), "LOOPBACK_CPUS": "4"}
    settings["LOOPBACK_ARRAY"] = "10"  # arrays of at most nine members
    started = subprocess.run([SCRIPT, "start"], env=settings, capture_output=True, text=True)
    try:
        assert started.returncode == 0, started.stderr
        path = f"{folder}/bin:{os.environ['PATH']}:/usr/sbin"
        yield Cluster({"SLURM_CONF": f"{folder}/slurm.conf", "PATH": path})
    finally:
        subprocess.run([SCRIPT, "stop"], env=settings, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
