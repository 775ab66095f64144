"""Stage ``attribution``: what it writes, how its methods rank planted points, and what it refuses."""

import numpy as np
import pytest

from pipeline.checks.general import check
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError
from tests.stages.image_cases import POISON, pull

pytestmark = pytest.mark.filterwarnings("ignore:The .srun. command")  # Lightning, where SLURM is installed


def test_same_configuration_writes_the_same_bytes(images, tmp_path):
    first, second = (pull("attribution", tmp_path / name, *images, "kernel=conjugate") for name in ("a", "b"))
    assert first.manifest["files"] == second.manifest["files"]


def test_planted_trigger_is_ranked_by_every_method(images, tmp_path):
    made = pull("attribution", tmp_path, *images, *POISON)
    rows = made.table("masks.parquet").to_pylist()
    train = [row for row in rows if row["mask"] == "injected training points"]
    methods = {"kernel", "similarity", "grad_dot", "grad_cos", "trak", "influence", "representer", "embedding"}
    assert {row["method"] for row in train} == methods | {"same_label", "random"}
    assert all(row["n"] == 90 and 0 < row["marked"] < 90 and 0 <= row["auprc"] <= 1 for row in train)
    flags = [row for row in rows if row["mask"].startswith("triggered test points")]
    assert {row["n"] for row in flags} == {60} and {row["marked"] for row in flags} == {30}
    arrays = made.arrays("masks.safetensors")
    assert arrays["injected"].sum() == train[0]["marked"] and arrays["score.trak"].shape == (90,)
    gallery = made.arrays("gallery.safetensors")
    assert gallery["train"].shape[:2] == gallery["scores"].shape and gallery["test"].dtype == np.uint8
    top = made.arrays("top.safetensors")
    assert set(top) >= {"test.support", "test_triggered.oppose_scores", "test.ids"}
    again = pull("surrogate", tmp_path, *images, *POISON).metrics
    assert again["n_test"] == {"test": 30, "test_triggered": 30} and "test_triggered_tau" in again


def test_flipped_labels_are_ranked_by_self_influence(images, tmp_path):
    flips = ("data.poison.kind=label_flip", "data.poison.rate=0.15", "data.poison.target=null")
    made = pull("attribution", tmp_path, *images, *flips, "attribution=compare", "attribution.dim=32")
    rows = {row["method"]: row for row in made.table("masks.parquet").to_pylist()}
    assert set(rows) == {"kernel", "grad_dot", "trak", "influence", "representer", "random"}
    assert {row["mask"] for row in rows.values()} == {"mislabelled training points"}


def test_nearest_neighbors_have_no_logit_to_split(images, tmp_path):
    with pytest.raises(UserError, match="attribution.method=similarity"):
        pull("attribution", tmp_path, *images, "kernel=conjugate", "surrogate=knn")
    made = pull("attribution", tmp_path, *images, "kernel=conjugate", "surrogate=knn", "attribution.method=similarity")
    assert made.metrics["n_train"] == 90


def test_the_stage_takes_checkpoints_and_other_seeds(images, tmp_path):
    methods = "attribution.methods=[grad_dot,tracin,trak]"
    schedule = ("training.schedule=constant", "training.warmup=0", "training.lr=0.02")
    few = (*images, *POISON, *schedule, methods)
    last = pull("attribution", tmp_path, *few, "attribution.checkpoints=[-1]").arrays("masks.safetensors")
    # The last checkpoint is the run's own network: TracIn is the rate times Grad-Dot.
    np.testing.assert_allclose(last["score.tracin"], 0.02 * last["score.grad_dot"], rtol=1e-5)
    more = pull("attribution", tmp_path, *few, "attribution.checkpoints=[0,-1]", "attribution.other_seeds=[1]").arrays(
        "masks.safetensors"
    )
    assert not np.allclose(more["score.tracin"], last["score.tracin"], rtol=1e-2)
    assert not np.allclose(more["score.trak"], last["score.trak"], rtol=1e-2)
    np.testing.assert_array_equal(more["score.grad_dot"], last["score.grad_dot"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("attribution.methods=[tracin]",), "set attribution.checkpoints"),
        (
            ("attribution.methods=[tracin]", "attribution.checkpoints=[1]", "numerics.engine=ensemble"),
            "set numerics.engine=lightning",
        ),
        (
            ("attribution.methods=[tracin]", "attribution.checkpoints=[1]", "weights.source=init"),
            "set weights.source=train",
        ),
        (("attribution.other_seeds=[0]",), "without the run.s own seed=0"),
        (("attribution.other_seeds=[1,1]",), "each once"),
        (("attribution.other_seeds=[1]", "weights.source=init"), "are finished trainings"),
    ],
)
def test_impossible_requests_are_refused_before_anything_runs(overrides, message):
    with pytest.raises(UserError, match=message):
        check(compose_run(overrides))
