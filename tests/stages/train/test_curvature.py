"""Curvature among the snapshots: what is recorded, that a kill loses nothing, what is shown and what is refused."""

import numpy as np
import pytest
import torch

from analysis.pages.blocks import Picture, Table
from models.logits import model_inputs
from pipeline.config.snapshots import CurvatureConfig
from pipeline.data.datamodule import open_data
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError
from pipeline.stages.train.read import read_recorded_steps, read_snapshot_arrays, read_snapshot_weights
from pipeline.stages.train.report_curvature import curvature_run, sharpness_headline
from pipeline.stages.train.report_snapshots import section
from pipeline.training import snapshots
from pipeline.training.curvature_record import curvature_arrays, curvature_plan
from pipeline.training.fit import make_module
from pipeline.training.networks import build_network
from pipeline.training.snapshots import probe_batch
from tests.references.loss_curvature import gauss_newton, hessian
from tests.stages.image_cases import pull

WORDS = (
    "model.widths=[4]",
    "model.activation=tanh",
    "training.optimizer=sgd",
    "training.lr=0.05",
    "training.schedule=constant",
    "training.warmup=0",
    "training.weight_decay=0",
    "training.epochs=1",
    "snapshots.record=[weights,kernel,curvature]",
    "snapshots.schedule=steps",
    "snapshots.steps=[0,6,-1]",
    "snapshots.probe=12",
    "snapshots.curvature.eigenvalues=3",
)


@pytest.fixture(scope="module")
def recorded(images, tmp_path_factory):
    store = tmp_path_factory.mktemp("recorded")
    return pull("snapshots", store, *images, *WORDS), store


def test_recorded_eigenvalues_are_those_of_the_explicit_matrices(recorded, images):
    artifact, store = recorded
    config = compose_run((*images, *WORDS))
    data = open_data(config, pull("prepare", store, *images, *WORDS))
    batch = probe_batch(data, 12)
    inputs, labels = model_inputs(batch).double(), batch["label"]
    for step in (0, 6):
        network = build_network(config, data).double()
        network.load_state_dict(read_snapshot_weights(artifact, step))
        found = read_snapshot_arrays(artifact, step, "curvature")
        for name, reference in (("hessian", hessian), ("gauss_newton", gauss_newton)):
            whole = reference(network, inputs, lambda f: torch.nn.functional.cross_entropy(f, labels))
            expected = np.linalg.eigvalsh(whole.numpy())[::-1][:3]
            np.testing.assert_allclose(found[f"{name}.eigenvalues"], expected, rtol=1e-4, atol=1e-6)
            assert found[f"{name}.weights"].sum() == pytest.approx(1)
    last = read_recorded_steps(artifact)[-1]["step"]
    top = read_snapshot_arrays(artifact, last, "curvature")["hessian.eigenvalues"][0]
    assert artifact.metrics["sharpness_end"] == pytest.approx(top) and artifact.metrics["snapshots"] == 3


def test_a_kill_loses_nothing(recorded, images, tmp_path, monkeypatch, capsys):
    artifact, _ = recorded
    plain, calls = snapshots.curvature_arrays, []

    def dies(*args):
        calls.append(len(calls))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args)

    monkeypatch.setattr(snapshots, "curvature_arrays", dies)
    with pytest.raises(KeyboardInterrupt):
        pull("snapshots", tmp_path, *images, *WORDS)
    assert "curvature at 3 steps: up to" in capsys.readouterr().err
    again = pull("snapshots", tmp_path, *images, *WORDS)
    assert again.manifest["files"] == artifact.manifest["files"]


def test_the_report_sets_curvature_beside_the_kernel_and_the_edge(recorded, images):
    artifact, _ = recorded
    config = compose_run((*images, *WORDS))
    member = Gathered({"seed": "0"}, config, artifact, "python run.py")
    run = curvature_run(member, "0")
    assert set(run.top) == {"hessian", "gauss_newton", "kernel"} and run.threshold == pytest.approx(3.8 / 0.05)
    kernel = read_snapshot_arrays(artifact, 6, "kernel")["kernel"].astype(float)
    assert run.top["kernel"][1, 0] == pytest.approx(np.linalg.eigvalsh(kernel)[-1] / 12, rel=1e-5)
    shown = section([member], config)
    table = next(block for block in shown.blocks if isinstance(block, Table) and "edge of stability" in block.columns)
    edge = table.rows[0][table.columns.index("edge of stability")]
    assert edge == pytest.approx(3.8 / 0.05) and "2(1 + β)/η" in table.caption
    assert sum(isinstance(block, Picture) for block in shown.blocks) >= 5
    assert "times the edge of stability of its steps" in sharpness_headline({"all cells": [member]})[0].answer


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("training.optimizer=adam",), "Adam divides each gradient by its own running size"),
        (("training.optimizer=muon", "model.widths=[4,4]"), "no curvature makes it grow"),
    ],
    ids=["adam", "muon"],
)
def test_optimizers_without_an_edge_are_said_to_have_none(images, tmp_path, words, said):
    words = (*images, *WORDS, *words, "snapshots.record=[curvature]", "snapshots.steps=[0]")
    artifact = pull("snapshots", tmp_path, *words)
    member = Gathered({"seed": "0"}, compose_run(words), artifact, "python run.py")
    shown = section([member], member.config)
    table = next(block for block in shown.blocks if isinstance(block, Table))
    assert said in table.caption and "edge of stability" not in table.columns
    assert any("The kernel was not recorded" in str(block) for block in shown.blocks)
    assert "times the edge" not in shown.headlines[0].answer


def test_weights_that_are_not_finite_give_nan_and_training_goes_on(recorded, images):
    config = compose_run((*images, *WORDS))
    data = open_data(config, pull("prepare", recorded[1], *images, *WORDS))
    network = build_network(config, data)
    module = make_module(network, data, config, steps_per_epoch=1)
    batch = probe_batch(data, 5)
    for value in (torch.nan, 1e200):  # 1e200 is finite, and its loss is not
        network.double()
        with torch.no_grad():
            network.head.linear.weight.fill_(value)
            network.head.linear.bias.copy_(torch.tensor([1e308, -1e308, 0.0]) * (1 if value == value else 0))
        found = curvature_arrays(module, network, batch, CurvatureConfig(eigenvalues=2), "contiguous")
        assert found["hessian.eigenvalues"].isnan().all() and found["gauss_newton.nodes"].shape == (1,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("snapshots.curvature.memory=1KB",), r"take up to .* more than memory=1KB, for products=100 and steps=40"),
        (("snapshots.curvature.memory=much",), "snapshots.curvature.memory=much is no size above 0"),
        (("snapshots.curvature.products=0",), "snapshots.curvature.products=0 is below 1"),
    ],
    ids=["memory", "no size", "no products"],
)
def test_impossible_requests_are_refused(images, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        pull("snapshots", tmp_path, *images, *WORDS, *words)


def test_the_plan_counts_products_and_memory():
    network = torch.nn.Linear(99, 10)
    said = curvature_plan(network, CurvatureConfig(), rows=50, moments=7, trained_rows=1000)
    assert said.startswith("curvature at 7 steps: up to 140 products with each of 2 matrices, of 50 rows in float64")
    assert said.endswith("at most 1.1e+02 times the arithmetic of the training, and 3.052 MiB")
