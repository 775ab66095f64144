"""What the planner decides for a GPU, checked without one: no product is timed here, and nothing is computed."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.kernel_cells import build
from kernels import kernel_matrix, plan_kernel
from kernels.contraction import job
from kernels.contraction import plan as planner
from kernels.contraction.plan import Plan
from kernels.contraction.traffic import HOST, RATES, traffic_cost_on
from kernels.machine.memory import parse_memory
from kernels.machine.precision import PRECISIONS
from tests.kernels.cases import BY_NAME, make

GPU = torch.device("cuda")
ROWS = 50_000


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan for a GPU with an H100's default budget and the rates of the table."""
    real = planner.lay_out

    def lay_out(blocks: Any, **arguments: Any) -> Plan:
        return real(blocks, **arguments | {"device": GPU, "rows": ROWS, "budget": 54 * 2**30})

    monkeypatch.setattr(job, "lay_out", lay_out)
    monkeypatch.setattr(planner, "measure_rate", lambda _, precision: RATES[precision.name])
    monkeypatch.setattr(planner, "available_memory", lambda: 100 * 2**30)


@pytest.mark.slow
def test_the_published_network_is_planned_within_the_goals(gpu: None) -> None:
    model, images = build("resnet18_pool", 4)
    goals = {"pntk": 60.0, "trntk": 300.0}
    for kind, seconds in goals.items():
        plan = plan_kernel(model, images, kind=kind, precision="tf32", normalize=False)
        assert plan.rows == ROWS and plan.seconds < 0.7 * seconds  # room for what no plan knows
        assert plan.flops / 2 / RATES["tf32"] > 0.55 * plan.seconds
        assert plan.class_chunks == 1 and plan.row_block < ROWS  # classes together: their products share the inputs'
        forms = {layer.names[0]: layer.form for layer in plan.layers}
        # 16 positions: a Gram between them would pass through memory longer than the gradients' product takes.
        assert forms["layer3.1.conv2.weight"] == ("feature" if kind == "pntk" else "position")
        assert forms["layer1.0.conv1.weight"] == "feature"
    strict = plan_kernel(model, images, kind="pntk", normalize=False)
    assert strict.seconds > 3 * plan_kernel(model, images, kind="pntk", precision="tf32", normalize=False).seconds


def test_traffic_costs_depend_on_device_and_precision() -> None:
    costs = {name: traffic_cost_on(GPU, precision) for name, precision in PRECISIONS.items()}
    assert costs["bfloat16"].positions == 2 * costs["tf32"].positions > 10 * costs["float32"].positions
    assert costs["float64"].pairs > costs["float32"].pairs  # twice the bytes
    assert all(traffic_cost_on(torch.device("cpu"), precision) == HOST for precision in PRECISIONS.values())


def test_memory_that_torch_keeps_for_reuse_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 60 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20 * 2**30)
    assert parse_memory(None, GPU) == int(0.7 * 50 * 2**30)


def test_a_budget_above_what_a_job_leaves_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, images, _ = make(BY_NAME["tiny_resnet"], 8)
    needed = plan_kernel(model, images, memory="2GiB", precision="float64")
    assert needed.row_block == 8
    monkeypatch.setattr(planner, "available_memory", lambda: 1_000_000)
    with pytest.raises(MemoryError, match=r"plan takes about .* within its budget of 2 GiB, and 976.6 KiB"):
        plan_kernel(model, images, memory="2GiB", precision="float64")


class Answers(TorchDispatchMode):
    """Count how often Python asks for a tensor's value, for which a GPU would have to finish all its work."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


def test_a_batch_waits_once_however_many_layers_there_are() -> None:
    model, images, _ = make(BY_NAME["tiny_resnet"], 8)
    counts = []
    for size in (8, 1):
        with Answers() as seen:
            kernel_matrix(model, images, precision="float64", batch_size=size, certify="off")
        counts.append(seen.count)
    assert counts[1] - counts[0] == 8 - 1  # for its logits; gradients show in the tile


def test_a_plan_can_be_read() -> None:
    model, inputs, _ = make(BY_NAME["tiny_gpt2"], 4, dtype=torch.float32)
    text = str(plan_kernel(model, inputs, kind="pntk", memory="1GiB"))
    assert "transformer.wte.weight" in text and "tokens" in text and "memory budget 1 GiB" in text


@pytest.mark.parametrize(
    ("count", "options"),
    [(6, {"certify": "every", "batch_size": 4}), (40, {"batch_size": 3, "block_rows": 10}), (20, {"batch_size": 16})],
    ids=["every", "small passes", "a rest"],
)
def test_a_plan_says_how_much_will_be_checked(count: int, options: dict[str, Any]) -> None:
    model, inputs, _ = make(BY_NAME["mlp"], count, dtype=torch.float32)
    plan = plan_kernel(model, inputs, inputs[:5], kind="pntk", **options)
    found = kernel_matrix(model, inputs, inputs[:5], kind="pntk", **options).metadata["certificate"]
    assert plan.certified == (found["passes_checked"], found["passes"], found["parameters"]) and found["passes"] > 1
    assert f": {found['passes_checked']} of {found['passes']} passes" in str(plan) and "6 parameters each" in str(plan)
    unchecked = plan_kernel(model, inputs, certify="off")
    assert str(unchecked).endswith("certificate: no pass is checked against the network's own gradient")


def test_expected_seconds_add_up_passes_layers_and_entries() -> None:
    model, inputs, _ = make(BY_NAME["tiny_resnet"], 6, dtype=torch.float32)
    plan = plan_kernel(model, inputs, kind="pntk")
    assert len(plan.layer_seconds) == len(plan.layers)
    assert plan.pass_seconds > 0 and plan.entry_seconds > 0 and plan.setup_seconds > 0
    assert all(one.pair > 0 and one.keep > 0 and one.form >= 0 for one in plan.layer_seconds)
    layers = [one.keep * 6 + one.form * 6 + one.pair * 21 for one in plan.layer_seconds]
    assert [plan.seconds_of(i) for i in range(len(layers))] == pytest.approx(layers)
    expected = plan.setup_seconds + 6 * plan.pass_seconds + sum(layers) + 36 * plan.entry_seconds
    assert plan.seconds == pytest.approx(expected)
    tiled = replace(plan, row_block=2, column_block=2)  # three row blocks: passes and formed gradients are repeated
    assert tiled.passes == 12 and tiled.seconds > plan.seconds


@pytest.mark.parametrize("kind", ["pntk", "trntk", "entk", "conjugate"])
@pytest.mark.parametrize("name", ["tiny_resnet", "tiny_gpt2"])
def test_every_kind_of_plan_is_timed_and_decides_nothing(name: str, kind: str) -> None:
    model, inputs, _ = make(BY_NAME[name], 5, dtype=torch.float32)
    how = {"kind": kind, "memory": "256MiB"}  # by itself it is a share of what is free, which others change
    plan = plan_kernel(model, inputs, **how)
    assert plan.layer_seconds and plan.seconds > 0
    assert kernel_matrix(model, inputs, **how).metadata["plan"] == plan
