"""What OmegaConf refuses is said in a user's words, not in the names of its classes."""

import shlex

import pytest

from pipeline.engine.cells import compose_run
from pipeline.errors import UserError


@pytest.mark.parametrize(
    "word,sentence",
    [
        ("data.image.mean=0.4", "data.image.mean takes a list: write data.image.mean=[A,B], also for a single"),
        ("wants=train", "wants takes a list: write wants=[A,B], also for a single entry."),
        ("seed=null", "seed takes no null; give it a value, or leave it out."),
        (
            "model.target=mynet.MyNet",
            "What is chosen as model has no setting model.target; `python run.py --help model`",
        ),
        ("cells=3", "cells takes names with values: write 'cells={NAME: VALUE}'."),
        ("data.path=x.csv", "data.path is a section of several settings: write data.path.NAME=VALUE."),
    ],
)
def test_a_value_of_another_kind_is_named_with_what_to_write(word, sentence):
    with pytest.raises(UserError) as refusal:
        compose_run((word,))
    assert str(refusal.value).startswith(sentence)


def test_the_remedy_for_unquoted_entries_of_an_axis_works_as_printed_in_a_shell():
    with pytest.raises(UserError) as refusal:
        compose_run(("+cells.net=[[model=mlp,'model.widths=[8]'], [model=mlp,model.widths=[16, 16]]]",))
    remedy = str(refusal.value).partition("entries of its list, ")[2].removesuffix(".")
    nets = compose_run(tuple(shlex.split(remedy))).cells["net"]
    assert nets == [["model=mlp", "model.widths=[8]"], ["model=mlp", "model.widths=[16, 16]"]]


def test_the_remedy_for_unquoted_entries_of_a_named_axis_works_as_printed_in_a_shell():
    with pytest.raises(UserError) as refusal:
        compose_run(("+cells.net={small: [model=mlp], wide one: [model=mlp,training.lr=0.1]}",))
    remedy = str(refusal.value).partition("entries of its lists, ")[2].removesuffix(".")
    nets = compose_run(tuple(shlex.split(remedy))).cells["net"]
    assert nets == {"small": ["model=mlp"], "wide one": ["model=mlp", "training.lr=0.1"]}
