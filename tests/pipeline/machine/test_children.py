"""What we start ends with us, and a SIGTERM cleans up what was begun."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from signal import SIGKILL
from pipeline.machine.children import cleaned_up_at_the_end, ends_with_parent
folder = Path(sys.argv[1])
with cleaned_up_at_the_end():
    try:
        (folder / "begun").write_text("")
        subprocess.run(["sh", "-c", f"echo $$ > {folder}/child; exec sleep 60"], preexec_fn=ends_with_parent(SIGKILL))
    finally:
        (folder / "begun").unlink()
"""


def ended(folder: Path, number: int) -> int:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], cwd=ROOT)
    for _ in range(200):
        if (folder / "child").exists() and (folder / "child").read_text().strip():
            break
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(20) == -number
    return int((folder / "child").read_text())


def alive(number: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False


def test_a_sigterm_cleans_up_and_ends_the_child(tmp_path):
    child = ended(tmp_path, signal.SIGTERM)
    assert not (tmp_path / "begun").exists()
    assert not alive(child)


def test_a_kill_ends_the_child_too(tmp_path):
    child = ended(tmp_path, signal.SIGKILL)
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)
    assert os.getpid() != child


def test_an_interrupt_in_the_middle_of_a_fork_is_heard_by_who_forks_workers():
    script = """
import logging, os, signal, sys
from types import SimpleNamespace
from pipeline.engine.schedule.local_workers import LocalWorkers
signal.signal(signal.SIGINT, signal.default_int_handler)
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGINT))
nothing = lambda *given: None
try:
    with LocalWorkers(1, nothing, said=nothing, begun=nothing) as workers:
        workers.submit([SimpleNamespace(key="a")], {})
        workers.poll()
        print("lost")
except KeyboardInterrupt:
    print("heard")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "heard\n" and done.stderr == "", done
