"""What a job of an array does before and beside making its artifacts."""

import sys
from dataclasses import replace

import pytest

from pipeline.config.run import RunConfig
from pipeline.engine.graph import Node
from pipeline.engine.schedule.slurm import member
from pipeline.engine.schedule.slurm.member import workers_of
from pipeline.engine.stages import STAGES


def node(stage: str, **numerics) -> Node:
    config = RunConfig()
    config = replace(config, numerics=replace(config.numerics, **numerics))
    return Node(STAGES[stage], config, stage, "slug", {}, {}, (), {})


@pytest.mark.parametrize(
    ("stage", "numerics", "cores", "workers"),
    [
        ("retraining", {}, "4", 4),
        ("retraining", {"threads": 2}, "4", 2),
        ("retraining", {}, "16", 8),
        ("retraining", {}, None, 1),
        ("retraining", {"device": "cuda"}, "4", 1),
        ("retraining", {"world_size": 2}, "4", 1),
        ("train", {}, "4", 1),
    ],
)
def test_a_stage_that_trains_networks_itself_uses_the_cores_of_its_job(monkeypatch, stage, numerics, cores, workers):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(member, "usable_cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if cores is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", cores)
    assert workers_of(node(stage, **numerics)) == workers
