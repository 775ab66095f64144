"""A block of seeds trained together gives what Lightning gives seed by seed."""

import dataclasses

import pytest
import torch
from scipy.stats import ks_2samp

from models.configs import MLPConfig
from models.losses import LOSSES
from pipeline.training.evaluation import split_outputs
from tests.pipeline.ensemble_cases import MODELS, TWO_LAYER, Images, Points, alone, at, case, together

SEEDS = (3, 4, 5)


def agree(folder, config, data, varying=("init", "order", "augment", "dropout"), steps=1):
    """Both engines on the same seeds; weights, running statistics and history must match to 1e-6."""
    configs = [at(config, seed, varying) for seed in SEEDS]
    members = together(folder / "together", configs, data())
    starts = set()
    for index in (0, len(SEEDS) - 1):
        outcome, expected = alone(folder / str(index), configs[index], data())
        found = members[index].module.model.state_dict()
        assert list(found) == list(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6, msg=name)
        assert outcome.metrics["steps"] == members[index].history[-1]["step"] == steps
        for row, other in zip(outcome.history, members[index].history, strict=True):
            assert list(row) == list(other)
            assert other == pytest.approx(row, rel=1e-5, abs=1e-5)
        starts.add(float(sum(value.double().abs().sum() for value in expected.values())))
    assert len(starts) == 2, "the seeds differ"


ONE_STEP = {"epochs": 1, "batch_size": 70, "warmup": 0.0, "schedule": "constant"}


@pytest.mark.filterwarnings("ignore:Found .* in eval mode")  # Lightning's, about batch norm that is frozen
@pytest.mark.parametrize("name", MODELS)
def test_every_network_after_one_step(tmp_path, name):
    agree(tmp_path, case(MODELS[name], **ONE_STEP, weight_decay=0.01), Images)


@pytest.mark.parametrize("name", TWO_LAYER)
def test_every_regression_network_after_one_step(tmp_path, name):
    agree(tmp_path, case(TWO_LAYER[name], **ONE_STEP, loss="regression"), Points)


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_every_optimizer_after_one_step(tmp_path, optimizer):
    agree(tmp_path, case(MLPConfig(widths=[12]), **ONE_STEP, optimizer=optimizer, weight_decay=0.05), Images)


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"regression"}))
def test_every_loss_after_one_step(tmp_path, loss):
    agree(tmp_path, case(MLPConfig(widths=[12]), **ONE_STEP, loss=loss), Images)


@pytest.mark.parametrize("loss", ["bce", "mse", "mse_01", "sigmoid_mse"])
def test_a_single_logit_after_one_step(tmp_path, loss):
    agree(tmp_path, case(MLPConfig(widths=[12], outputs=1), **ONE_STEP, loss=loss), lambda: Images(classes=2))


@pytest.mark.parametrize("optimizer", ["nesterov", "adamw"])
def test_momentum_schedule_clipping_and_a_short_last_batch_over_epochs(tmp_path, optimizer):
    config = case(
        MODELS["resnet18"],
        epochs=2,
        batch_size=32,  # 70 rows: batches of 32, 32 and 6
        optimizer=optimizer,
        lr=0.003,
        schedule="step",
        milestones=[0.5],
        warmup=0.2,
        gradient_clip=0.5,
        weight_decay=0.01,
    )
    agree(tmp_path, config, Images, steps=6)


@pytest.mark.parametrize("stream", ["init", "order", "augment"])
def test_a_single_stream_that_varies(tmp_path, stream):
    agree(tmp_path, case(MLPConfig(widths=[12]), epochs=1, batch_size=32), Images, (stream,), steps=3)


def test_rows_looked_up_for_all_members_at_once_are_the_same_rows(tmp_path):
    class Plain(Images):
        augments = False

        def batch(self, name, indices, generator=None):
            return super().batch(name, indices, None)

    agree(tmp_path, case(MLPConfig(widths=[12]), epochs=1, batch_size=32), Plain, steps=3)


def test_the_distribution_over_seeds_is_that_of_one_by_one_training(tmp_path):
    """Disjoint seeds in float32: accuracies and logit gaps of 30 + 30 runs come from one distribution."""
    config = case(MLPConfig(widths=[8]), precision="32-true", epochs=2, batch_size=35, lr=0.1, schedule="constant")
    data = Images(classes=2, spread=4.0)
    members = together(tmp_path, [at(config, seed) for seed in range(100, 132)], data)
    runs = [split_outputs(member.module, data, ["test"]) for member in members]
    gaps = {"together": [_gaps(run["test.logits"]) for run in runs], "alone": []}
    accuracies = {"together": [_accuracy(run) for run in runs], "alone": []}
    for seed in range(30):
        outcome, _ = alone(tmp_path / str(seed), at(config, seed), data)
        accuracies["alone"].append(outcome.metrics["test_accuracy"])
        gaps["alone"].append(_gaps(_logits(tmp_path / str(seed))))
    assert ks_2samp(accuracies["together"], accuracies["alone"]).pvalue > 0.01
    assert len(set(accuracies["alone"])) > 3 and len(set(accuracies["together"])) > 3
    for row in range(0, 30, 5):  # one test row at a time: rows of one run are dependent
        assert ks_2samp([g[row] for g in gaps["together"]], [g[row] for g in gaps["alone"]]).pvalue > 0.01 / 6
    same, _ = alone(tmp_path / "same", dataclasses.replace(members[0].config), data)
    torch.testing.assert_close(
        torch.tensor(_gaps(_logits(tmp_path / "same"))), torch.tensor(gaps["together"][0]), rtol=1e-3, atol=1e-4
    )
    assert same.metrics["test_accuracy"] == accuracies["together"][0]


def _gaps(logits):
    return (logits[:, 1] - logits[:, 0]).tolist()


def _accuracy(run):
    return float((run["test.logits"].argmax(1) == run["test.labels"]).double().mean())


def _logits(folder):
    from safetensors.torch import load_file

    return load_file(folder / "logits.safetensors")["test.logits"]
