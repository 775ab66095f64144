"""Trainings on f(θ) - f(θ₀) run f(θ₀) once over fixed rows and learn what a pass in every step would teach them."""

import pytest
import torch

import pipeline.training.ensemble as ensemble
import pipeline.training.fit as fit
from models.classifier_module import ClassifierModule
from models.configs import MLPConfig
from pipeline.data.batches import EVALUATION_ROWS
from pipeline.training.initial_outputs import initial_outputs
from tests.pipeline.ensemble_cases import Images, alone, at, case, together

CENTERED = MLPConfig(widths=[12], center_output=True)


class FixedImages(Images):
    augments = False

    def batch(self, name, indices, generator=None):
        return super().batch(name, indices)


def configs(seeds=2):
    base = case(CENTERED, precision="64-true", epochs=2, batch_size=16, lr=0.05)
    return [at(base, seed) for seed in range(seeds)]


def module_of(**options):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    return ClassifierModule(network, n_classes=3, total_steps=1, **options)


def test_outputs_at_initialization_are_those_of_each_row():
    data, module = FixedImages(), module_of(center_output=True)
    found = initial_outputs(module, data, torch.float32)
    assert set(found) == {"train", "val"} and data.size("train") > EVALUATION_ROWS
    rows = torch.tensor([69, 0, 64])
    batch = data.batch("train", rows)
    torch.testing.assert_close(found["train"][rows], module.model(batch["image"]).detach())
    assert torch.equal(module(batch | {"initial": module.model(batch["image"])}), torch.zeros(3, 3))


def test_rows_that_change_from_step_to_step_have_none():
    assert initial_outputs(module_of(), FixedImages(), torch.float32) == {}
    assert set(initial_outputs(module_of(center_output=True), Images(), torch.float32)) == {"val"}


@pytest.mark.parametrize("engine", ["lightning", "ensemble"])
def test_both_engines_learn_what_they_learn_with_a_pass_in_every_step(engine, tmp_path, monkeypatch):
    def run(folder):
        if engine == "ensemble":
            return [one.module.model.state_dict() for one in together(tmp_path / folder, configs(), FixedImages())]
        return [alone(tmp_path / folder / str(one.seed), one, FixedImages())[1] for one in configs()]

    passes = []
    for module in (fit, ensemble):
        monkeypatch.setattr(module, "initial_outputs", lambda *options: passes.append(1) or initial_outputs(*options))
    kept = run("kept")
    assert len(passes) == 2, "once for each network"
    for module in (fit, ensemble):
        monkeypatch.setattr(module, "initial_outputs", lambda *options: {})
    for ours, plain in zip(kept, run("plain"), strict=True):
        for name, value in plain.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-11)
