"""A class of the name `no` is called `no`, in files and on the command line."""

from omegaconf import OmegaConf

from pipeline.config.run import register_schemas
from pipeline.engine.cells import compose_run


def test_names_of_classes_in_yaml_files_stay_words(tmp_path):
    register_schemas()
    path = tmp_path / "mine.yaml"
    path.write_text("class_names: [no, Yes, on, 1e3, 010, ~]\nother: [no, 010]\n", encoding="utf-8")
    read = OmegaConf.load(path)
    assert list(read.class_names) == ["no", "Yes", "on", "1e3", "010", "~"]
    assert list(read.other) == [False, 8]


def test_names_of_classes_on_the_command_line_stay_words():
    assert compose_run(("data=texts", "data.class_names=[no,yes]")).data.class_names == ["no", "yes"]
