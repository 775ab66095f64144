"""Renamed settings: both spellings are understood, and the address stays where it was."""

import json

import pytest

from pipeline.config.data import TextConfig
from pipeline.config.regression import RegressionConfig
from pipeline.config.surrogate import SurrogateConfig
from pipeline.engine.cells import compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.keys import HASHED_AS, TABLE, flatten
from tests.pipeline.test_help import FIELDS

RENAMED = {
    "surrogate": ("surrogate.neighbours=3", "surrogate.neighbors=3"),
    "regression": ("regression.centres=24", "regression.centers=24"),
    "train": ("data.text.normalise=full", "data.text.normalize=full"),
}
KEYS = {"surrogate": "ca607a971afa", "regression": "de5f0ba57b73", "train": "59a8733ba093"}
"""Addresses of these runs before the settings were renamed."""


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
