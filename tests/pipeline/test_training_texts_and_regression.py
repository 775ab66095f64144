"""Texts and real targets train through the same function as images."""

import signal

import pytest
import torch
from safetensors.torch import load_file

from models import build_model
from models.configs import MLPConfig, ResNet18Config, TextClassifierConfig
from pipeline.errors import UserError
from tests.pipeline.training_cases import Blobs, run_config, train

ARCHITECTURE = {"n_layer": 1, "n_embd": 16, "n_head": 2, "vocab_size": 20, "bos_token_id": 19, "eos_token_id": 19}


class Texts(Blobs):
    """Sentences of tokens below 19; the class is whether token 7 comes up."""

    input_shape = (8,)
    n_targets = 2

    def __init__(self, pad: int = 19) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for columns in self.rows.values():
            n = len(columns["label"])
            ids = torch.randint(0, 19, (n, 8), generator=generator)
            mask = torch.arange(8) < torch.randint(3, 9, (n, 1), generator=generator)
            ids = torch.where(mask, ids, pad)
            del columns["image"]
            columns.update(input_ids=ids, attention_mask=mask.long(), label=((ids == 7) & mask).any(1).long())

    def batch(self, name, indices, generator=None):
        return {column: value[indices] for column, value in self.rows[name].items()}


class Curve(Blobs):
    """y = x^2 on a line."""

    input_shape = (1,)
    n_targets = 1

    def __init__(self) -> None:
        super().__init__()
        for columns in self.rows.values():
            x = torch.linspace(-1, 1, len(columns["id"]), dtype=torch.float64)[:, None]
            for name in ("image", "label"):
                del columns[name]
            columns.update(x=x, y=x**2)

    def size(self, name):
        return len(self.rows[name]["id"])

    def batch(self, name, indices, generator=None):
        return {column: value[indices] for column, value in self.rows[name].items()}


def gpt2(**architecture):
    options = {"architecture": {**ARCHITECTURE, **architecture}}
    return build_model("text_classifier", input_shape=(8,), n_classes=2, seed=0, **options)


def test_gpt2_learns_and_repeats_its_bytes(tmp_path):
    config = run_config(optimizer="adamw", lr=0.01, epochs=6)
    config.model = TextClassifierConfig(architecture=ARCHITECTURE)
    first = train(tmp_path / "a", data=Texts(), config=config, model=gpt2())
    second = train(tmp_path / "b", data=Texts(), config=config, model=gpt2())
    assert first.weights_sha256 == second.weights_sha256
    losses = [row["train_loss"] for row in first.history]
    assert losses[-1] < 0.8 * losses[0]


def test_another_padding_token_than_the_networks_is_refused(tmp_path):
    with pytest.raises(UserError, match="padded with token 3"):
        train(tmp_path, data=Texts(pad=3), model=gpt2())


def test_regression_in_float64_stores_targets_and_rmse(tmp_path):
    config = run_config(loss="regression", optimizer="adam", lr=0.03, epochs=60, batch_size=70, schedule="constant")
    config.numerics.precision = "64-true"
    config.model = MLPConfig(widths=[16], activation="tanh", init="glorot")
    model = build_model("mlp", input_shape=(1,), n_classes=1, seed=0, widths=[16], activation="tanh").double()
    outcome = train(tmp_path, data=Curve(), config=config, model=model)
    arrays = load_file(tmp_path / "work" / "logits.safetensors")
    error = (arrays["test.logits"].double() - arrays["test.targets"]).square().mean().sqrt()
    assert outcome.metrics["test_rmse"] == pytest.approx(error.item())
    assert outcome.metrics["test_rmse"] < 0.3 and "train_rmse" in outcome.history[0]


def test_channels_last_trains_close_to_contiguous(tmp_path):
    rows = []
    for layout in ("contiguous", "channels_last"):
        config = run_config(epochs=1)
        config.model = ResNet18Config(width=8)
        config.numerics.memory_format = layout
        model = build_model("resnet18", input_shape=(1, 6, 6), n_classes=3, seed=0, width=8)
        model = model.to(memory_format=torch.channels_last) if layout == "channels_last" else model
        rows.append(train(tmp_path / layout, config=config, model=model).history[0]["train_loss"])
    assert rows[0] == pytest.approx(rows[1], rel=1e-3)


def test_ctrl_c_stays_an_interrupt_and_can_be_resumed(tmp_path):
    class Interrupted(Blobs):
        def batch(self, name, indices, generator=None):
            if generator is not None and self.served == 7:
                raise KeyboardInterrupt
            return super().batch(name, indices, generator)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, data=Interrupted())
    assert signal.getsignal(signal.SIGINT) is before
    assert train(tmp_path).resumed_from == 1


def test_progress_lines_off_a_terminal(tmp_path, capsys):
    train(tmp_path, progress=True, label="toy", config=run_config(epochs=2))
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("  toy epoch 2/2: train_accuracy ") and "val_loss" in lines[-1]
