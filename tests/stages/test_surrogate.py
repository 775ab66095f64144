"""Stages ``surrogate`` and ``attribution``: what they write, what they find, and what they refuse."""

from pathlib import Path

import numpy as np
import pytest

from analysis.verdicts import NOT_REPRODUCED, REPRODUCED, UNDECIDED
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError
from pipeline.reporting.blocks import Table
from pipeline.stages.kernel.read import gram
from pipeline.stages.surrogate.claims import mean_in_band
from pipeline.stages.surrogate.report import section

pytestmark = pytest.mark.filterwarnings("ignore:The .srun. command")  # Lightning, where SLURM is installed
SMALL = ("model=mlp", "model.widths=[12]", "training.epochs=2", "training.batch_size=8", "surrogate.draws=20")


def pull(stage: str, store: Path, *overrides: str) -> Artifact:
    from pipeline.entry import execute

    words = (*overrides, f"stage={stage}", f"paths.store={store}", f"paths.cache={store}")
    artifact = execute(compose_run(words), words)
    assert artifact is not None
    return artifact


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Overrides that read 3 classes of noisy 8x8 images from files, a tenth of them with a planted trigger."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    means = rng.integers(40, 160, (3, 8, 8))
    for split, n in (("train", 90), ("test", 30)):
        label = np.arange(n) % 3
        image = np.clip(means[label] + rng.normal(0, 40, (n, 8, 8)), 0, 255).astype(np.uint8)
        np.savez(folder / f"{split}.npz", image=image, label=label)
    return (
        *SMALL,
        "data=fashion_mnist",
        "data.source=path",
        "data.path.format=npz",
        f"data.path.train={folder}/train.npz",
        f"data.path.test={folder}/test.npz",
        "data.class_names=[a,b,c]",
        "data.split.val=0",
        "data.image.mean=null",
        "data.image.std=null",
        "training.epochs=6",
        "kernel.n_train=null",
        "kernel.n_test=null",
    )


POISON = (
    "data.poison.kind=badnets",
    "data.poison.rate=0.15",
    "data.poison.target=1",
    "+data.poison.options={size:3,margin:1}",
    "kernel.test_splits=[test,test_triggered]",
    "attribution=compare",
    "attribution.dim=32",
)


@pytest.mark.parametrize("kind", ["glm", "svm", "ridge", "knn"])
def test_every_surrogate_is_compared_with_its_network(kind, images, tmp_path_factory):
    store = tmp_path_factory.getbasetemp() / "shared-store"
    made = pull("surrogate", store, *images, f"surrogate={kind}", "kernel=conjugate")
    predictions = made.arrays("predictions.safetensors")
    right = predictions["test.surrogate"].argmax(1) == predictions["test.labels"]
    assert made.metrics["surrogate_accuracy"] == pytest.approx(right.mean())
    assert made.metrics["tad"] == pytest.approx(made.metrics["surrogate_accuracy"] - made.metrics["network_accuracy"])
    assert made.metrics["tau"] is not None and made.metrics["n_train"] == 90
    rows = made.table("faithfulness.parquet").to_pylist()
    tau = next(row for row in rows if (row["metric"], row["variant"]) == ("kendall", "correct"))
    assert tau["value"] == made.metrics["tau"] and -1 <= tau["low"] < tau["high"] <= 1
    assert made.has("coefficients.safetensors") == (kind != "knn")
    if kind != "knn":
        kernel = pull("kernel", store, *images, "kernel=conjugate")
        stored = gram(kernel)
        found = made.arrays("coefficients.safetensors")
        scores = stored["test"] @ found["weights"].T + found["offsets"]
        assert (scores.argmax(1) == predictions["test.surrogate"].argmax(1)).mean() > 0.95


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


@pytest.mark.slow
def test_report_and_published_protocol(images, tmp_path):
    words = (
        *images,
        '+cells.machine={pNTK:["kernel=pntk"],CK:["kernel=conjugate"]}',
        "+cells.seed='0:2'",
        "+report.options.order=[pNTK,CK]",
        "+report.options.targets=[{cells:pNTK,measure:tau,low:0.5,high:1.0}]",
        "surrogate.protocol=published",
        "wants=[surrogate,attribution]",
    )
    report = pull("report", tmp_path, *words)
    verdicts = report.metrics["verdicts"]
    assert len(verdicts) == 2 and {verdict["verdict"] for verdict in verdicts} == {UNDECIDED}
    page = (report.folder / "report.html").read_text()
    assert "squared_conjugate" in page and "one_hot_index" in page and "unseeded_solver" in page


