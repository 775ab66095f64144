"""The toy study on the loopback cluster: submit it, look at what was made, how often, and what its jobs said."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from pipeline.engine.artifacts import Artifact
from tests.cluster.conftest import ROOT, Cluster

ONCE = {"draw": 12, "square": 12, "total": 1}
"""How often each stage runs for twelve seeds."""


def start(cluster: Cluster, folder: Path, seeds: str = "0:12", **environment: str) -> subprocess.Popen:
    """Start the command, without accounting: no ``sacct`` on its path answers."""
    counts = folder / "counts"
    counts.mkdir(parents=True, exist_ok=True)
    real = {name: value for name, value in cluster.environment.items() if name != "PATH"}
    variables = {**os.environ, **real, "PATH": f"{os.environ['PATH']}:/usr/sbin", "TOY_COUNTS": str(counts)}
    command = [sys.executable, "-m", "tests.pipeline.toy_slurm", str(folder / "store"), seeds]
    return subprocess.Popen(
        command, cwd=ROOT, env=variables | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def submitted(cluster: Cluster, folder: Path, seeds: str = "0:12", **environment: str) -> str:
    """Run the command and give what it says."""
    process = start(cluster, folder, seeds, **environment)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def runs(folder: Path) -> dict[str, int]:
    """How often each stage ran."""
    return dict(Counter({path.name: len(path.read_text().split()) for path in (folder / "counts").iterdir()}))


def payloads(folder: Path) -> dict[str, object]:
    """What is in the store; nothing under construction, and no lock."""
    found = {}
    for entry in sorted((folder / "store").glob("[!.]*/*/*")):
        assert entry.is_dir() and not entry.name.endswith(".partial"), entry
        found[entry.name] = Artifact(entry).manifest["files"]
    return found


def logs(folder: Path, stage: str) -> str:
    """What the jobs of a stage printed."""
    said = ""
    for script in (folder / "store" / ".slurm").glob("*/array-*.sh"):
        if f"--job-name={stage}-" in script.read_text():
            number = script.with_name(script.name.replace("array-", "job-").removesuffix(".sh")).read_text()
            said += "".join(path.read_text() for path in sorted((script.parent / "logs").glob(f"{number}_*_log.*")))
    return said
