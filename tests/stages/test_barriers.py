"""Stage ``barriers``: a network and its own permutation, what it writes, that a kill loses nothing, what it refuses."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from analysis.pages.blocks import Table
from analysis.pages.cells import NO_SPREAD, PAIR_INTERVALS
from models import build_model, logits_of
from models.unit_groups import permuted, random_permutations, unit_groups
from pipeline.checks.studies import barrier_problems
from pipeline.config.data import DataConfig
from pipeline.config.run import RunConfig
from pipeline.config.statistics import BarriersConfig
from pipeline.engine.build import Gathered
from pipeline.engine.cells import compose_run
from pipeline.engine.needs import partner_seed
from pipeline.errors import UserError
from pipeline.stages.barriers.foreseen import foresee
from pipeline.stages.barriers.networks import activities, groups_of, matched, on_the_line
from pipeline.stages.barriers.read import read_paths
from pipeline.stages.barriers.report import section
from pipeline.training.kept_files import KeptFiles
from tests.stages.image_cases import pull

NETWORKS = {
    "mlp": ((1, 6, 6), {"widths": [16, 12]}),
    "cnn": ((1, 12, 12), {"variant": "mnist2"}),
    "resnet18": ((1, 8, 8), {"width": 4}),
}


@pytest.mark.parametrize("matching", ["weights", "activations"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_network_and_its_own_permutation_are_joined_by_a_constant_line(name, matching):
    shape, options = NETWORKS[name]
    model = build_model(name, input_shape=shape, n_classes=3, seed=0, **options).double().eval()
    generator = torch.Generator().manual_seed(1)
    batches = [{"image": torch.randn(20, *shape, dtype=torch.float64, generator=generator)} for _ in range(2)]
    groups = unit_groups(model, batches[0]["image"])
    other = copy.deepcopy(model)
    other.load_state_dict(permuted(model.state_dict(), groups, random_permutations(groups, generator)))
    end = matched(matching, (model, other), groups, batches, BarriersConfig())
    for key, value in model.state_dict().items():
        torch.testing.assert_close(end[key], value, rtol=0, atol=0)
    expected = logits_of(model, batches[0])
    ends = model.state_dict(), end
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        for mixed in on_the_line(model, ends, [0.0, 0.3, 1.0], batches):
            torch.testing.assert_close(logits_of(mixed, batches[0]), expected)
    unmatched = list(on_the_line(model, (model.state_dict(), other.state_dict()), [0.5], batches))[0]
    assert float((logits_of(unmatched, batches[0]) - expected).detach().abs().max()) > 1e-3


def test_statistics_between_the_ends_are_those_of_the_mixed_network_and_the_ends_keep_theirs():
    model = (
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3, momentum=0.3), nn.Linear(3, 2)).double().eval()
    )
    rows = torch.randn(30, 1, 2, 2, dtype=torch.float64)
    other = {name: value + 1 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    line = on_the_line(model, (model.state_dict(), other), [0.0, 0.5, 1.0], [{"image": rows}])
    states = [copy.deepcopy(mixed.state_dict()) | {"momentum": mixed[2].momentum} for mixed in line]
    assert torch.equal(states[0]["2.running_mean"], model.state_dict()["2.running_mean"])
    assert torch.equal(states[2]["2.running_var"], other["2.running_var"])
    middle = rows.flatten(1) @ states[1]["1.weight"].T + states[1]["1.bias"]
    torch.testing.assert_close(states[1]["2.running_mean"], middle.mean(0))
    torch.testing.assert_close(states[1]["2.running_var"], middle.var(0))
    assert {state["momentum"] for state in states} == {0.3} and not model.training


def test_activities_are_what_units_give():
    model = build_model("mlp", input_shape=(1, 2, 2), n_classes=2, seed=0, widths=[5])
    rows = torch.randn(6, 1, 2, 2)
    found = activities(model, unit_groups(model, rows), [{"image": rows[:4]}, {"image": rows[4:]}])
    expected = model.hidden[0].linear(rows.flatten(1)).detach().double().numpy()
    np.testing.assert_allclose(found["hidden.0.linear"], expected, rtol=1e-6)


def test_paths_are_written_a_kill_loses_nothing_and_the_report_shows_them(images, tmp_path, monkeypatch):
    words = (*images, "barriers.points=3", 'cells.seed="0:2"')
    made = pull("barriers", tmp_path / "a", *words)
    rows = read_paths(made)
    assert len(rows) == 3 * 2 * 3 and {row["matching"] for row in rows} == {"none", "weights", "activations"}
    ends = {(row["split"], row["place"], row["error"]) for row in rows if row["place"] in (0, 1)}
    assert len(ends) == 4, "matching changes neither network"
    trained = pull("train", tmp_path / "a", *words)
    first = next(row for row in rows if row["split"] == "test" and row["place"] == 0)
    assert first["loss"] == pytest.approx(trained.metrics["test_loss"], rel=1e-5)
    assert first["error"] == pytest.approx(1 - trained.metrics["test_accuracy"])
    assert made.metrics["pair"] == [0, 1] and made.metrics["none_test_error"] >= 0

    plain, saves = KeptFiles.save, []

    def dies(self, name, tensors):
        plain(self, name, tensors)
        saves.append(name)
        if len(saves) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(KeptFiles, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        pull("barriers", tmp_path / "b", *words)
    again = pull("barriers", tmp_path / "b", *words)
    assert saves == ["none", "weights", "activations"] and again.manifest["files"] == made.manifest["files"]

    back = pull("barriers", tmp_path / "a", *words, "seed=1")
    members = [Gathered({"seed": str(i)}, compose_run(()), one, "python run.py") for i, one in enumerate((made, back))]
    shown = section(members, compose_run(()))
    table = next(block for block in shown.blocks if hasattr(block, "rows"))
    assert [row[2] for row in table.rows] == [1, 1, 1], "the way back is the same pair"
    assert table.caption.endswith(NO_SPREAD)
    rows = [["a", 2, 0.5, "[0.1, 0.9]"]]
    several = Table(["group", "pairs", "loss", "95 % interval"], rows, f"Barrier. {PAIR_INTERVALS}")
    assert several.caption == f"Barrier. {PAIR_INTERVALS}" and "over pairs of seeds" in several.caption
    assert "test error rises above the line by" in shown.headlines[0].answer


def test_what_has_no_units_or_no_networks_is_refused_with_a_way_out():
    texts = {"input_ids": torch.zeros(2, 3, dtype=torch.long), "attention_mask": torch.ones(2, 3)}
    with pytest.raises(UserError, match=r"not of model=gpt2: it reads texts. Set barriers.matching=\[none\]"):
        groups_of(nn.Linear(2, 2), texts, "gpt2")
    outputs = RunConfig(stage="barriers", data=DataConfig(source="logits"))
    assert "stage=barriers needs networks" in " ".join(barrier_problems(outputs))
    numbers = SimpleNamespace(n_classes=0)
    with pytest.raises(UserError, match="counts wrong decisions, and this is a regression task"):
        foresee(RunConfig(), numbers, nn.Linear(2, 2))  # type: ignore[arg-type]


def test_partners_go_around_the_study():
    def partner(*words):
        return partner_seed(compose_run(words))

    assert partner("seed=4") == 5 and partner("seed=4", "barriers.other=9") == 9
    assert [partner('cells.seed="2:5"', f"seed={seed}") for seed in (2, 3, 4)] == [3, 4, 2]
    assert partner('cells.seed="0:5"', "cells_limit=2", "seed=1") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("barriers.other=0",), "barriers.other=0 is the run's own seed"),
        (("model.center_output=true",), "center_output subtracts another function"),
        (("barriers.points=2",), "barriers.points=2 is below 3"),
        (("barriers.matching=[]",), "barriers.matching"),
        (("model.widths=[]",), r"not of model=mlp: it has one layer.*Set barriers.matching=\[none\]"),
    ],
    ids=["own seed", "centered", "two points", "no way", "one layer"],
)
def test_impossible_requests_are_refused(images, words, message, tmp_path):
    with pytest.raises(UserError, match=message):
        pull("barriers", tmp_path, *images, *words)
