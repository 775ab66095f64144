"""An evaluation that is killed goes on from the rows that it has kept, and gives the same bytes."""

import pytest
import torch

import pipeline.training.outputs_underway as outputs_underway
from models.classifier_module import ClassifierModule
from pipeline.data.batches import EVALUATION_ROWS
from pipeline.machine.progress import read_progress
from pipeline.training.evaluation import split_outputs
from pipeline.training.outputs_underway import OutputsUnderway
from tests.pipeline.ensemble_cases import Images


class Killed(BaseException):
    """Stands for a kill."""


class Counted(torch.nn.Module):
    """Counts its passes and is killed in one of them."""

    def __init__(self, killed_at=None):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
        self.passes, self.killed_at = 0, killed_at

    def forward(self, image):
        if self.passes == self.killed_at:
            raise Killed
        self.passes += 1
        return self.layers(image)


class Fixed(Images):
    augments = False

    def batch(self, name, indices, generator=None):
        return super().batch(name, indices)


def evaluate(data, killed_at=None, scratch=None):
    module = ClassifierModule(Counted(killed_at), n_classes=3, total_steps=1)
    underway = None if scratch is None else OutputsUnderway(scratch)
    return module, split_outputs(module, data, ["train", "val"], underway=underway)


def test_a_killed_evaluation_goes_on_and_gives_the_same_outputs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(outputs_underway, "SECONDS", 0.0)
    data = Fixed()
    assert data.size("train") > EVALUATION_ROWS
    whole, wanted = evaluate(data)
    with pytest.raises(Killed):
        evaluate(data, killed_at=1, scratch=tmp_path)
    assert read_progress(tmp_path)["text"].startswith(f"train: row {EVALUATION_ROWS}/")
    again, found = evaluate(data, scratch=tmp_path)
    assert again.model.passes == whole.model.passes - 1, "the first batch was kept"
    assert "rows were evaluated before" in capsys.readouterr().err
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_was_kept_in_another_way_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs_underway, "SECONDS", 0.0)
    data = Fixed()
    whole, wanted = evaluate(data, scratch=tmp_path)
    file = tmp_path / "outputs" / "train.safetensors"
    file.write_bytes(b"half of a file")
    again, found = evaluate(data, scratch=tmp_path)
    assert torch.equal(found["train.logits"], wanted["train.logits"]) and 0 < again.model.passes < whole.model.passes
    assert OutputsUnderway(tmp_path).known("train", EVALUATION_ROWS - 1) == {}, "more rows than there are"
