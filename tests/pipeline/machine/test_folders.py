"""Names of files with a run's seed, a step or a setting in them."""

import dataclasses

import pytest

from pipeline.config.run import RunConfig
from pipeline.errors import UserError
from pipeline.machine.folders import holds_field, named_files, run_file


@pytest.fixture
def runs(tmp_path):
    """Files of two seeds at two steps, in a folder whose name holds what a glob would read."""
    folder = tmp_path / "my runs [old]"
    folder.mkdir()
    for seed in (0, 7):
        for step in (2, 10):
            (folder / f"seed{seed}-epoch{step // 2}-{step:04}.pt").write_text("")
    (folder / "seed0-epoch1-last.pt").write_text("")
    return folder


def test_files_are_found_by_seed_and_step_and_star(runs):
    found = named_files("weights.path", f"{runs}/seed{{seed}}-epoch*-{{step}}.pt", RunConfig(seed=7))
    assert {step: path.name for step, path in found.items()} == {
        2: "seed7-epoch1-0002.pt",
        10: "seed7-epoch5-0010.pt",
    }
    template = f"{runs}/seed{{seed}}-*-{{step}}.pt"
    assert run_file("weights.path", template, RunConfig()).name == "seed0-epoch5-0010.pt"
    assert run_file("weights.path", template, RunConfig(), 2).name == "seed0-epoch1-0002.pt"
    assert run_file("weights.path", f"{runs}/./seed{{seed:1}}-epoch1-0002.pt", RunConfig(seed=7)).exists()
    assert holds_field("a{seed:03}/{step}", "seed") and not holds_field("a{seed}", "step")


def test_any_setting_may_stand_in_a_name(runs):
    (runs / "mlp-0.1.pt").write_text("")
    config = RunConfig()
    config.model.name = "mlp"
    assert run_file("weights.path", f"{runs}/{{model.name}}-{{training.lr}}.pt", config).name == "mlp-0.1.pt"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("seed{seed}-*-0002.pt", r"there is no file .*seed3-\*-0002.pt for seed 3; there are .*seed0-.*seed7-"),
        ("nets/{seed}.pt", r"my runs \[old\] holds seed0-epoch1-0002.pt, .*; write \{seed\} where names hold the seed"),
        ("seed{sead}.pt", r"holds \{sead\}, which is no setting of this run; write \{seed\}, \{step\}"),
        ("seed{data}.pt", r"holds \{data\}, which is no single value"),
        ("{data.name:03}.pt", "is no whole number to fill"),
        ("seed0-*.pt", "fits .*seed0-epoch1-0002.pt and .* alike; spell out what stands for the *"),
    ],
)
def test_names_of_nothing_are_refused_with_what_there_is(runs, template, message):
    with pytest.raises(UserError, match=message):
        run_file("weights.path", f"{runs}/{template}", RunConfig(seed=3))


def test_a_step_without_a_file_is_refused_with_those_that_there_are(runs):
    template = f"{runs}/seed{{seed}}-epoch*-{{step}}.pt"
    with pytest.raises(UserError, match="no file of step 5 for seed 0; it has those of 2, 10"):
        run_file("weights.path", template, dataclasses.replace(RunConfig(), seed=0), 5)
