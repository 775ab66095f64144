"""Stage ``retraining``: what it trains again, what it takes from the store, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.attribution.retraining import linear_datamodeling_score
from analysis.pages.blocks import Table
from analysis.surrogates.faithfulness import log_odds
from pipeline.data.datamodule import open_data
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.plan import every_node
from pipeline.engine.stages import STAGES
from pipeline.entry import execute
from pipeline.errors import UserError
from pipeline.stages.retraining.report import section
from pipeline.training.replaying import double_inputs, open_replay
from scripts.attribution_ranking import read_task

pytestmark = pytest.mark.filterwarnings("ignore:The .srun. command")  # Lightning, where SLURM is installed
SMALL = (
    "data=fashion_mnist",
    "data.source=path",
    "data.path.format=npz",
    "data.class_names=[a,b,c]",
    "data.split.val=0",
    "data.image.mean=null",
    "data.image.std=null",
    "model=mlp",
    "model.widths=[8]",
    "training.epochs=3",
    "training.batch_size=8",
    "numerics.engine=ensemble",
    "ensemble.block=2",
    "kernel=conjugate",
    "kernel.n_train=null",
    "kernel.n_test=null",
    "surrogate.draws=20",
    "attribution.methods=[embedding,random]",
    "retraining.seeds=2",
    "retraining.k=2",
    "retraining.points=2",
    "retraining.draws=20",
    "retraining.subsets=3",
)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Overrides that read 3 classes of noisy 6x6 images."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    means = rng.integers(40, 160, (3, 6, 6))
    for split, n in (("train", 30), ("test", 12)):
        label = np.arange(n) % 3
        image = np.clip(means[label] + rng.normal(0, 60, (n, 6, 6)), 0, 255).astype(np.uint8)
        np.savez(folder / f"{split}.npz", image=image, label=label)
    return (*SMALL, f"data.path.train={folder}/train.npz", f"data.path.test={folder}/test.npz")


def pull(store: Path, *overrides: str) -> Artifact:
    given = (*overrides, "stage=retraining", f"paths.store={store}", f"paths.cache={store}")
    artifact = execute(compose_run(given), given)
    assert artifact is not None
    return artifact


def trained(store: Path) -> set[str]:
    return {folder.name for folder in (store / "train").glob("*/*")}


def test_scores_follow_from_stored_trainings_and_more_parts_reuse_them(words, tmp_path):
    made = pull(tmp_path, *words)
    arrays = made.arrays("retraining.safetensors")
    masks = arrays["subsets"].astype(bool)
    assert masks.shape == (3, 30) and set(masks.sum(1)) == {15}
    assert arrays["subset_margins"].shape == (3, 2, 12)
    assert set(made.metrics["lds"]) == {"kernel", "embedding", "random", "ceiling"}
    assert set(made.metrics["leave_out"]) == {"top", "bottom", "random", "random_same_class", "embedding"}
    node = Graph(words).resolve("retraining", compose_run(words))
    stages = {folder.name for folder in tmp_path.iterdir() if list(folder.glob("*/*/manifest.json"))}
    assert stages == {one.stage.name for one in every_node(node)} | set(STAGES["retraining"].makes)
    before = trained(tmp_path)
    # 3 parts; 2 points of 5 sets, some of which coincide; all rows: each under 2 seeds
    assert 2 * (3 + 1) < len(before) <= 2 * (3 + 2 * 5 + 1)
    kept = {frozenset(arrays["train.ids"][mask].tolist()) for mask in masks}
    more = pull(tmp_path, *words, "retraining.subsets=4")
    again = more.arrays("retraining.safetensors")
    assert kept <= {frozenset(again["train.ids"][mask].tolist()) for mask in again["subsets"].astype(bool)}
    assert len(trained(tmp_path) - before) == 2, "only the fourth part is trained, under two seeds"
    np.testing.assert_array_equal(again["subset_margins"][:3], arrays["subset_margins"])


def test_margins_are_paired_and_scores_are_those_of_the_statistic(words, tmp_path):
    made = pull(tmp_path, *words, "retraining.points=0")
    arrays = made.arrays("retraining.safetensors")
    assert not made.has("leave_out.parquet") and "leave_out" not in made.metrics
    # A score that is the margin itself, spread over one point: the statistic on these arrays must see it.
    flat = arrays["subset_margins"].mean(1)
    masks = arrays["subsets"].astype(bool)
    effect = np.linalg.lstsq(masks.astype(float), flat, rcond=None)[0].T
    found = linear_datamodeling_score(effect, masks, flat, rng=np.random.default_rng(0), draws=20)
    assert float(found.mean.estimate) == pytest.approx(1.0)
    shown = section([Gathered({"seed": "0"}, compose_run(()), made, "python run.py")], compose_run(()))
    table = next(block for block in shown.blocks if isinstance(block, Table))
    assert len(table.rows) == 4 and len(table.columns) == len(table.rows[0])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("retraining.subsets=2", "needs at least 3"),
        ("retraining.fraction=1", "retraining.fraction=1"),
        ("retraining.k=-1", "retraining.k=-1 is below 0"),
        ("data.keep=[1,2]", "chooses data.drop and data.keep itself"),
        ("weights.source=init", "compares with finished trainings"),
    ],
)
def test_impossible_settings_are_refused_before_anything_runs(override, message, tmp_path):
    with pytest.raises(UserError, match=message):
        pull(tmp_path, "kernel.n_train=null", override)
    assert not list(tmp_path.iterdir())


def test_a_class_smaller_than_what_is_dropped_is_named(words, tmp_path):
    with pytest.raises(UserError, match="retraining.k=12.*one class is impossible"):
        pull(tmp_path, *words, "retraining.k=12", "retraining.subsets=0")


REPLAYED = (
    "attribution.method=magic",
    "attribution.methods=[source,pixels,activations,random]",
    "retraining.subsets=0",
    "retraining.omitted=[0.1,0.5]",
    "retraining.omissions=6",
    "retraining.top=0.1",
    "training.batch_size=10",
    "training.lr=0.02",
    "model.activation=tanh",  # smooth: a finite step of weights then does what the derivative says
)


def test_rows_are_left_out_under_the_same_batches_and_magic_foretells_it(words, tmp_path, capfd):
    made = pull(tmp_path, *words, *REPLAYED)
    rows = made.rows("omitted.parquet")
    assert {row["target"] for row in rows} == {"one seed", "over seeds"} and {row["share"] for row in rows} == {
        0.1,
        0.5,
    }
    own = {row["method"]: row["mean"] for row in rows if row["target"] == "one seed" and row["share"] == 0.1}
    assert set(own) == {"magic", "source", "pixels", "activations", "random"}
    assert own["magic"] > 0.95 and own["magic"] > own["source"] > own["random"]
    steps = made.rows("smoothness.parquet")
    assert [row["step"] for row in steps] == [0.01, 0.1, 0.5, 1.0]
    assert steps[0]["error"] < 0.01 and steps[0]["correlation"] > 0.999 and steps[0]["error"] < steps[-1]["error"]
    rises = {row["method"]: row for row in made.rows("top_omitted.parquet")}
    assert rises["magic"]["rise"] > max(0, rises["random"]["rise"]) and rises["magic"]["omitted"] == 3
    shown = section([Gathered({"seed": "0"}, compose_run(()), made, "python run.py")], compose_run(()))
    tables = [block for block in shown.blocks if isinstance(block, Table)]
    assert len(tables) == 5 and all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert tables[1].rows[0][0] == "magic" and any(one.name == "same_training" for one in shown.headlines)
    reruns = [folder for folder in (tmp_path / "reruns").glob("*/*") if folder.is_dir()]
    assert len(reruns) == 2, "two seeds, each once for both shares"
    task = read_task(made)
    assert task["methods"]["magic"]["scores"]["one seed"]["0.1"][0] == pytest.approx(own["magic"], abs=1e-4)
    assert task["methods"]["magic"]["cost"] > task["methods"]["pixels"]["cost"] and task["accuracy"] > 33
    said = capfd.readouterr().err
    assert "steps back for" in said and "relative distance" in said and "relative error" in said


def test_a_part_that_is_left_out_is_a_training_with_its_weights_at_zero(words, tmp_path):
    few = (*words, *REPLAYED, "attribution.methods=[]", "retraining.seeds=1", "retraining.top=0", "retraining.points=0")
    pull(tmp_path, *few)
    config = compose_run(few)
    (folder,) = (one for one in (tmp_path / "reruns").glob("*/*") if one.is_dir())
    arrays = Artifact(folder).arrays("reruns.safetensors")
    (prepared,) = (one for one in (tmp_path / "prepare").glob("*/*") if one.is_dir())
    data = open_data(config, Artifact(prepared))
    replay = open_replay(config, data, None, torch.device("cpu"))
    weights = 1 - torch.from_numpy(arrays["left_out.0.5"][2]).double()
    test = double_inputs(data.kernel_inputs("test").inputs, "image")
    logits = replay.outputs(replay.run(weights), test).detach().log_softmax(1).numpy()
    expected = log_odds(logits)[np.arange(12), data.labels("test").numpy()]
    np.testing.assert_allclose(arrays["log_odds.0.5"][2], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimizer=muon", "magic replays the training, and the step of muon has no derivative"),
        ("training.gradient_clip=1", "set training.gradient_clip=null"),
        ("model.center_output=true", "set model.center_output=false"),
        ("training.attack.radius=0.1", "set training.attack.radius=0"),
        ("training.optimizer=adam", "source follows gradient descent; set training.optimizer=sgd"),
        ("training.loss=mse", "set training.loss=cross_entropy, or take magic"),
        ("attribution.methods=[bm25]", "bm25 compares texts"),
        ("retraining.points=0", "set retraining.points, such as 20"),
    ],
)
def test_trainings_that_cannot_be_replayed_are_refused_before_anything_runs(words, override, message, tmp_path):
    with pytest.raises(UserError, match=message):
        pull(tmp_path, *words, *REPLAYED, override)
    assert not list(tmp_path.iterdir())
