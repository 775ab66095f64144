"""Several ranks train the network that one rank trains, from the command line, in a sweep and under SLURM."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pipeline.engine.launch import config_from
from tests.cluster.conftest import ROOT, TINY, finished, pipeline
from tests.cluster.rank_cases import CASES, train

TWO = "numerics.world_size=2"


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "-m", "tests.cluster.rank_cases", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_equal_one_at_the_same_global_batch(two_ranks, tmp_path, case):
    alone = load_file(train(case, tmp_path, world_size=1))
    shared = load_file(two_ranks / case / "weights.safetensors")
    assert alone.keys() == shared.keys()
    for name, weights in alone.items():
        assert (weights - shared[name]).abs().max() <= 1e-10, name


def test_a_rank_leaves_without_tearing_python_down(tmp_path):
    script = tmp_path / "rank.py"
    script.write_text(
        "import atexit, torch\n"
        "from pipeline.machine.ranks import shutdown\n"
        "atexit.register(print, 'torn down')\n"
        "torch.distributed.init_process_group('gloo')\n"
        "print('worked')\n"
        "shutdown()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split("\n") == ["worked", "worked", ""]


def test_a_dumped_configuration_comes_back():
    import dataclasses

    from pipeline.engine.cells import compose_run

    for model in ("mlp", "resnet18", "gpt2_tiny"):
        config = compose_run((f"model={model}", "experiment=quickstart"))
        assert config_from(json.loads(json.dumps(dataclasses.asdict(config)))) == config


def payload(store: Path, stage: str) -> dict[str, dict[str, str]]:
    manifests = (store / "store" / stage).glob("*/*/manifest.json")
    return {path.parent.name: json.loads(path.read_text())["files"] for path in manifests}


def place(store: Path, stage: str, name: str) -> Path:
    (folder,) = (store / "store" / stage).glob(f"*/{name}")
    return folder


@pytest.mark.slurm
@pytest.mark.timeout(900)
def test_ranks_in_a_local_sweep_and_under_slurm(slurm, tmp_path):
    local, cluster = tmp_path / "local", tmp_path / "cluster"
    study = (*TINY, "kernel=pntk")
    finished(pipeline(local, "-m", f"hydra.sweep.dir={local}/sweep", *study, "stage=kernel", "numerics.world_size=2,1"))
    trained = payload(local, "train")
    assert len(trained) == 2, "the number of ranks changes bits and so the address"
    first, second = (load_file(place(local, "train", name) / "weights.safetensors") for name in trained)
    assert all((first[name] - second[name]).abs().max() < 1e-4 for name in first)
    grams = [load_file(place(local, "kernel", name) / "gram.safetensors") for name in payload(local, "kernel")]
    assert (grams[0]["train"] - grams[1]["train"]).abs().max() < 1e-4
    assert len(list(local.glob("sweep/*/run.log"))) == 2, "no rank started a sweep of its own"

    finished(slurm.submit(cluster, "sweep", *study, "stage=train", TWO))
    ((name, files),) = payload(cluster, "train").items()
    assert files == trained[name]


@pytest.mark.kill
@pytest.mark.timeout(600)
def test_ranks_end_with_a_killed_job_and_the_next_one_goes_on(tmp_path):
    study = (*TINY, "stage=train", TWO, "training.epochs=150")
    process = pipeline(tmp_path, *study)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "store").glob("train/*/*.partial/scratch/checkpoints/last.ckpt")):
        assert time.monotonic() < deadline and process.poll() is None, "no checkpoint was written"
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for _ in range(100):
        left = subprocess.run(
            ["pgrep", "-f", f"pipeline.engine.launch {tmp_path}"], capture_output=True, text=True
        ).stdout
        if not left:
            break
        time.sleep(0.1)
    assert not left, "a rank outlived its job"
    finished(pipeline(tmp_path, *study))
    undisturbed = tmp_path / "undisturbed"
    finished(pipeline(undisturbed, *study))
    assert payload(tmp_path, "train") == payload(undisturbed, "train")
