"""A worker sees GPUs of its own, and what the system ended for want of memory is tried again with nothing beside it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from types import SimpleNamespace

import pipeline.engine.schedule.local_workers as local_workers

folder, deaths, names = Path(sys.argv[1]), int(sys.argv[2]), "abcd"
local_workers.out_of_memory_kills = lambda: len(list(folder.glob("killed*")))  # as the system counts them

def make(key, request, failures, may_wait):
    while key == "b" and not local_workers.out_of_memory_kills():  # a dies beside it
        time.sleep(0.02)
    time.sleep(0.5 if key == "b" else 0.05)
    (folder / f"gpus{os.environ['CUDA_VISIBLE_DEVICES']}").touch()
    if key == "a" and local_workers.out_of_memory_kills() < deaths:
        (folder / f"killed{local_workers.out_of_memory_kills()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)

def begun(node, again):
    print("begun", node.key, "beside", len(workers.running) - 1, flush=True)

nodes, left = [SimpleNamespace(key=name) for name in names], len(names)
say = lambda node, line: print(line, flush=True)
with local_workers.LocalWorkers(2, make, said=say, begun=begun, gpus=["4,5", "6,7"]) as workers:
    workers.submit(nodes, {})
    while left:
        for outcome in workers.poll():
            left -= 1
            print("ended", outcome.key, outcome.error or "well", flush=True)
"""


def test_what_ended_for_want_of_memory_is_named_with_its_peak_and_tried_again_alone(tmp_path):
    for deaths in (1, 2):
        folder = tmp_path / str(deaths)
        folder.mkdir()
        command = [sys.executable, "-c", SCRIPT, str(folder), str(deaths)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
        assert "ran out of memory and ended the process that made this: its memory had grown to 0." in said
        assert "begun a beside 0\nbegun b beside 1" in said and "It is begun once more, with nothing beside it." in said
        assert {path.name for path in folder.glob("gpus*")} == {"gpus4,5", "gpus6,7"}
        alone = said.index("begun a beside 0", 20)
        assert said.index("ended b well") < alone < said.index("ended a") < said.index("begun c")
        assert ("ended a well" in said) == (deaths == 1) and ("It was tried twice." in said) == (deaths == 2)
