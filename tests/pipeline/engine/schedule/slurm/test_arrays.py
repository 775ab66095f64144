"""Which artifacts share a job, which jobs an array, and which arrays wait for which."""

from collections import Counter
from dataclasses import replace

import pytest

from pipeline.config.run import RunConfig
from pipeline.engine.graph import GatheredNode, Node
from pipeline.engine.schedule.slurm.arrays import MOST_ARRAYS, arrays_of
from pipeline.engine.stages import STAGES

CONFIG = RunConfig()


def node(stage, key, *inputs):
    gathers = STAGES[stage].gathers is not None
    members = {"train": [GatheredNode({}, one) for one in inputs]} if gathers else {}
    roles = {} if gathers else {str(place): one for place, one in enumerate(inputs)}
    return Node(STAGES[stage], CONFIG, f"{stage}{key}", "slug", roles, members, (), {})


def study(seeds: int):
    rows = node("prepare", 0)
    trained = [node("train", seed, rows) for seed in range(seeds)]
    kernels = [node("kernel", seed, one) for seed, one in enumerate(trained)]
    return [rows, *trained, *kernels, node("report", 0, *trained, *kernels)]


def plan(nodes, seconds=None, most=1000, job_seconds=300.0, queued=None, resources=None):
    times = seconds or {}
    return arrays_of(
        nodes,
        seconds=lambda one: times.get(one.stage.name),
        resources=resources or (lambda one: {}),
        most_members=most,
        job_seconds=job_seconds,
        queued=queued or {},
    )


def test_without_known_times_every_artifact_is_a_job():
    arrays = plan(study(5))
    assert [(one.wave, one.stage, len(one.members)) for one in arrays] == [
        (1, "prepare", 1),
        (2, "train", 5),
        (3, "kernel", 5),
        (4, "report", 1),
    ]
    assert [one.after for one in arrays] == [(), (0,), (1,), (2,)], "what others wait for is not named again"


def test_a_job_lasts_about_five_minutes_with_its_imports():
    arrays = plan(study(60), {"train": 18.0, "kernel": 2.0})
    trained, kernels = arrays[1], arrays[2]
    assert Counter(len(one) for one in trained.members) == {16: 3, 12: 1}  # 10 + 16 * 18 = 298 seconds
    assert [len(one) for one in kernels.members] == [60]
    assert [len(one) for one in plan(study(3), {"train": 500.0})[1].members] == [1, 1, 1]
    assert len(plan(study(60), {"train": 18.0}, job_seconds=0)[1].members) == 60


@pytest.mark.parametrize("most", [1, 9, 1000])
def test_everything_is_in_one_job_behind_its_inputs(most):
    nodes = study(25)
    arrays = plan(nodes, {"train": 100.0}, most)
    assert sorted(key for one in arrays for key in one.keys) == sorted(one.key for one in nodes)
    assert all(len(one.members) <= most for one in arrays)
    place = {key: number for number, one in enumerate(arrays) for key in one.keys}
    for one in nodes:
        reached, pending = set(), [place[one.key]]
        while pending:
            found = arrays[pending.pop()].after
            reached |= set(found)
            pending += found
        assert {place[up.key] for up in one.upstream()} <= reached


def test_an_array_waits_only_for_arrays_that_hold_its_inputs():
    arrays = plan(study(12), most=6)
    assert [one.after for one in arrays if one.stage == "kernel"] == [(1,), (2,)]


def test_classes_of_resources_have_arrays_of_their_own():
    wide = replace(CONFIG, numerics=replace(CONFIG.numerics, world_size=4))
    nodes = study(4)
    nodes[2] = replace(nodes[2], config=wide)
    arrays = plan(nodes, resources=lambda one: {"gpus_per_node": one.config.numerics.world_size})
    found = [(one.stage, one.resources["gpus_per_node"], len(one.members)) for one in arrays if one.stage == "train"]
    assert found == [("train", 1, 3), ("train", 4, 1)]


def test_inputs_that_earlier_commands_submitted_are_waited_for():
    nodes = study(3)
    arrays = plan([one for one in nodes if one.stage.name in ("kernel", "report")], queued={"train1": "17"})
    assert arrays[0].behind == ("17",) and arrays[1].behind == ("17",)


@pytest.mark.parametrize(
    "seconds", [{}, {"train": 20.0, "kernel": 3.0}, {"train": 400.0}], ids=["new", "short", "long"]
)
def test_ten_thousand_artifacts_are_at_most_twelve_arrays_a_wave(seconds):
    arrays = plan(study(5000), seconds)
    assert sum(len(one.keys) for one in arrays) == 10_002
    assert max(Counter(one.wave for one in arrays).values()) <= MOST_ARRAYS
    arrays = plan(study(5000), seconds, most=9)
    assert max(Counter(one.wave for one in arrays).values()) <= MOST_ARRAYS, "jobs are longer where arrays are short"


def test_a_wave_of_more_kinds_of_resources_than_twelve_is_several_waves():
    rows = node("prepare", 0)
    sizes = [replace(CONFIG, numerics=replace(CONFIG.numerics, world_size=size)) for size in range(1, 31)]
    trained = [replace(node("train", seed, rows), config=size) for seed, size in enumerate(sizes)]
    kernel = node("kernel", 0, *trained)
    arrays = plan([rows, *trained, kernel], resources=lambda one: {"gpus_per_node": one.config.numerics.world_size})
    waves = Counter(one.wave for one in arrays)
    assert waves == {1: 1, 2: 12, 3: 12, 4: 6, 5: 1} and max(waves.values()) <= MOST_ARRAYS
    assert len(arrays[-1].after) == 30, "what needs them waits for all of them"
