"""A class of the name `no` is called `no`, and a switch takes no count, in files and on the command line."""

import dataclasses

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from models.configs import MODEL_SCHEMAS
from pipeline.config.run import RunConfig, register_schemas
from pipeline.engine.cells import compose_run
from pipeline.errors import UserError


def test_names_of_classes_in_yaml_files_stay_words(tmp_path):
    register_schemas()
    path = tmp_path / "mine.yaml"
    path.write_text("class_names: [no, Yes, on, 1e3, 010, ~]\nother: [no, 010]\n", encoding="utf-8")
    read = OmegaConf.load(path)
    assert list(read.class_names) == ["no", "Yes", "on", "1e3", "010", "~"]
    assert list(read.other) == [False, 8]


def test_names_of_classes_on_the_command_line_stay_words():
    assert compose_run(("data=texts", "data.class_names=[no,yes]")).data.class_names == ["no", "yes"]


def switches(prefix, section):
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from switches(f"{prefix}{field.name}.", value)
        elif isinstance(value, bool):
            yield f"{prefix}{field.name}"


ALL = [(RunConfig, name) for name in switches("", RunConfig())]
ALL += [(schema, name) for schema in MODEL_SCHEMAS.values() for name in switches("", schema())]


def test_every_switch_of_the_schema_refuses_a_count():
    assert len(ALL) > 10
    for schema, name in ALL:
        config = OmegaConf.structured(schema)
        for value in (5, -1, 2, 1.5, 1.0, "5", "1.5", "maybe"):
            with pytest.raises(ValidationError, match="neither true nor false; write one of them"):
                OmegaConf.update(config, name, value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("true", True),
        ("False", False),
        ("yes", True),
        ("no", False),
        ("on", True),
        ("off", False),
        (1, True),
        ("0", False),
    ],
)
def test_the_usual_words_stay(written, meant):
    config = OmegaConf.structured(RunConfig)
    config.training.shuffle = written
    assert config.training.shuffle is meant


def test_a_command_says_so_in_one_sentence():
    with pytest.raises(UserError) as refused:
        compose_run(("training.shuffle=5",))
    assert str(refused.value) == (
        "training.shuffle: Value '5' of type 'int' is neither true nor false; write one of them."
    )
