"""What other stages read of trained networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn

from pipeline.engine.artifacts import open_partial, write_json
from pipeline.engine.cells import compose_run
from pipeline.engine.inventory.completion import complete
from pipeline.errors import UserError
from pipeline.stages.train.read import (
    has_weights,
    load_snapshot,
    outputs_at,
    read_final_outputs,
    read_final_weights,
    read_learning_curve,
    read_network_outputs,
    read_probe_batch,
    read_recorded_steps,
    read_snapshot_arrays,
    read_snapshot_weights,
)
from pipeline.training.history import write_history
from pipeline.training.networks import save_weights

OUTPUTS = {"test.ids": np.array([4, 2, 7]), "test.logits": np.eye(3, dtype=np.float32)}
MOMENTS = [{"step": 0, "epoch": 0.0, "lr": 0.1}, {"step": 10, "epoch": 2.0, "lr": 0.05}]


@pytest.fixture
def trained(tmp_path):
    """A trained network of one layer."""
    folder = tmp_path / "train" / "x-000000000000"
    partial = open_partial(folder)
    save_file(OUTPUTS, partial / "logits.safetensors")
    save_weights(nn.Linear(2, 1), partial / "weights.safetensors")
    rows = [
        {"epoch": 1, "step": 5, "lr": 0.1, "train_loss": 0.5},
        {"epoch": 2, "step": 10, "lr": 0.1, "train_loss": 0.25},
    ]
    write_history(rows, partial / "history.csv")
    return complete(folder, {"stage": "train", "key": "0" * 12, "version": 1}, {})


@pytest.fixture
def snapshots(tmp_path):
    """Two snapshots of one layer: weights at the last, outputs at the first."""
    folder = tmp_path / "snapshots" / "x-000000000000"
    partial = open_partial(folder)
    write_json(partial / "steps.json", MOMENTS)
    save_file({"id": np.array([3, 5]), "label": np.array([0, 1])}, partial / "probe.safetensors")
    for name in ("step-00000000", "step-00000010"):
        (partial / name).mkdir()
    save_file(OUTPUTS, partial / "step-00000000" / "logits.safetensors")
    save_weights(nn.Linear(2, 1), partial / "step-00000010" / "weights.safetensors")
    return complete(folder, {"stage": "snapshots", "key": "0" * 12, "version": 1}, {})


def at_step(step):
    config = compose_run(("data=parabola",))
    return replace(config, weights=replace(config.weights, source="snapshots", step=step))


def test_a_trained_network_is_read_back(trained, snapshots):
    assert [row["train_loss"] for row in read_learning_curve(trained)] == [0.5, 0.25]
    np.testing.assert_array_equal(read_final_outputs(trained)["test.logits"], OUTPUTS["test.logits"])
    assert set(read_final_weights(trained)) == {"weight", "bias"}
    assert read_final_weights(snapshots) is None


def test_snapshots_are_read_back(snapshots):
    assert read_recorded_steps(snapshots) == MOMENTS
    assert read_probe_batch(snapshots)["id"].tolist() == [3, 5]
    np.testing.assert_array_equal(read_snapshot_arrays(snapshots, 0, "logits")["test.ids"], OUTPUTS["test.ids"])
    assert [has_weights(snapshots, step) for step in (0, 10)] == [False, True]
    network = load_snapshot(nn.Linear(2, 1), snapshots, 10)
    assert not network.training
    torch.testing.assert_close(dict(network.state_dict()), read_snapshot_weights(snapshots, 10))


def test_outputs_belong_to_the_step_of_the_weights(trained, snapshots):
    np.testing.assert_array_equal(read_network_outputs(at_step(None), trained)["test.ids"], OUTPUTS["test.ids"])
    np.testing.assert_array_equal(read_network_outputs(at_step(0), snapshots)["test.ids"], OUTPUTS["test.ids"])
    with pytest.raises(UserError, match="step 10 come without outputs"):
        read_network_outputs(at_step(10), snapshots)


def test_outputs_of_other_points_than_the_kernels_are_refused():
    np.testing.assert_array_equal(outputs_at(OUTPUTS, "test", np.array([7, 4])), np.eye(3)[[2, 0]])
    with pytest.raises(UserError, match="not those of the network's outputs"):
        outputs_at(OUTPUTS, "test", np.array([7, 5]))
    with pytest.raises(UserError, match="they hold test"):
        outputs_at(OUTPUTS, "train", np.array([7]))
