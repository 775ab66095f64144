"""Adversarial training: attacked batches, the same bytes after a kill, and what it refuses."""

import pytest
import torch

from models.adversarial_training import BatchAttack
from models.gradient_attack import PixelBall
from pipeline.config.training import TrainingAttackConfig
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from tests.pipeline.training_cases import Blobs, digests, noisy_net, run_config, train


class Pixels(Blobs):
    """The same images within [0, 1]."""

    def __init__(self, fail_at=None):
        super().__init__(fail_at)
        for rows in self.rows.values():
            rows["image"] = torch.sigmoid(rows["image"])

    def batch(self, name, indices, generator=None):
        batch = super().batch(name, indices, generator)
        return {**batch, "image": batch["image"].clamp(0, 1)}


def attacked(radius=0.1, **training):
    return run_config(attack=TrainingAttackConfig(radius=radius, steps=3), **training)


def test_an_attacked_batch_is_harder_and_stays_in_its_ball():
    network = noisy_net().train()
    network.dropout.eval()
    batch = Pixels().batch("train", torch.arange(32))
    attack = BatchAttack(PixelBall.of(0.1, 1, None, None), steps=5, seed=3)

    def scores(one):
        return network(one["image"])

    before = {name: value.clone() for name, value in network.state_dict().items()}
    moved = attack(network, scores, batch, step=7)
    assert network.training and network.norm.training and not network.dropout.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert float((moved["image"] - batch["image"]).abs().max()) <= 0.1 + 1e-6
    assert float(moved["image"].min()) >= 0 and float(moved["image"].max()) <= 1
    network.eval()
    losses = [torch.nn.functional.cross_entropy(scores(one), batch["label"]) for one in (batch, moved)]
    assert losses[1] > losses[0] + 0.05
    assert torch.equal(moved["image"], attack(network, scores, batch, step=7)["image"])
    assert not torch.equal(moved["image"], attack(network, scores, batch, step=8)["image"])


def test_a_ball_is_scaled_by_the_normalization_of_each_channel():
    ball = PixelBall.of(0.1, 2, [0.5, 0.25], [0.5, 0.2])
    torch.testing.assert_close(ball.radius.flatten(), torch.tensor([0.2, 0.5], dtype=torch.float64))
    torch.testing.assert_close(ball.low.flatten(), torch.tensor([-1.0, -1.25], dtype=torch.float64))
    torch.testing.assert_close(ball.high.flatten(), torch.tensor([1.0, 3.75], dtype=torch.float64))


def test_training_under_attack_makes_a_network_more_robust(tmp_path):
    data = Pixels()
    networks = {}
    for radius in (0.0, 0.1):
        networks[radius] = noisy_net()
        config = attacked(radius, epochs=25)
        train(tmp_path / str(radius), data=data, config=config, model=networks[radius])
    batch = data.batch("test", torch.arange(30))
    attack = BatchAttack(PixelBall.of(0.1, 1, None, None), steps=10, seed=0)
    right = {}
    for radius, network in networks.items():
        moved = attack(network, lambda one, network=network: network(one["image"]), batch, 0)
        right[radius] = int((network.eval()(moved["image"]).argmax(1) == batch["label"]).sum())
    assert right[0.1] > right[0.0]


@pytest.mark.parametrize("fail_at", [4, 13])
def test_a_killed_training_under_attack_resumes_to_the_same_bytes(tmp_path, fail_at):
    train(tmp_path / "whole", data=Pixels(), config=attacked())
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "killed", data=Pixels(fail_at=fail_at), config=attacked())
    train(tmp_path / "killed", data=Pixels(), config=attacked())
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_clean_training_keeps_its_key_and_each_attack_has_its_own():
    graph = Graph(())
    keys = [
        graph.resolve("train", compose_run(overrides)).key
        for overrides in (
            (),
            ("training.attack.radius=0.0",),
            ("training.attack.radius=0.1",),
            ("training.attack.seed=1",),
        )
    ]
    assert keys[0] == keys[1] and len(set(keys)) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("training.attack.radius=8",), r"training.attack.radius=8.0 is not in \[0, 1\]"),
        (("training.attack.steps=0",), "training.attack.steps=0 is below 1"),
        (("training.attack.radius=0.1", "data=cola", "model=gpt2"), "moves the pixels of labeled images"),
        (("training.attack.radius=0.1", "model=mlp", "numerics.engine=ensemble"), "needs numerics.engine=lightning"),
    ],
)
def test_impossible_attacks_are_refused_before_anything_runs(overrides, message):
    from pipeline.checks.general import check

    with pytest.raises(UserError, match=message):
        check(compose_run(overrides))
