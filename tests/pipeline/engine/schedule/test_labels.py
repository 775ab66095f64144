"""What distinguishes an artifact is what all cells that it serves have in common."""

from pipeline.engine.cells import compose_run
from pipeline.engine.graph import GatheredNode, Graph
from pipeline.engine.schedule.labels import cell_of, labels_of
from pipeline.shown_text import cell_words
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
    assert cell_words(found["pntk1"]) == "pntk | seed 1"


def test_a_single_run_has_the_labels_of_the_cell_that_its_command_types_on_axes_that_it_depends_on():
    words = ("experiment=quickstart", "model=resnet18", "model.width=8", "kernel=pntk", "seed=2")
    graph, config = Graph(words), compose_run(words)
    kernel, network = graph.resolve("kernel", config), graph.resolve("train", config)
    assert cell_words(cell_of(kernel)) == "resnet18, width 8 | pntk | seed 2"
    assert cell_words(labels_of(kernel)[network.key]) == "resnet18, width 8 | seed 2"
    assert cell_of(graph.resolve("prepare", config)) == {}
