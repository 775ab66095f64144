"""MAGIC and SOURCE as methods of a run: what survives a kill, and what is said before a network is trained."""

import numpy as np
import pytest
import torch

from pipeline.engine.artifacts import Artifact
from pipeline.engine.cells import compose_run
from pipeline.entry import execute
from pipeline.errors import UserError
from pipeline.training.kept_files import KeptFiles
from tests.stages.image_cases import pull

METHODS = (
    "kernel=conjugate",
    "attribution.method=magic",
    "attribution.methods=[source,cg_influence]",
    "data.poison.kind=label_flip",
    "data.poison.rate=0.15",
    "data.poison.target=null",
    "model=mlp",
    "model.widths=[6]",
    "model.activation=tanh",
    "training.epochs=2",
    "training.lr=0.05",
    "training.batch_size=30",
    "numerics.engine=ensemble",
)


@pytest.mark.slow
def test_a_killed_sweep_goes_on_with_the_same_bytes(images, tmp_path, monkeypatch):
    whole = pull("attribution", tmp_path / "a", *images, *METHODS)
    plain, saves = KeptFiles.save, []

    def dies(self, name, tensors):
        saves.append(name)
        if len(saves) in (3, 7, 11):
            raise KeyboardInterrupt
        plain(self, name, tensors)

    monkeypatch.setattr(KeptFiles, "save", dies)
    again = None
    for _ in range(4):
        try:
            again = pull("attribution", tmp_path / "b", *images, *METHODS)
        except KeyboardInterrupt:
            continue
    assert again is not None and again.manifest["files"] == whole.manifest["files"]
    states = [name for name in saves if name.startswith("state")]
    assert len(states) <= len(set(states)) + 3, "only what a kill interrupted is made twice"
    masks = {row["method"]: row["auprc"] for row in whole.rows("masks.parquet")}
    assert set(masks) == {"magic", "source", "cg_influence"} and min(masks.values()) > 0.15


def test_damaged_states_are_made_again(tmp_path):
    keep = KeptFiles(tmp_path)
    keep.save("one", {"x": torch.ones(2)})
    assert torch.equal(keep.load("one")["x"], torch.ones(2))
    (tmp_path / "one.safetensors").write_bytes(b"torn")
    assert keep.load("one") is None and keep.load("two") is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("attribution.method=exact_influence",), "N·C = 90·3 = 270 rows"),
        (("attribution.method=magic", "model=cnn_poison"), "training changes .*running_mean"),
    ],
)
def test_what_cannot_be_attributed_is_said_before_training(images, overrides, message, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.attribution.influence.LARGEST_DUAL", 200)
    own = [word for word in images if not word.startswith("model")]
    words = (*own, "kernel=conjugate", "model=mlp", *overrides, "stage=attribution")
    words = (*words, f"paths.store={tmp_path}", f"paths.cache={tmp_path}")
    with pytest.raises(UserError, match=message):
        execute(compose_run(words), words)
    assert not list((tmp_path / "train").glob("*/*/manifest.json"))


def test_scores_are_the_derivatives_of_the_replay(images, tmp_path):
    words = (*images, *METHODS[:2], *METHODS[6:], "attribution.top=90", "attribution.target='true'")
    made = pull("attribution", tmp_path, *words)
    top = made.arrays("top.safetensors")
    scores = np.empty((30, 90))
    np.put_along_axis(scores, top["test.support"], top["test.support_scores"], 1)
    assert np.isfinite(scores).all() and len(np.unique(top["test.support"][0])) == 90
    (prepared,) = (one for one in (tmp_path / "prepare").glob("*/*") if one.is_dir())
    from pipeline.data.datamodule import open_data
    from pipeline.training.outcomes import log_odds_of
    from pipeline.training.replaying import double_inputs, open_replay

    config = compose_run(words)
    data = open_data(config, Artifact(prepared))
    replay = open_replay(config, data, None, torch.device("cpu"))
    points = data.kernel_inputs("test")
    step, values = 1e-4, []
    for sign in (1, -1):
        weights = torch.ones(90, dtype=torch.float64)
        weights[7] += sign * step
        logits = replay.outputs(replay.run(weights), double_inputs(points.inputs, "image"))
        values.append(log_odds_of(logits, points.labels).detach().numpy())
    np.testing.assert_allclose(scores[:, 7], (values[0] - values[1]) / (2 * step), rtol=1e-3, atol=1e-7)
