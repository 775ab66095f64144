"""Stage ``layer_kernels``: parts by layer, agreement of every route, and what is refused."""

from __future__ import annotations

import pytest

from analysis.pages.blocks import Picture, Table
from analysis.verdicts import FAILS, HOLDS, Claim
from pipeline.engine.artifacts import Store
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from pipeline.stages.layer_kernels.read import WHOLE
from pipeline.stages.layer_kernels.report import section

TINY = (
    "data=parabola",
    "model.widths=[8,8]",
    "training.batch_size=96",
    "training.epochs=2",
    "kernel.n_train=40",
    "kernel.n_test=30",
    "layer_kernels.points=6",
    "surrogate=ridge",
    "hardware.progress=false",
)


def make(folder, *overrides: str) -> Gathered:
    everything = (*TINY, *overrides, f"paths.store={folder}", f"paths.cache={folder}/cache")
    config, graph = compose_run(everything), Graph(everything)
    artifact = Puller(Store(folder), graph).pull(graph.resolve("layer_kernels", config))
    return Gathered({"seed": "0"}, config, artifact, "python run.py")


@pytest.mark.parametrize("kind", ["pntk", "trntk"])
def test_routes_agree_and_parts_follow_the_network(tmp_path, kind):
    found = make(tmp_path, f"kernel={kind}")
    layers = found.artifact.table("layers.parquet").to_pydict()
    assert layers["layer"] == [WHOLE, "hidden.0.linear", "hidden.1.linear", "head.linear"]
    assert sum(layers["trace_share"][1:]) == pytest.approx(1.0)
    assert all(0.3 < value <= 1.0 for value in layers["accuracy"])
    routes = found.artifact.table("agreement.parquet").to_pylist()
    assert {row["method"] for row in routes} >= {"loop", "vmap", "layer rules", "Jacobian written out"}
    assert max(row["difference"] for row in routes if row["precision"] == "float64") < 1e-10
    assert 0 < max(row["difference"] for row in routes if row["precision"] == "float32") < 1e-3


def test_a_frozen_layer_keeps_its_weights_and_has_no_part(tmp_path):
    free, frozen = make(tmp_path), make(tmp_path, "model.frozen_layers=[0]")
    assert "hidden.0.linear" in free.artifact.metrics["accuracy"]
    assert "hidden.0.linear" not in frozen.artifact.metrics["accuracy"]
    assert frozen.artifact.metrics["frozen"] == ["hidden.0.linear.weight", "hidden.0.linear.bias"]


def test_section_shows_layers_and_decides_over_runs(tmp_path):
    members = [make(tmp_path, f"seed={seed}") for seed in (0, 1, 2)]
    shown = section(members, members[0].config)
    assert sum(isinstance(block, Table) for block in shown.blocks) == 2
    assert sum(isinstance(block, Picture) for block in shown.blocks) == 1
    (claim,) = [block for block in shown.blocks if isinstance(block, Claim)]
    assert claim.decided.outcome == HOLDS
    for member in members:
        member.artifact.metrics["largest_difference"] = 1e-3
    (claim,) = [block for block in section(members, members[0].config).blocks if isinstance(block, Claim)]
    assert claim.decided.outcome == FAILS, "a route that is off by a thousandth must be seen"


def test_kernels_that_are_no_sum_over_layers_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"kernel\.kind=conjugate is not one\. Choose kernel=pntk or kernel=trntk"):
        make(tmp_path, "kernel=conjugate")
