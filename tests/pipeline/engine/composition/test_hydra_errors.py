"""What OmegaConf refuses is said in a user's words, not in the names of its classes."""

import pytest

from pipeline.engine.cells import compose_run
from pipeline.errors import UserError


@pytest.mark.parametrize(
    "word,sentence",
    [
        ("data.image.mean=0.4", "data.image.mean takes a list: write data.image.mean=[A,B], also for a single"),
        ("wants=train", "wants takes a list: write wants=[A,B], also for a single entry."),
        ("seed=null", "seed takes no null; give it a value, or leave it out."),
        ("cells=3", "cells takes names with values: write 'cells={NAME: VALUE}'."),
        ("data.path=x.csv", "data.path is a section of several settings: write data.path.NAME=VALUE."),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_to_write(word, sentence):
    with pytest.raises(UserError) as refusal:
        compose_run((word,))
    assert str(refusal.value).startswith(sentence)
