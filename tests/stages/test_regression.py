"""Stage ``regression``: functions and classes at snapshots of real tiny runs, refitted heads on made-up features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from analysis.pages.blocks import Picture, Table
from analysis.verdicts import OPEN, Claim
from models.mlp import MLP
from pipeline.config.regression import RegressionConfig
from pipeline.engine.artifacts import Store
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.engine.executor import Puller
from pipeline.engine.graph import Graph
from pipeline.errors import UserError
from pipeline.stages.regression.report import section
from pipeline.stages.regression.run import Grams, _grams, _logistic, regression
from tests.stages.stage_cases import artifact_with_files, following, run_on

FUNCTION = (
    "data=regression",
    "data.synthetic.n_train=24",
    "data.synthetic.n_test=72",
    "model.widths=[8,8]",
    "model.init=glorot",
    "numerics.precision=64-true",
    "training.loss=regression",
    "training.batch_size=24",
    "training.epochs=3",
    "snapshots.record=[weights]",
    "snapshots.schedule=epochs",
    "regression.window=[2,6]",
    "hardware.progress=false",
)
LOGISTIC = (
    "data=parabola",
    "model.widths=[8,8]",
    "model.activation=tanh",
    "numerics.precision=64-true",
    "training.loss=softmax_mse",
    "training.batch_size=96",
    "training.epochs=2",
    "snapshots.record=[weights]",
    "snapshots.schedule=epochs",
    "regression.task=logistic",
    "hardware.progress=false",
)


def pull(tmp_path, overrides):
    overrides = (*overrides, f"paths.store={tmp_path}", f"paths.cache={tmp_path}/cache")
    config, graph = compose_run(overrides), Graph(overrides)
    artifact = Puller(Store(tmp_path), graph).pull(graph.resolve("regression", config))
    return Gathered({"seed": "0"}, config, artifact, "python run.py")


@pytest.fixture(scope="module")
def function(tmp_path_factory):
    return pull(tmp_path_factory.mktemp("function"), FUNCTION)


def test_machines_beat_the_barely_trained_network_at_every_snapshot(function):
    rows = function.artifact.table("machines.parquet").to_pylist()
    assert {row["step"] for row in rows} == {1, 2, 3}
    for step in (1, 2, 3):
        here = {row["machine"]: row for row in rows if row["step"] == step}
        assert here["ck"]["test_rms"] < here["nn"]["test_rms"]
        for name in ("ck", "ntk", "ck_svd", "ck_loo"):
            assert here[name]["bounds_hold"] and here[name]["rank"] >= 1
        assert here["nn"]["rank"] is None


def test_the_last_gram_is_the_closed_form(function):
    arrays = function.artifact.arrays("last.safetensors")
    gap = np.linalg.eigvalsh(arrays["gram_ntk"] - arrays["gram_ck"])
    assert gap[0] >= -1e-10 * gap[-1]
    assert arrays["ck"].shape == arrays["target"].shape == (72, 1)


def test_section_of_one_run_decides_nothing_and_draws(function):
    shown = section([following(function, "2310.18612")], function.config)
    claims = [block for block in shown.blocks if isinstance(block, Claim)]
    assert claims and {claim.decided.outcome for claim in claims} == {OPEN}
    assert sum(isinstance(block, Picture) for block in shown.blocks) == 3


@pytest.mark.parametrize("protocol", ["corrected", "published"])
def test_logistic_machines_beside_the_network(tmp_path, protocol):
    member = pull(tmp_path, (*LOGISTIC, f"regression.protocol={protocol}"))
    rows = member.artifact.table("machines.parquet").to_pylist()
    assert {row["machine"] for row in rows} == {"nn", "ck", "ntk"}
    assert all(0 <= row["accuracy"] <= 1 and np.isfinite(row["cross_entropy"]) for row in rows)
    last = {row["machine"]: row for row in rows}
    assert last["ntk"]["cross_entropy"] < last["nn"]["cross_entropy"]
    assert any(isinstance(block, Table) for block in section([member], member.config).blocks)


def test_the_ntks_last_term_is_the_ck(tmp_path):
    """Of a classifier both are kernels of the logit difference; of a function both are those of its one output."""
    torch.manual_seed(0)
    x, more = torch.randn(9, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    for outputs in (2, 1):
        network = MLP((2,), outputs, widths=(16, 8), activation="tanh").double().eval()
        for centers in (None, np.array([0, 3, 4])):
            grams = _grams(network, x, more, difference=outputs == 2, centers=centers)
            columns = x if centers is None else x[torch.as_tensor(centers)]
            sides = [_head_gradients(network, rows) for rows in (x, columns, more)]
            np.testing.assert_allclose(grams.square["ck"], sides[0] @ sides[1].T, rtol=1e-10)
            np.testing.assert_allclose(grams.cross["ck"], sides[2] @ sides[1].T, rtol=1e-10)
        gap = np.linalg.eigvalsh(
            _grams(network, x, more, difference=outputs == 2).square["ntk"] - sides[0] @ sides[0].T
        )
        assert gap[0] >= -1e-10 * gap[-1]


def _head_gradients(network, rows):
    """Gradient of f (or f₁ - f₀) in the last layer's weights and biases, one row at a time."""
    found = []
    for row in rows:
        f = network(row[None])[0]
        slope = torch.autograd.grad(
            f[-1] - (f[0] if len(f) == 2 else 0), list(network.get_submodule("head").parameters())
        )
        found.append(torch.cat([part.flatten() for part in slope]))
    return torch.stack(found).numpy()


