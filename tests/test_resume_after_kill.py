"""kill -9 in every stage, then the same command again: the same payload bytes as an undisturbed run.

The undisturbed run has OMP_NUM_THREADS=1 and one worker, and the others 2 and as many as there are cores: that changes
no byte either.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("prepare", "train", "snapshots", "spectra", "kernel", "surrogate", "attribution", "statistics", "report")
MOMENTS = int(os.environ.get("KILL_MOMENTS", "6"))
"""Kills in a row; `make test-disturbances` has twenty."""
COMMAND = ["experiment=quickstart", "debug=tiny", "cells.seed='0:1'"]

# Kills the process itself at the worst moment: just before the rename that completes a stage's first artifact.
KILLER = """
import os, runpy, signal, sys
stage = sys.argv.pop(1)
import pipeline.engine.build as build
complete = build.complete
def killed_complete(folder, identity, record):
    if identity["stage"] == stage:
        os.kill(os.getpid(), signal.SIGKILL)
    return complete(folder, identity, record)
build.complete = killed_complete
sys.argv[0] = "run.py"
runpy.run_path("run.py", run_name="__main__")
"""


def start(store: Path, prefix: list[str], threads: int = 2, more: list[str] | None = None) -> subprocess.Popen:
    command = [sys.executable, *prefix, *COMMAND, *(more or []), f"paths.store={store}", f"hydra.run.dir={store}/hydra"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def finish(process: subprocess.Popen) -> str:
    """Wait for the process, reading its errors as they come; return them."""
    return process.communicate()[1]


def payloads(store: Path) -> dict[str, dict[str, str]]:
    manifests = sorted(store.glob("*/*/*/manifest.json"))
    return {
        f"{path.parts[-4]}/{path.parts[-2]}": {
            name: entry["sha256"] for name, entry in json.loads(path.read_text())["files"].items()
        }
        for path in manifests
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, dict[str, str]]:
    store = tmp_path_factory.mktemp("undisturbed")
    process = start(store, ["run.py"], threads=1, more=["workers=1"])
    errors = finish(process)
    if "Could not get " in errors:
        pytest.skip("the packaged images are neither cached nor to be fetched here")
    assert process.returncode == 0, errors
    found = payloads(store)
    assert {name.split("/")[0] for name in found} == set(STAGES)
    return found


@pytest.mark.kill
@pytest.mark.timeout(1200)
def test_killed_before_every_completion(tmp_path, undisturbed):
    for stage in STAGES:
        process = start(tmp_path, ["-c", KILLER, stage], more=["workers=1"])  # else it is a worker that dies
        errors = finish(process)
        assert process.returncode == -signal.SIGKILL, errors
    process = start(tmp_path, ["run.py"])
    errors = finish(process)
    assert process.returncode == 0, errors
    assert payloads(tmp_path) == undisturbed


@pytest.mark.kill
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("draw", range(2))
def test_killed_at_random_moments(tmp_path, undisturbed, draw):
    moments = random.Random(draw)
    for _ in range(MOMENTS // 2):
        process = start(tmp_path, ["run.py"])
        time.sleep(moments.uniform(4.0, 12.0))
        process.send_signal(signal.SIGKILL)
        finish(process)
        if process.returncode == 0:
            break
    else:
        process = start(tmp_path, ["run.py"])
        errors = finish(process)
        assert process.returncode == 0, errors
    assert payloads(tmp_path) == undisturbed
    assert not list(tmp_path.rglob("*.partial"))
