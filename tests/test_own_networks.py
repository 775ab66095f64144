"""The lines of the README about a network of one's own work as printed, in a folder with a blank in its name."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline.errors import UserError
from tests.own_work import enter, network, write_images, write_network
from tests.pipeline.data.own_files import write_photos

README = Path(__file__).resolve().parents[1] / "README.md"
LINES = [line for line in README.read_text().splitlines() if line.startswith("python run.py") and "mynet" in line]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A stranger's folder: a network, weights of three seeds; returns the overrides for their rows."""
    folder = write_network(tmp_path / "a strange place")
    enter(folder, monkeypatch, "mynet")
    monkeypatch.syspath_prepend(str(folder))
    (folder / "runs").mkdir()
    for seed in range(3):
        torch.save(network(seed, 16).state_dict(), f"runs/seed{seed}.pt")
    return write_images(folder / "data", train=120, test=60)


def own_line(part):
    """Overrides of the README's line that holds a word."""
    (line,) = [line for line in LINES if part in line]
    return shlex.split(line.partition(" #")[0])[2:]


def test_weights_of_ones_own_end_in_a_report_under_ones_own_title(work, run_here):
    line = [word for word in own_line("weights.path") if not word.startswith("cells")]
    photos = [word for word in own_line("data.path.train") if word.startswith("data")]  # "the `data` of the first"
    write_photos(Path("photos"), train=40, test=20)
    for seed in range(2):
        torch.save(network(seed, 16, channels=3).state_dict(), f"runs/seed{seed}.pt")
    tiny = (
        "debug=tiny",
        "tiny=true",
        "report.title=Nets of mine",
        "cells.seed=0:2",
        "wants=[train,statistics,surrogate]",
    )
    made = run_here(*line, *photos, "model.args={width: 16}", *tiny, "paths.store=store")
    page = (made.folder / "report.html").read_text()
    assert "DEBUG: Nets of mine" in page and "Networks from files" in page
    assert not re.search(r"the paper|[Pp]ublished range|reproduced", page)
    assert not (Path("store") / "train").exists(), "nothing is trained"


@pytest.mark.slow
def test_a_study_of_ones_own_goes_through_every_stage(work, run_here):
    line = [word for word in own_line("data.path.train") if not word.startswith("data")]
    line = [word.replace("mynet.MyNet", "mynet.Scales") for word in line]
    words = (*line, *work, "debug=tiny", "cells.seed=0:2", "paths.store=store")
    with pytest.raises(UserError, match="no linear layer gives them; name that layer by model.head, such as"):
        run_here(*words)  # this network scales what its last layer gives
    made = run_here(*words, "model.head=fc")
    assert made.metrics["sections"] == 8
    page = (made.folder / "report.html").read_text()
    assert not re.search(r"the paper|reproduced", page)


@pytest.mark.slow
def test_the_folder_of_the_command_is_importable_in_worker_processes_and_sweeps(work, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)

    def command(*words):
        return subprocess.run(
            [sys.executable, str(README.parent / "run.py"), *words], env=environment, capture_output=True, text=True
        )

    words = [word for word in own_line("weights.path") if not word.startswith(("data", "cells"))]
    words += [*work, "model.args={width: 16}", "debug=tiny", "paths.store=store"]
    together = command(*words, "cells.seed=0:2", "wants=[train,surrogate]", "workers=2")
    assert together.returncode == 0, together.stderr[-3000:]
    swept = command("-m", *words, "stage=train", "seed=0,1,2", "hydra/launcher=joblib")
    assert swept.returncode == 0, swept.stderr[-3000:]
    made = [path for path in Path("store/checkpoint").glob("*/*") if path.is_dir() and path.suffix != ".partial"]
    assert len(made) == 3, "two of the study are those of the sweep"
    refused = command(*words, "weights.path=runs/sed{seed}.pt")
    assert refused.returncode == 2 and "holds seed0.pt, seed1.pt" in refused.stderr
