"""Every experiment runs to its report at debug=tiny; a small quickstart does so in the default tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.absent import ABSENT
from tests.own_work import write_resnets
from tests.whole_report import faults

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "run.py", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_quickstart(tmp_path, run_here, capfd):
    one = ['cells.model=[["model=mlp"]]', 'cells.kernel=[["kernel=pntk"]]']
    words = ["experiment=quickstart", "debug=tiny", *one, f"paths.store={tmp_path}"]
    first = run(*words, f"hydra.run.dir={tmp_path}/hydra")
    if first.returncode and any(words in first.stderr for words in ABSENT):
        pytest.skip(f"its data are not on this machine: {first.stderr.strip().splitlines()[-1]}")
    assert first.returncode == 0, first.stderr[-4000:]
    (page,) = tmp_path.glob("report/*/*/report.html")
    text = page.read_text()
    assert not re.search(r'(src|href)="https?://', text), "the page loads nothing from outside"
    assert text.count("<svg") >= 3 and "</html>" in text
    assert "<title>DEBUG: " in text and 'class="debug"' in text, "a shrunk run is marked"
    assert faults(page.parent) == []
    run_here(*words)
    assert "everything exists already" in capfd.readouterr().err
    run_here(*words, "stage=status")
    total = capfd.readouterr().out.splitlines()[-1]
    assert "missing" not in total and "done" in total


@pytest.mark.experiments
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(name, tmp_path, shared_store, run_here):
    own = []
    if name == "shift_text":  # a tool for the user's two files: it gets two made-up ones
        for side, word in (("reference", "plain"), ("sample", "strange")):
            lines = [f"{word} sentence number {i} about things" for i in range(60)]
            (tmp_path / f"{side}.txt").write_text("\n".join(lines) + "\n")
            own.append(f"data.{side}={tmp_path}/{side}.txt")
    if name in ("published_resnets", "shift_jpeg"):  # measure files: they get random ones
        own += write_resnets(tmp_path)
    if name == "shift_jpeg":
        own.append(f"data.path.extra.jpeg='{tmp_path}/jpeg.npz'")
    made = run_here(f"experiment={name}", "debug=tiny", *own, f"paths.store={shared_store}")
    assert (made.folder / "report.html").exists()
    assert made.metrics["sections"] >= 1
    assert made.metrics["verdicts"] == [], "a shrunk run decides nothing"
    assert "<title>DEBUG: " in (made.folder / "report.html").read_text()
    assert faults(made.folder) == []


def test_a_failing_job_of_a_sweep_leaves_its_traceback_and_the_others_finish(tmp_path):
    store = f"paths.store={tmp_path}/store"
    done = run(
        "-m",
        "experiment=quickstart",
        "debug=tiny",
        "stage=train",
        "snapshots=none",
        "training.lr=0.01,1e30,0.02",
        store,
        f"hydra.sweep.dir={tmp_path}/sweep",
    )
    if "Could not get " in done.stderr:
        pytest.skip("the packaged images are neither cached nor to be fetched here")
    assert done.returncode == 2 and "Traceback" not in done.stdout + done.stderr, "what a user can act on"
    assert "error: Training diverged" in done.stderr
    finished = [path for path in (tmp_path / "store" / "train").glob("*/*") if path.suffix != ".partial"]
    assert len(finished) == 2, done.stderr[-3000:]
    logs = [path.read_text() for path in (tmp_path / "sweep").rglob("*.log")]
    assert any("diverged" in text for text in logs)
    status = run(
        "experiment=quickstart",
        "debug=tiny",
        "stage=status",
        "wants=[]",
        "snapshots=none",
        "training.lr=1e30",
        store,
        f"hydra.run.dir={tmp_path}/hydra",
    )
    assert "failed" in status.stdout and "Training diverged" in status.stdout and "Traceback" in status.stdout