@pytest.mark.parametrize("kind", ["pntk", "trntk", "conjugate", "embedding"])
def test_no_feature_kernel_reads_test_labels(kind, images, tmp_path):
    given = dict(word.split("=", 1) for word in images)
    rows = dict(np.load(given["data.path.test"]))
    np.savez(tmp_path / "test.npz", image=rows["image"], label=(rows["label"] + 1) % 3)
    relabelled = (f"data.path.test={tmp_path}/test.npz",)
    first, second = (gram(pull("kernel", tmp_path, *images, f"kernel={kind}", *extra)) for extra in ((), relabelled))
    assert (first["test_labels"] != second["test_labels"]).all()
    np.testing.assert_array_equal(first["test"], second["test"])


def test_sketched_kernel_stays_close_to_the_exact_one(images, tmp_path):
    exact, sketched = (
        gram(pull("kernel", tmp_path, *images, "kernel=pntk", *extra))
        for extra in ((), ("kernel.sketch=tensorsketch", "kernel.dim=512"))
    )
    assert np.abs(exact["train"] - sketched["train"]).mean() < 0.1
    np.testing.assert_allclose(np.diagonal(sketched["train"]), 1, atol=1e-5)
    assert sketched["test"].shape == exact["test"].shape


def test_only_iterative_fits_count_as_converged_or_not(images, tmp_path_factory):
    store = tmp_path_factory.getbasetemp() / "shared-store"
    made = {kind: pull("surrogate", store, *images, f"surrogate={kind}", "kernel=conjugate") for kind in ("glm", "svm")}
    config = compose_run(())
    members = [Gathered({"machine": kind, "seed": "0"}, config, one, "python run.py") for kind, one in made.items()]
    table = section(members, config).blocks[0]
    assert isinstance(table, Table) and "1 of 1 iterative fits converged" in table.caption


def test_bands_are_decided_by_the_interval_on_both_sides():
    values = [0.70, 0.71, 0.72, 0.71, 0.70]
    assert mean_in_band(values, 0.6, 0.8, "τ").verdict == REPRODUCED
    assert mean_in_band(values, 0.75, 0.8, "τ").verdict == NOT_REPRODUCED
    assert mean_in_band(values, 0.705, 0.8, "τ").verdict == UNDECIDED
    assert mean_in_band(values[:3], 0.6, 0.8, "τ").verdict == UNDECIDED


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("surrogate.kind=tree", "surrogate.kind=tree is not one of"),
        ("kernel.sketch=gauss", "kernel.sketch=gauss is not one of"),
        ("attribution.methods=[shapley]", "attribution.methods holds"),
        ("surrogate.alpha=-1", "surrogate.alpha=-1"),
        ("kernel.test_splits=[]", "kernel.test_splits is empty"),
    ],
)
def test_impossible_settings_are_refused_before_anything_runs(override, message, tmp_path):
    with pytest.raises(UserError, match=message):
        pull("surrogate", tmp_path, override)
    with pytest.raises(UserError, match="needs a regression"):
        pull("surrogate", tmp_path, "surrogate=svm", "surrogate.targets=network")
    assert not list(tmp_path.iterdir())


def test_nearest_neighbors_have_no_logit_to_split(images, tmp_path):
    with pytest.raises(UserError, match="attribution.method=similarity"):
        pull("attribution", tmp_path, *images, "kernel=conjugate", "surrogate=knn")
    made = pull("attribution", tmp_path, *images, "kernel=conjugate", "surrogate=knn", "attribution.method=similarity")
    assert made.metrics["n_train"] == 90


def test_a_split_without_outputs_is_named(images, tmp_path):
    with pytest.raises(Exception, match="no split 'test_ood'"):
        pull("surrogate", tmp_path, *images, "kernel=conjugate", "kernel.test_splits=[test_ood]")
