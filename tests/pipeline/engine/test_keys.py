"""Renamed settings: both spellings are understood, and the address stays where it was."""

import json

import pytest

from pipeline.checks.general import check
from pipeline.config.data import TextConfig
from pipeline.config.regression import RegressionConfig
from pipeline.config.surrogate import SurrogateConfig
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.keys import HASHED_AS, TABLE, flatten
from pipeline.errors import UserError
from tests.pipeline.test_help import FIELDS

RENAMED = {
    "surrogate": ("surrogate.neighbours=3", "surrogate.neighbors=3"),
    "regression": ("regression.centres=24", "regression.centers=24"),
    "train": ("data.text.normalise=full", "data.text.normalize=full"),
}
KEYS = {"surrogate": "3176c4be3994", "regression": "b54202eef77e", "train": "29e8a70237fe"}
"""Addresses of these runs under the settings' first names, with today's VERSIONs of the stages."""


@pytest.mark.parametrize("stage", RENAMED)
def test_both_spellings_have_the_address_that_the_old_one_had(stage):
    old, new = RENAMED[stage]
    with pytest.warns(FutureWarning, match=f"{old.partition('=')[0]} is called {new.partition('=')[0]} now"):
        spelled_before = compose_run((old,))
    spelled_now = compose_run((new,))
    assert spelled_before == spelled_now
    assert Graph().resolve(stage, spelled_now).key == KEYS[stage]


def test_an_experiment_file_may_use_the_old_spelling_for_one_release(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nsurrogate: {neighbours: 4}\n")
    with pytest.warns(FutureWarning, match="surrogate.neighbours is called surrogate.neighbors now"):
        config = compose_run((f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"))
    assert config.surrogate.neighbors == 4


@pytest.mark.filterwarnings("ignore:.* is called .* now:FutureWarning")
@pytest.mark.parametrize(
    ("overrides", "value"),
    [
        (("data.text.normalise=full", "data.text.normalize=whitespace"), "whitespace"),
        (("data.text.normalize=whitespace", "++data.text.normalise=full"), "full"),
        (("experiment=shift_tweets", "data.text.normalise=full", "data.text.normalize=raw"), "raw"),
    ],
)
def test_of_two_overrides_the_last_wins_in_either_spelling(overrides, value):
    assert compose_run(overrides).data.text.normalize == value


def test_the_old_spelling_can_clear_a_setting():
    with pytest.warns(FutureWarning, match="regression.centres is called regression.centers now"):
        assert compose_run(("regression.centers=24", "regression.centres=null")).regression.centers is None


def test_a_file_with_both_spellings_is_refused(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nsurrogate: {neighbours: 4}\n")
    config = compose_run((f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", "surrogate.neighbors=5"))
    with pytest.raises(UserError, match="surrogate.neighbours is the former name of surrogate.neighbors, and both"):
        check(config)


def test_every_former_spelling_is_hashed_as_before():
    before = {rule.renamed_to: name for name, rule in FIELDS if rule.renamed_to is not None}
    assert before.items() <= HASHED_AS.items()
    known = {path for stage in json.loads(TABLE.read_text()).values() for path in (*stage["frozen"], *stage["added"])}
    assert known >= set(HASHED_AS.values()) and not known & set(HASHED_AS)
    for path, section in (
        ("data.text", TextConfig()),
        ("surrogate", SurrogateConfig()),
        ("regression", RegressionConfig()),
    ):
        assert not set(HASHED_AS) & set(dict(flatten(path, section)))
