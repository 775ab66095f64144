"""Runs that start from a network of an earlier task: shared, under a new output layer, and part of the address."""

import pytest
import torch

from models.configs import MLPConfig, ResNet18Config
from pipeline.checks.general import check
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.plan import every_node
from pipeline.errors import UserError
from pipeline.training.ensemble import train_block
from pipeline.training.networks import WEIGHTS, build_network, starting_network
from tests.pipeline.ensemble_cases import Images, at, case
from tests.stages.stage_cases import artifact_with_files

RESNET = ResNet18Config(width=2)
HEAD = {"fc.weight", "fc.bias"}
FROM_OTHERS = ("model=resnet18", "data.subset.classes=[3,5]", "pretrain.classes=[0,1,2]")


def earlier_network(tmp_path, classes, model=RESNET):
    """Finish an artifact with the weights of a network for other classes; also give the weights."""
    weights = build_network(at(case(model), 9), Images(classes)).state_dict()
    for name, value in weights.items():
        if name.endswith("running_mean"):
            value += 0.5
    arrays = {name: value.numpy() for name, value in weights.items()}
    return artifact_with_files(tmp_path / "pretrain" / "made-up-000000000000", {WEIGHTS: arrays}, {}), weights


@pytest.mark.parametrize("classes", [5, 3])
def test_the_body_is_taken_over_and_the_output_layer_is_new(tmp_path, classes):
    artifact, weights = earlier_network(tmp_path, classes)
    config = at(case(RESNET), 4)
    fresh = build_network(config, Images()).state_dict()
    found = starting_network(config, Images(), artifact).state_dict()
    assert all(torch.equal(value, fresh[name] if name in HEAD else weights[name]) for name, value in found.items())
    assert torch.equal(starting_network(config, Images(), None).state_dict()["fc.bias"], fresh["fc.bias"])


def test_members_of_a_block_share_the_body_and_differ_in_the_output_layer(tmp_path):
    artifact, weights = earlier_network(tmp_path, 5)
    config = case(RESNET, epochs=1, lr=1e-12)
    members = train_block([at(config, 0), at(config, 1)], Images(), tmp_path, pretrained=artifact)
    first, second = (member.module.model.state_dict() for member in members)
    assert torch.allclose(first["conv1.weight"], weights["conv1.weight"], atol=1e-9)
    assert torch.allclose(second["conv1.weight"], weights["conv1.weight"], atol=1e-9)
    assert not torch.allclose(first["fc.weight"], second["fc.weight"], atol=1e-3)


def test_another_network_is_refused(tmp_path):
    artifact, _ = earlier_network(tmp_path, 5, MLPConfig(widths=[7]))
    with pytest.raises(UserError, match="earlier task .* is another one: .*weight"):
        starting_network(case(MLPConfig(widths=[8])), Images(), artifact)
    with pytest.raises(UserError, match=r"is another one: .*\.weight.* differ"):  # deeper: its own layers are missing
        starting_network(case(MLPConfig(widths=[7, 7])), Images(), artifact)


@pytest.mark.parametrize("engine", ["lightning", "ensemble"])
def test_all_seeds_start_from_one_network_and_their_address_says_so(engine):
    graph = Graph()
    runs = [
        graph.resolve("train", compose_run((*FROM_OTHERS, f"numerics.engine={engine}", f"seed={seed}")))
        for seed in (0, 1)
    ]
    starts = [{n.key for n in every_node(run) if n.stage.name == "pretrain"} for run in runs]
    assert starts[0] == starts[1] and len(starts[0]) == 1
    longer = graph.resolve("train", compose_run((*FROM_OTHERS, f"numerics.engine={engine}", "pretrain.epochs=3")))
    assert len({runs[0].key, runs[1].key, longer.key}) == 3
    earlier = next(n for n in every_node(runs[0]) if n.stage.name == "pretrain")
    assert earlier.config.data.subset.classes == [0, 1, 2] and earlier.config.pretrain.classes is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("stage=pretrain",), "stage=pretrain needs pretrain.classes"),
        (("data=tweets", "model=gpt2_tiny", "pretrain.classes=[0,1]"), "pretrain.classes is for images"),
        (("pretrain.classes=[4]",), "at least two different classes"),
        (("pretrain.classes=[0,1]", "pretrain.epochs=0"), "pretrain.epochs=0 is below 1"),
    ],
)
def test_an_impossible_earlier_task_is_refused(overrides, words):
    with pytest.raises(UserError, match=words):
        check(compose_run(overrides))
