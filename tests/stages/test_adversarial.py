"""Stage ``adversarial``: what it judges, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from analysis.pages.blocks import Table
from analysis.verdicts import OPEN, Claim
from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.entry import execute
from pipeline.errors import UserError
from pipeline.stages.adversarial.report import section

pytestmark = pytest.mark.filterwarnings("ignore:The .srun. command")  # Lightning, where SLURM is installed


def pull(store: Path, *overrides: str) -> Artifact:
    given = (*overrides, "stage=adversarial", f"paths.store={store}", f"paths.cache={store}")
    artifact = execute(compose_run(given), given)
    assert artifact is not None
    return artifact


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Two classes of 6x6 images, normalized, with a small network."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    means = rng.integers(40, 200, (2, 6, 6))
    for split, n in (("train", 40), ("test", 20)):
        label = np.arange(n) % 2
        image = np.clip(means[label] + rng.normal(0, 30, (n, 6, 6)), 0, 255).astype(np.uint8)
        np.savez(folder / f"{split}.npz", image=image, label=label)
    return pull(
        folder / "store",
        "data=fashion_mnist",
        "data.source=path",
        "data.path.format=npz",
        f"data.path.train={folder}/train.npz",
        f"data.path.test={folder}/test.npz",
        "data.class_names=[a,b]",
        "data.split.val=0",
        "model=mlp",
        "model.widths=[8]",
        "training.epochs=10",
        "training.batch_size=8",
        "kernel=trntk",
        "kernel.n_train=null",
        "kernel.n_test=null",
        "adversarial.radii=[0.1,0.6]",
        "adversarial.steps=4",
    )


def test_attacks_lower_the_accuracy_of_what_they_attack(made):
    rows = {(row["source"], row["radius"]): row for row in made.table("adversarial.parquet").to_pylist()}
    assert len(rows) == 9 and made.metrics["rebuilt_error"] < 1e-5
    clean = [rows[source, 0.0] for source in ("network", "machine", "other network")]
    assert all(row["network_accuracy"] == clean[0]["network_accuracy"] for row in clean)
    assert clean[0]["network_accuracy"] > 0.9 and clean[0]["machine_accuracy"] > 0.9
    assert rows["network", 0.6]["network_accuracy"] < 0.5
    assert rows["machine", 0.6]["machine_accuracy"] < 0.5


def test_the_report_decides_nothing_by_few_or_by_equal_runs(made):
    config = compose_run(("report.study=arXiv:2305.14585",))
    for n in (1, 5):  # the same run five times
        shown = section([Gathered({"seed": str(i)}, config, made, "python run.py") for i in range(n)], config)
        assert isinstance(shown.blocks[0], Table)
        outcomes = [block.decided.outcome for block in shown.blocks if isinstance(block, Claim)]
        assert outcomes == [OPEN] * 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kernel=conjugate", "rebuilds an exact normalized pntk or trntk"),
        ("kernel.sketch=tensorsketch", "rebuilds an exact normalized pntk or trntk"),
        ("surrogate=knn", "needs a linear machine"),
        ("adversarial.radii=[]", "name at least one entry"),
        ("adversarial.radii=[8]", r"takes numbers in \(0, 1\]"),
        ("adversarial.steps=0", "adversarial.steps=0 is below 1"),
        ("weights.source=init", "attacks finished trainings"),
    ],
)
def test_impossible_settings_are_refused_before_anything_runs(override, message, tmp_path):
    with pytest.raises(UserError, match=message):
        pull(tmp_path, override)
    assert not list(tmp_path.iterdir())
