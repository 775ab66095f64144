"""The same configuration trains to the same bytes, whatever happened to the process or its random state."""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import UserError
from pipeline.training.history import TrainingDiverged
from tests.pipeline.training_cases import SPLITS, Blobs, digests, noisy_net, run_config, train


def test_same_seeds_same_bytes_and_each_stream_matters(tmp_path):
    torch.manual_seed(1)
    first = train(tmp_path / "a")
    torch.manual_seed(2)
    second = train(tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert sorted(digests(tmp_path / "a")) == ["history.csv", "logits.safetensors", "weights.safetensors"]
    assert first.metrics == second.metrics and first.metrics["train_accuracy"] > 0.6
    others = set()
    for stream in ("order", "augment", "dropout"):
        config = run_config()
        config.seeds = replace(config.seeds, **{stream: 1})
        others.add(train(tmp_path / stream, config=config).weights_sha256)
    assert len(others | {first.weights_sha256}) == 4


def test_training_leaves_the_callers_settings_alone(tmp_path):
    threads = torch.get_num_threads()
    config = run_config(epochs=1)
    config.numerics.threads = threads + 1
    train(tmp_path, config=config)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("fail_at", [1, 4, 5, 6, 13, 20])
def test_kill_at_any_batch_and_resume_gives_the_same_bytes(tmp_path, fail_at):
    train(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "killed", data=Blobs(fail_at=fail_at))
    torch.manual_seed(99)
    outcome = train(tmp_path / "killed")
    assert outcome.resumed_from == (fail_at - 1) // 5
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")
    assert not (tmp_path / "killed" / "scratch" / "checkpoints").exists()


def test_kill_minus_nine_in_mid_epoch_and_resume(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.pipeline.training_cases import Blobs, train\n"
        "class Doomed(Blobs):\n"
        "    def batch(self, name, indices, generator=None):\n"
        "        if self.served == 12:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().batch(name, indices, generator)\n"
        "train(Path(sys.argv[1]), data=Doomed())\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "killed")], cwd=root, check=False)
    assert done.returncode == -9
    assert (tmp_path / "killed" / "scratch" / "checkpoints" / "last.ckpt").exists()
    outcome = train(tmp_path / "killed")
    assert outcome.resumed_from == 2
    train(tmp_path / "whole")
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_kill_after_the_last_epoch_finishes_without_training_again(tmp_path, monkeypatch):
    train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.training.fit.split_outputs", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(tmp_path / "killed")
    data = Blobs()
    outcome = train(tmp_path / "killed", data=data)
    assert outcome.resumed_from == 4 and data.served == 0
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_checkpoints_hold_plain_values_only(tmp_path):
    with pytest.raises(RuntimeError):
        train(tmp_path, data=Blobs(fail_at=7))
    path = tmp_path / "scratch" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert b"omegaconf" not in path.read_bytes()
    assert checkpoint["epoch"] == 0 and checkpoint["global_step"] == 5


def test_history_has_one_row_per_epoch_without_timings(tmp_path):
    seen = []
    outcome = train(tmp_path, on_epoch=seen.append)
    rows = list(csv.DictReader((tmp_path / "work" / "history.csv").read_text().splitlines()))
    assert list(rows[0]) == ["epoch", "step", "lr", "train_accuracy", "train_loss", "val_accuracy", "val_loss"]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20]
    assert seen == outcome.history and float(rows[2]["lr"]) == outcome.history[2]["lr"]
    assert 0 < float(rows[3]["lr"]) < float(rows[0]["lr"]) <= 0.05


def test_outputs_of_every_split_are_stored_with_ids(tmp_path):
    outcome = train(tmp_path)
    arrays = load_file(tmp_path / "work" / "logits.safetensors")
    for split, n in SPLITS.items():
        assert arrays[f"{split}.logits"].shape == (n, 3) and arrays[f"{split}.logits"].dtype == torch.float32
        assert torch.equal(arrays[f"{split}.ids"], Blobs().rows[split]["id"])
        right = arrays[f"{split}.logits"].argmax(1) == arrays[f"{split}.labels"]
        assert outcome.metrics[f"{split}_accuracy"] == pytest.approx(right.double().mean().item())
    model = noisy_net().eval()
    model.load_state_dict(load_file(tmp_path / "work" / "weights.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(model(Blobs().rows["test"]["image"]), arrays["test.logits"])


def test_without_validation_rows(tmp_path):
    data = Blobs()
    del data.rows["val"]
    outcome = train(tmp_path, data=data, config=run_config(epochs=1))
    assert "val_accuracy" not in outcome.metrics and "val_loss" not in outcome.history[0]


def test_divergence_stops_with_the_epoch_and_rate(tmp_path):
    with pytest.raises(TrainingDiverged, match="epoch 1 is"):
        train(tmp_path, config=run_config(lr=1e30, schedule="constant", warmup=0.0))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"loss": "hinge"}, "unknown training.loss"),
        ({"optimizer": "lion"}, "unknown training.optimizer"),
        ({"schedule": "linear"}, "unknown training.schedule"),
        ({"warmup": 5.0}, "shares of all steps"),
    ],
)
def test_impossible_training_is_refused_in_one_sentence(tmp_path, training, message):
    with pytest.raises(UserError, match=message):
        train(tmp_path, config=run_config(**training))


def test_float64_training_and_centered_outputs(tmp_path):
    config = run_config(epochs=1)
    config.numerics.precision = "64-true"
    config.model.center_output = True
    train(tmp_path, config=config, model=noisy_net().double())
    weights = load_file(tmp_path / "work" / "weights.safetensors")
    initial = load_file(tmp_path / "work" / "initial.safetensors")
    assert weights["head.weight"].dtype == torch.float64
    assert torch.equal(initial["head.weight"], noisy_net().head.weight.double())
    start, end = noisy_net().double().eval(), noisy_net().double().eval()
    start.load_state_dict(initial)
    end.load_state_dict(weights)
    x = Blobs().rows["test"]["image"].double()
    with torch.no_grad():
        centered = (end(x) - start(x)).float()
    torch.testing.assert_close(load_file(tmp_path / "work" / "logits.safetensors")["test.logits"], centered)
