"""The page of ``run.py --help`` holds every stage, group, choice and setting, because it is made from them."""

import dataclasses

import pytest

from models.configs import MODEL_SCHEMAS
from models.fields import rule_of
from pipeline.config.run import RunConfig
from pipeline.engine.cells import CONF
from pipeline.engine.stages import COMMANDS, STAGES
from pipeline.errors import UserError
from pipeline.help import WIDTH, asks_for_help, help_page

KINDS: dict[str, str] = {}
"""Declared type of every setting."""


def every_field():
    """All settings with their dotted names, those of every network included."""

    def walk(path, section):
        for field in dataclasses.fields(section):
            name, value = f"{path}{field.name}", getattr(section, field.name)
            if dataclasses.is_dataclass(value):
                yield from walk(f"{name}.", value)
            else:
                KINDS[name] = str(field.type)
                yield name, rule_of(field)

    yield from walk("", RunConfig())
    for schema in MODEL_SCHEMAS.values():
        yield from walk("model.", schema())


FIELDS = list(every_field())


@pytest.fixture(scope="module")
def page():
    return help_page(["--help"])


def test_every_setting_has_a_sentence_and_is_shown_with_its_choices(page):
    words = set(page.replace("=", " = ").split())
    for name, rule in FIELDS:
        assert rule.help.endswith("."), f"{name} has no sentence"
        if rule.renamed_to is None:
            assert name in words and words >= set(rule.choices), name
        else:
            assert name not in words, f"{name} is a former spelling"


def test_every_number_has_bounds():
    """A count that takes -1 or 0 in silence would be read as "all", "none" or "all but one", each by another reader."""
    signed = {"toy.quadratic"}
    for name, rule in FIELDS:
        kind = KINDS[name]
        if ("int" in kind or "float" in kind) and "dict" not in kind and rule.renamed_to is None:
            assert rule.interval or name in signed | {"data.image.mean"}, f"{name} takes any number"


def test_every_stage_and_every_choice_of_every_group_is_shown(page):
    words = set(page.split())
    assert words >= {*STAGES, *COMMANDS}
    for folder in CONF.iterdir():
        assert words >= {path.stem for path in folder.glob("*.yaml")}, folder


def test_lines_are_short(page):
    assert max(map(len, page.splitlines())) <= WIDTH
    assert not [line for line in page.splitlines() if line.lstrip().startswith("|")], (
        "a bar ends a line, it begins none"
    )


def test_a_section_can_be_asked_for_by_itself():
    page = help_page(["--help", "surrogate"])
    assert page.startswith("surrogate: Kernel machine that stands in for the network.")
    assert "glm | svm | ridge | knn" in page and "kernel.kind" not in page
    assert asks_for_help(["stage=train", "-h"]) and not asks_for_help(["--hydra-help"])


@pytest.mark.parametrize(
    "words,hint", [(["datta"], "mean --help data"), (["data.image"], "mean --help data"), (["xyz"], "sections are run")]
)
def test_a_section_that_does_not_exist_is_named(words, hint):
    with pytest.raises(UserError, match=rf"there is no section '{words[0]}'.*{hint}"):
        help_page(["--help", *words])
    assert help_page(["--help", "seed=3", "--config-dir", "mine"]) == help_page(["--help"])
