"""Stage ``spread``: what it writes, that a kill loses nothing, and what it refuses."""

import numpy as np
import pytest

from analysis.attribution.spread import pairwise_churn
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError
from pipeline.stages.spread.report import section
from pipeline.training.kept_files import KeptFiles
from tests.stages.image_cases import pull

WORDS = (
    "model=mlp",
    "model.widths=[6]",
    "model.activation=tanh",
    "training.epochs=2",
    "training.lr=0.05",
    "spread.seeds=3",
    "spread.judges=3",
    "spread.share=0.1",
    "spread.controls=3",
)


@pytest.mark.slow
def test_seeds_are_compared_without_the_points_and_a_kill_loses_nothing(images, tmp_path, monkeypatch):
    made = pull("spread", tmp_path / "a", *images, *WORDS)
    rows = {row["set"]: row for row in made.rows("sets.parquet")}
    assert list(rows) == ["nothing", "top", "bottom", "random 1", "random 2", "random 3"]
    arrays = made.arrays("spread.safetensors")
    for number, row in enumerate(rows.values()):
        assert row["churn"] == pytest.approx(pairwise_churn(arrays["decisions"][:, number]))
    order = np.argsort(-arrays["scores"], kind="stable")
    assert set(np.flatnonzero(arrays["sets"][1])) == set(order[:9]) and made.metrics["left_out"] == 9
    halved = pull("spread", tmp_path / "a", *images, *WORDS, "spread.share=0.05")
    np.testing.assert_array_equal(halved.arrays("spread.safetensors")["scores"], arrays["scores"])
    assert len(list((tmp_path / "a" / "derivatives").glob("*/*/manifest.json"))) == 3, "one for each seed, both shares"
    shown = section([Gathered({"seed": "0"}, compose_run(()), made, "python run.py")], compose_run(()))
    assert "other seeds differ" in shown.headlines[0].answer

    plain, saves = KeptFiles.save, []

    def dies(self, name, tensors):
        saves.append(name)
        if len(saves) in (4, 12):
            raise KeyboardInterrupt
        plain(self, name, tensors)

    monkeypatch.setattr(KeptFiles, "save", dies)
    for _ in range(3):
        try:
            again = pull("spread", tmp_path / "b", *images, *WORDS, "seed=7")
        except KeyboardInterrupt:
            continue
    assert again.manifest["files"] == made.manifest["files"], "the run's own seed plays no part"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.optimizer=muon", "stage=spread replays the training, and the step of muon"),
        ("spread.judges=1", "spread.judges=1 is below 2"),
        ("spread.share=0.999", "leaves out all 90 training points"),
    ],
)
def test_impossible_requests_are_refused(images, override, message, tmp_path):
    with pytest.raises(UserError, match=message):
        pull("spread", tmp_path, *images, *WORDS, "spread.seeds=2", override)
    assert not list(tmp_path.glob("derivatives/*/*/manifest.json")), "told before anything is trained"


def test_fixed_seeds_do_not_differ(images, tmp_path):
    with pytest.raises(UserError, match="seeds.init and seeds.order are fixed"):
        pull("spread", tmp_path, *images, *WORDS, "seeds.init=0", "seeds.order=0")
