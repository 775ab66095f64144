"""What a job gets: Hydra's settings of its launcher, with those of its stage."""

import os
from dataclasses import replace

import pytest

from pipeline.config.numerics import HardwareConfig
from pipeline.config.run import RunConfig
from pipeline.engine.graph import Node
from pipeline.engine.rebuild import Rebuild
from pipeline.engine.schedule.slurm.arrays import Array
from pipeline.engine.schedule.slurm.jobs import plain_fields, resources_by, script_of
from pipeline.engine.schedule.slurm.records import Study, Submission, write
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError

LAUNCHER = {"timeout_min": 240, "gpus_per_node": 1, "cpus_per_task": 4, "mem_gb": 32, "partition": None, "setup": None}


def node(stage: str, ranks: int = 1) -> Node:
    config = RunConfig()
    config = replace(config, numerics=replace(config.numerics, world_size=ranks))
    return Node(STAGES[stage], config, stage, "slug", {}, {}, (), {})


def test_stages_ask_for_what_they_use():
    resources = {"surrogate": {"gpus_per_node": 0, "mem_gb": 8}, "kernel": {"partition": "big"}}
    hardware = HardwareConfig(resources=resources)
    of = resources_by(hardware, LAUNCHER)
    assert of(node("train")) == {"timeout_min": 240, "gpus_per_node": 1, "cpus_per_task": 4, "mem_gb": 32}
    assert of(node("surrogate")) == {"timeout_min": 240, "cpus_per_task": 4, "mem_gb": 8}
    assert of(node("kernel"))["partition"] == "big"
    assert of(node("train", ranks=4))["gpus_per_node"] == 4 and of(node("features", ranks=4))["gpus_per_node"] == 1


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"trian": {}}, "hardware.resources holds 'trian', which is no stage"),
        (
            {"train": {"memory": 3}},
            "hardware.resources.train holds 'memory', which hydra.launcher does not have",
        ),
        ({"train": {"tasks_per_node": 2}}, "tasks_per_node=2 is impossible"),
    ],
)
def test_what_no_job_can_have_is_refused(resources, words):
    with pytest.raises(UserError, match=words):
        resources_by(HardwareConfig(resources=resources), {**LAUNCHER, "tasks_per_node": 1})(node("train"))


def test_a_launcher_of_another_kind_is_refused():
    with pytest.raises(UserError, match="hydra/launcher=submitit_slurm, and here it is hydra._internal.Basic"):
        plain_fields({"_target_": "hydra._internal.BasicLauncher"})


@pytest.fixture
def submission(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="the slurm extra is not installed")
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def make(**resources) -> Submission:
        array = Array(1, "train", resources, (("a",), ("b", "c")))
        return write(tmp_path / "a store", [array], [Study(tmp_path, (), {}, None, Rebuild(), 0, {})], {"request": ""})

    return make


def test_the_script_is_an_array_that_waits_and_may_be_requeued(submission):
    one = submission(timeout_min=30, mem_gb=8, gpus_per_node=1, partition="gpu", array_parallelism=5, max_num_timeout=3)
    text = script_of(one, 0, ["41", "43"])
    for line in ("time=30", "mem=8GB", "gpus-per-node=1", "partition=gpu", "array=0-1%2", "signal=USR2@90"):
        assert f"#SBATCH --{line}" in text
    assert "#SBATCH --dependency=afterany:41:43" in text and f"#SBATCH --job-name=train-{one.mark}-0" in text
    assert f"-u -P -m pipeline.engine.schedule.slurm '{one.folder}' 0" in text and "srun --unbuffered" in text


def test_values_that_submitit_does_not_take_are_refused(submission):
    with pytest.raises(UserError, match="Jobs of stage train cannot have these resources.*mem_gb"):
        script_of(submission(mem_gb="much"), 0, [])
    with pytest.raises(UserError, match="Jobs of stage train cannot have these resources.*colour"):
        script_of(submission(colour="red"), 0, [])


def test_without_srun_the_machine_is_no_cluster(submission, monkeypatch, tmp_path):
    one = submission()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="srun is not on this machine.*hardware=local"):
        script_of(one, 0, [])
