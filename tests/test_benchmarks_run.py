"""Benchmarks that no other test runs still run, at a size that says nothing about speed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

COMMANDS = {
    "store --artifacts 24 --processes 2": "| gather | flat |",
    "graph --only plan --seeds 2": "artifacts",
    "graph --only nodes --nodes 4": "4 artifacts that take no time",
    "rough_training --rates 0.02 -- training.epochs=1 data.subset.per_class=4": "| relu | 0.02 |",
    "trimming examples --models 6 --examples 200 --pairs 1": "leave-one-out",
}


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_benchmark_runs(command, tmp_path):
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", f"benchmarks.{command.split()[0]}", *command.split()[1:]]
    done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert COMMANDS[command] in done.stdout, done.stdout
