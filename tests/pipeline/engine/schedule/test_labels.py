"""What distinguishes an artifact is what all cells that it serves have in common."""

from pipeline.engine.graph import GatheredNode
from pipeline.engine.schedule.labels import in_words, labels_of
from tests.pipeline.engine.schedule.test_scheduler import node


def test_labels_are_those_that_all_cells_of_an_artifact_share():
    rows = node("rows")
    networks = {seed: node(f"net{seed}", rows) for seed in "01"}
    target = node("report", gathers=True)
    cells = [(kind, seed) for kind in ("pntk", "conjugate") for seed in "01"]
    kernels = [node(f"{kind}{seed}", networks[seed]) for kind, seed in cells]
    target.members["kernel"] = [
        GatheredNode({"kernel": kind, "seed": seed}, kernel)
        for (kind, seed), kernel in zip(cells, kernels, strict=True)
    ]
    found = labels_of(node("page", target, gathers=True))
    assert found["pntk1"] == {"kernel": "pntk", "seed": "1"} and found["net0"] == {"seed": "0"}
    assert found["rows"] == {} and "report" not in found
    assert in_words(found["pntk1"]) == "kernel pntk, seed 1"