@pytest.mark.parametrize("centres", [None, np.arange(0, 40, 2)])
def test_a_penalty_in_units_of_the_trace_weighs_alike_on_kernels_of_every_size(centres):
    rng = np.random.default_rng(0)
    phi, phi_test = rng.standard_normal((40, 6)), rng.standard_normal((15, 6))
    labels = ((phi[:, 0] > 0).astype(float), (phi_test[:, 0] > 0).astype(float))
    outputs = (rng.standard_normal((40, 2)), rng.standard_normal((15, 2)))
    columns = phi if centres is None else phi[centres]
    square, cross = phi @ columns.T, phi_test @ columns.T
    grams = Grams({"ck": square, "ntk": 50 * square}, {"ck": cross, "ntk": 50 * cross}, (phi, phi_test))
    for unit, alike in (("trace", True), ("absolute", False)):
        found = _logistic(1, RegressionConfig(task="logistic", penalty_unit=unit), labels, outputs, grams, centres)
        apart = abs(found["ck"].cross_entropy - found["ntk"].cross_entropy)
        assert (apart < 1e-5) == alike
    assert found["ck"].penalty == found["ntk"].penalty == 1e-3


def test_all_points_as_centres_change_nothing_and_few_come_close(tmp_path):
    exact, every, few = (
        pull(tmp_path, (*LOGISTIC, *options)).artifact.table("machines.parquet").to_pylist()
        for options in ((), ("regression.centers=96",), ("regression.centers=24",))
    )
    for one, other in zip(exact, every, strict=True):
        assert one["cross_entropy"] == pytest.approx(other["cross_entropy"], abs=1e-3)
    assert all(row["converged"] for row in few) and few != every


def heads(tmp_path, classes=2):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 80), ("test", 60)):
        labels = np.arange(n) % 2
        arrays |= {
            f"{split}.penultimate": (rng.standard_normal((n, 5)) + 1.5 * labels[:, None]).astype(np.float32),
            f"{split}.labels": labels,
            f"{split}.logits": rng.standard_normal((n, 2)).astype(np.float32),
        }
    metrics = {"layers": ["penultimate"], "classes": classes}
    return artifact_with_files(tmp_path / "features" / "f-000000000000", {"features.safetensors": arrays}, metrics)


def test_a_converged_head_beats_a_random_one(tmp_path):
    config = compose_run(("data=parabola", "regression.task=head", "regression.sizes=[20]", "regression.redraws=2"))
    member = run_on(tmp_path, regression, config, {"features": heads(tmp_path)})
    metrics = member.artifact.metrics
    assert metrics["refit_accuracy"] > 0.8 > metrics["head_accuracy"]
    rows = member.artifact.table("heads.parquet").to_pylist()
    assert [row["size"] for row in rows] == [0, 20, 20, 80] and all(row["converged"] for row in rows)
    assert any(isinstance(block, Table) for block in section([member], config).blocks)


def test_tasks_that_do_not_fit_are_refused(tmp_path):
    config = compose_run(("data=parabola", "regression.task=head"))
    with pytest.raises(UserError, match="refitted heads are for two classes"):
        run_on(tmp_path, regression, config, {"features": heads(tmp_path, classes=3)})
    config = dataclasses.replace(config, features=dataclasses.replace(config.features, splits=["train"]))
    with pytest.raises(UserError, match="two splits"):
        run_on(tmp_path / "b", regression, config, {"features": heads(tmp_path / "b")})
