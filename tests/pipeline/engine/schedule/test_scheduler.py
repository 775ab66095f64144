"""The order of work: everything begins as soon as its inputs exist, and a failure stops only what needs it."""

import random
from dataclasses import replace

import pytest

from pipeline.config.run import RunConfig
from pipeline.engine.graph import GatheredNode, Node
from pipeline.engine.schedule.scheduler import Outcome, Schedule, run
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError

PLAIN = replace(STAGES["train"], name="plain", gathers=None)
GATHER = replace(STAGES["report"], name="gather", gathers=lambda config: [])


def node(key, *inputs, gathers=False):
    members = {"plain": [GatheredNode({"seed": one.key}, one) for one in inputs]} if gathers else {}
    roles = {} if gathers else {str(i): one for i, one in enumerate(inputs)}
    return Node(GATHER if gathers else PLAIN, RunConfig(), key, key, roles, members, (), {})


def diamond():
    """Rows; three networks on them; a kernel on each; one report over the kernels."""
    rows = node("rows")
    networks = [node(f"net{i}", rows) for i in range(3)]
    kernels = [node(f"kernel{i}", network) for i, network in enumerate(networks)]
    return [rows, *networks, *kernels, node("report", *kernels, gathers=True)]


class Simulated:
    """Executor of a few workers that end in random order; refuses what is begun before its inputs are decided."""

    def __init__(self, workers, failing=(), seed=0):
        self.workers, self.failing, self.dice = workers, failing, random.Random(seed)
        self.queue, self.order, self.most, self.given = [], [], 0, {}
        self.decided = set()

    def submit(self, nodes, failures):
        for one in nodes:
            assert {upstream.key for upstream in one.upstream()} <= self.decided | set(failures)
            self.queue.append(one)
            self.given[one.key] = dict(failures)

    def poll(self):
        running = self.queue[: self.workers]
        self.most = max(self.most, len(running))
        chosen = self.dice.choice(running)
        self.queue.remove(chosen)
        self.order.append(chosen.key)
        self.decided.add(chosen.key)
        return [Outcome(chosen.key, UserError("no") if chosen.key in self.failing else None)]


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("seed", range(5))
def test_everything_is_made_once_behind_its_inputs_on_any_number_of_workers(workers, seed):
    schedule, executor = Schedule(diamond()), Simulated(workers, seed=seed)
    run(schedule, executor)
    assert sorted(executor.order) == sorted(one.key for one in diamond()) and not schedule.failures
    assert executor.order[0] == "rows" and executor.order[-1] == "report"
    assert executor.most == min(workers, 3)


def test_a_failure_stops_what_needs_it_and_the_gather_is_told_why():
    schedule, executor = Schedule(diamond()), Simulated(2, failing={"net1"})
    told = []
    run(schedule, executor, told.append)
    assert "kernel1" not in executor.order and {"kernel0", "kernel2", "report"} <= set(executor.order)
    assert set(schedule.failures) == {"net1", "kernel1"}
    assert set(executor.given["report"]) == {"kernel1"}
    assert [(one.key, one.tried) for one in told if one.error] == [("net1", True), ("kernel1", False)]


def test_when_the_first_input_fails_nothing_but_the_gather_is_tried():
    executor = Simulated(2, failing={"rows"})
    run(Schedule(diamond()), executor)
    assert executor.order == ["rows", "report"]
    assert set(executor.given["report"]) == {"kernel0", "kernel1", "kernel2"}


def test_a_gather_of_a_gather_learns_which_cells_are_absent_below_it():
    nodes = diamond()
    page = node("page", nodes[-1], gathers=True)
    executor = Simulated(3, failing={"kernel2"})
    run(Schedule([*nodes, page]), executor)
    assert set(executor.given["page"]) == {"kernel2"}


def test_the_longest_way_to_the_end_is_begun_first():
    rows = node("rows")
    short, long = node("short", rows), node("long", rows)
    after = node("after", long)
    last = node("last", short, after, gathers=True)
    executor = Simulated(1)
    run(Schedule([rows, short, long, after, last], weigh=lambda one: 1.0), executor)
    assert executor.order == ["rows", "long", "short", "after", "last"]


def test_inputs_that_exist_already_are_not_waited_for():
    nodes = diamond()
    executor = Simulated(1)
    executor.decided = {"net0", "net1", "net2"}
    run(Schedule(nodes[4:]), executor)
    assert executor.order[-1] == "report" and len(executor.order) == 4


def test_what_an_artifact_finds_out_to_need_is_made_first_by_all_workers():
    rows, page = node("rows"), node("page")
    target = node("report", page, gathers=True)
    inner = tuple(node(f"inner{i}", rows) for i in range(4))
    schedule = Schedule([rows, page, target])
    assert {one.key for one in schedule.ready()} == {"rows", "page"}
    ready = schedule.end(Outcome("page", needs=inner))
    assert ready == [] and schedule.open == 7  # they wait for the rows
    assert [one.key for one in schedule.end(Outcome("rows"))] == [one.key for one in inner]
    for one in inner[:3]:
        assert schedule.end(Outcome(one.key)) == []
    assert schedule.end(Outcome("inner3")) == [page]
    assert schedule.end(Outcome("page", needs=inner)) == [page]  # nothing is open any more: it is begun again
    assert schedule.end(Outcome("page")) == [target] and schedule.end(Outcome("report")) == [] and schedule.open == 0


def test_a_failure_of_what_was_found_out_to_be_needed_stops_what_needs_it():
    page = node("page")
    schedule = Schedule([page])
    inner = node("inner")
    assert schedule.end(Outcome("page", needs=(inner,))) == [inner]
    assert schedule.end(Outcome("inner", UserError("no"))) == [] and schedule.open == 0
    assert [outcome.key for outcome in schedule.given_up] == ["page"]
