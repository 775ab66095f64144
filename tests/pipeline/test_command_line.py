"""What a user types wrong, or interrupts, ends in one sentence, a non-zero exit, and nothing half-written."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def texts(tmp_path):
    """Two made-up files of short texts, so that no test here needs a package client."""
    generator = np.random.default_rng(0)
    for split, rows in (("train", 200), ("test", 40)):
        labels = generator.integers(0, 2, rows)
        table = {
            "text": [f"{'good' if label else 'bad'} example number {i} of {split}" for i, label in enumerate(labels)],
            "label": labels.tolist(),
        }
        pq.write_table(pa.table(table), tmp_path / f"{split}.parquet")
    return [f"data.path.{split}={tmp_path}/{split}.parquet" for split in ("train", "test")]


def command(tmp_path: Path, *arguments: str) -> list[str]:
    places = [f"paths.store={tmp_path}/store", f"hydra.run.dir={tmp_path}/hydra", f"paths.cache={tmp_path}/cache"]
    return [sys.executable, "run.py", *arguments, *places]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def refused(tmp_path: Path, *arguments: str) -> str:
    done = subprocess.run(command(tmp_path, *arguments), cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr, done.stderr
    complete = [path for path in (tmp_path / "store").glob("*/*/*") if path.suffix not in (".partial", ".lock")]
    assert not [path for path in complete if path.parents[1].name != "prepare"]
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["experiment=nope"], "Could not find 'experiment/nope'"),
        (["stage=trian"], "There is no stage 'trian'"),
        (["seed=-1"], "seed=-1 is below 0"),
        (["stage=report"], "A report needs stages to show"),
        (["stage=train", "data=cifar10", "data.source=hub"], r"cannot be had .* `data.source=path"),
        (["stage=train", "data=cifar10", "data.source=path"], "needs data.path.train=FILE"),
        (["stage=train", "data=cifar10", "data.source=path", "data.path.train=/no/file"], "there is no file /no/file"),
        (["stage=train", "numerics=cuda"], "no usable GPU"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, arguments, words):
    if "numerics=cuda" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")
        arguments = [
            *arguments,
            "data=teacher",
            "model=two_layer",
            "training.loss=regression",
            "data.synthetic.n_train=50",
        ]
    assert re.search(words, refused(tmp_path, *arguments))


def test_interrupt_says_that_the_same_command_continues_and_it_does(tmp_path, run_here, capsys):
    arguments = [
        "stage=train",
        "data=teacher",
        "model=two_layer",
        "model.width=64",
        "training.loss=regression",
        "data.synthetic.n_train=400",
        "training.batch_size=4",
        "training.epochs=4",
    ]
    process = subprocess.Popen(
        command(tmp_path, *arguments),
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so would everything that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    scratch = tmp_path / "store" / "train"
    deadline = time.monotonic() + 120
    while not list(scratch.glob("*/*.partial/scratch/checkpoints/last.ckpt")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "the same command continues" in errors
    assert not [path for path in scratch.glob("*/*") if path.suffix not in (".partial", ".lock")]
    run_here(*arguments, f"paths.store={tmp_path}/store")
    said = capsys.readouterr().err
    assert "epoch 4/4" in said and "epoch 1/8" not in said, "it continued behind the first epoch"


@pytest.mark.slow
def test_interrupt_of_a_joblib_sweep_ends_in_the_same_sentence(tmp_path):
    arguments = ["stage=train", "data=teacher", "model=two_layer", "training.loss=regression", "training.epochs=100000"]
    sweep = ["-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"hydra.sweep.dir={tmp_path}/sweep"]
    process = subprocess.Popen(
        command(tmp_path, *sweep, *arguments),
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while len(list((tmp_path / "store" / "train").glob("*/*.partial/scratch/checkpoints/last.ckpt"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command continues" in errors and "KeyboardInterrupt" not in errors


@pytest.mark.archives
def test_a_gpt2_classifier_trains_on_short_texts_and_gives_a_kernel(tmp_path, texts):
    arguments = ["data=sentiment140", "data.source=path", "data.path.format=parquet", *texts]
    model = ["model=gpt2_tiny", "training=adamw", "training.epochs=2", "kernel.n_train=20", "kernel.n_test=10"]
    run = command(tmp_path, "stage=kernel", *arguments, *model)
    run = [word for word in run if not word.startswith("paths.cache")]
    done = subprocess.run(run, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "store" / "kernel").glob("*/*/gram.safetensors"))


def test_files_in_the_folder_of_the_command_hide_no_module_of_ours_from_what_it_starts(tmp_path):
    for name in ("models", "pipeline", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hidden')")
    child = [sys.executable, "-c", "import queue, models.configs, pipeline.errors; print(models.__file__)"]
    begin = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); import run; run.hide_nothing()"
    code = f"{begin}; os.execv({child[0]!r}, {child!r})"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert found.stdout.strip() == str(ROOT / "models" / "__init__.py"), found.stderr
