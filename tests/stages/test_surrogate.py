"""Stage ``surrogate``: what it writes, what it finds, and what it refuses."""

import numpy as np
import pytest
import torch

from analysis.pages.blocks import Table
from analysis.surrogates import KernelGLM, log_odds, tau_published_glm, tau_published_poison
from pipeline.data.datamodule import open_data
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError
from pipeline.stages.kernel.read import KernelSide, read_gram
from pipeline.stages.surrogate.machine import fit_surrogate, make_surrogate
from pipeline.stages.surrogate.published import compare_with_published
from pipeline.stages.surrogate.report import section
from pipeline.training.networks import trained_network
from tests.stages.image_cases import pull

pytestmark = pytest.mark.filterwarnings("ignore:The .srun. command")  # Lightning, where SLURM is installed


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
    assert ("tau_published_poison" in made.metrics) == (kind in ("glm", "svm"))
    if kind == "glm":
        odds = np.exp(predictions["test.surrogate"])
        found = tau_published_poison(predictions["test.network"], odds / odds.sum(1, keepdims=True))
        assert made.metrics["tau_published_poison"] == pytest.approx(found.tau)
    assert made.has("coefficients.safetensors") == (kind != "knn")
    if kind != "knn":
        kernel = pull("kernel", store, *images, "kernel=conjugate")
        stored = read_gram(kernel)
        found = made.arrays("coefficients.safetensors")
        scores = stored["test"] @ found["weights"].T + found["offsets"]
        assert (scores.argmax(1) == predictions["test.surrogate"].argmax(1)).mean() > 0.95


def test_a_network_before_training_stores_weights_alone_and_is_run_over_the_rows_of_its_kernel(
    images, tmp_path_factory
):
    store = tmp_path_factory.getbasetemp() / "shared-store"
    words = (*images, "weights.source=init", "kernel=conjugate")
    fresh = pull("initial", store, *words)
    assert fresh.has("weights.safetensors") and not fresh.has("logits.safetensors")
    predictions = pull("surrogate", store, *words).arrays("predictions.safetensors")
    kernel = read_gram(pull("kernel", store, *words))
    config = compose_run((*words, f"paths.store={store}"))
    data = open_data(config, pull("prepare", store, *words))
    network = trained_network(config, data, fresh)
    places = data.places("test", torch.tensor(kernel["test_ids"]))
    assert torch.equal(data.ids("test")[places], torch.tensor(kernel["test_ids"])) and len(places) > 1
    with torch.no_grad():
        outputs = network(data.batch("test", places)["image"])
    np.testing.assert_allclose(predictions["test.network"], outputs, rtol=1e-5, atol=1e-6)


def test_a_penalty_is_not_chosen_on_classes_of_one_point():
    side = KernelSide(np.eye(3), np.arange(3), np.array([0, 0, 1]), np.zeros((3, 2)))
    config = compose_run(("surrogate.alpha=null",))
    with pytest.raises(UserError, match="class 1 has one among 3: raise kernel.n_train, or set surrogate.alpha=1e-4"):
        fit_surrogate(make_surrogate(config), side, config)


def test_a_long_fit_says_that_it_goes_on(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 6))  # every pass takes six seconds
    monkeypatch.setattr("pipeline.machine.progress.time.monotonic", lambda: next(clock))
    points = np.random.default_rng(0).normal(size=(40, 4))
    side = KernelSide(points @ points.T, np.arange(40), (points[:, 0] > 0).astype(int), np.zeros((40, 2)))
    config = compose_run(("surrogate=glm",))
    fit_surrogate(make_surrogate(config), side, config)
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == ["  fit: 2 passes over the kernel, 12 s so far", "  fit: 4 passes over the kernel, 24 s so far"]


def test_the_published_solver_is_measured_by_the_published_measure_too():
    points = np.random.default_rng(0).normal(size=(60, 4))
    labels = (points[:, 0] > 0).astype(int)
    network = np.stack([np.zeros(60), 3 * points[:, 0]], axis=1)
    gram = points @ points.T + 1
    train = KernelSide(gram[:40, :40], np.arange(40), labels[:40], network[:40])
    test = KernelSide(gram[40:, :40], np.arange(40, 60), labels[40:], network[40:])
    config = compose_run(("surrogate=glm_published", "surrogate.refits=2"))
    model, _ = fit_surrogate(make_surrogate(config), train, config)
    rows = [row for row in compare_with_published(config, train, test, model) if row["defect"] == "unseeded_solver"]
    measured = [row for row in rows if row["quantity"] == "tau_published_glm"]
    for seed, row in enumerate(measured):
        scores = (
            KernelGLM(1e-4, solver="sgd", random_state=seed).fit(train.kernel, train.labels).log_scores(test.kernel)
        )
        odds = [log_odds(side)[:, 1] for side in (network[40:], model.log_scores(test.kernel), scores)]
        assert row["corrected"] == tau_published_glm(odds[0], odds[1]).tau
        assert row["published"] == tau_published_glm(odds[0], odds[2]).tau
    assert len(measured) == 2 and {row["quantity"] for row in rows} >= {"tau", "accuracy"}


@pytest.mark.slow
def test_report_and_published_protocol(images, tmp_path):
    words = (
        *images,
        '+cells.machine={pNTK:["kernel=pntk"],CK:["kernel=conjugate"]}',
        "+cells.seed='0:2'",
        "+report.options.order=[pNTK,CK]",
        "+report.options.targets=[{cells:pNTK,measure:tau_published_poison,low:0.5,high:1.0,published:'0.643',"
        "standing:second-hand,band:ours}]",
        "surrogate.protocol=published",
        "wants=[surrogate,attribution]",
    )
    report = pull("report", tmp_path, *words)
    verdicts = report.metrics["verdicts"]
    assert len(verdicts) == 2 and not {"reproduced", "not reproduced"} & {verdict["word"] for verdict in verdicts}
    page = (report.folder / "report.html").read_text()
    assert "squared_conjugate" in page and "tau_published_poison" in page and "unseeded_solver" in page
    assert "second-hand; band: ours; measure: tau_published_poison" in page
    assert "0.643" in page and "follows the probability of class 0, whatever class a point has" in page


def test_only_iterative_fits_count_as_converged_or_not(images, tmp_path_factory):
    store = tmp_path_factory.getbasetemp() / "shared-store"
    made = {kind: pull("surrogate", store, *images, f"surrogate={kind}", "kernel=conjugate") for kind in ("glm", "svm")}
    config = compose_run(())
    members = [Gathered({"machine": kind, "seed": "0"}, config, one, "python run.py") for kind, one in made.items()]
    table = next(block for block in section(members, config).blocks if isinstance(block, Table))
    assert "1 of 1 iterative fits converged" in table.caption


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


def test_a_split_without_outputs_is_named(images, tmp_path):
    with pytest.raises(Exception, match="no split 'test_ood'"):
        pull("surrogate", tmp_path, *images, "kernel=conjugate", "kernel.test_splits=[test_ood]")
