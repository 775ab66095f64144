"""One word composes an experiment's published setting; what is typed wins over it, and printed commands stay short."""

import pytest
from omegaconf import OmegaConf

from pipeline.engine.cells import CONF, compose_run
from pipeline.engine.graph import Graph
from pipeline.engine.scale import collapsed, expanded, published_overrides
from pipeline.errors import UserError

COMMAND = ["experiment=ck_regression", "scale=published", "training.epochs=3"]


def test_the_published_setting_comes_before_what_is_typed():
    assert expanded(["-m", *COMMAND]) == ["-m", "cells.seed='0:5'", *COMMAND]
    assert expanded(expanded(COMMAND)) == expanded(COMMAND)
    assert collapsed(expanded(COMMAND)) == COMMAND
    config = compose_run(tuple(COMMAND))
    assert config.cells["seed"] == "0:5" and config.training.epochs == 3 and config.scale == "published"
    assert (
        Graph(COMMAND)
        .resolve("train", config)
        .command.startswith("python run.py experiment=ck_regression scale=published training.epochs=3")
    )


def test_the_small_setting_is_the_default_and_adds_nothing():
    for words in (["experiment=ck_regression"], ["experiment=ck_regression", "scale=small"], []):
        assert expanded(words) == collapsed(words) == words
    assert published_overrides(["scale=published", "experiment=ck_regression", "scale=small"]) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["scale=published"], "add experiment=NAME, or leave scale out"),
        (["scale=published", "experiment=null"], "add experiment=NAME, or leave scale out"),
        (
            ["scale=published", "experiment=nothing"],
            r"'nothing' is none: .* choose one of \w+, \w+",
        ),
        (["scale=published", "experiment=pntk_precision"], "compares no precisions.*leave scale=published out"),
        (["scale=published", "experiment=trimming_fmnist"], "use experiment=trimming_cifar2 scale=published"),
    ],
)
def test_what_has_no_published_setting_is_refused_with_a_way_out(words, sentence):
    with pytest.raises(UserError, match=sentence):
        expanded(words)


def test_every_experiment_says_what_its_published_setting_is():
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        block = OmegaConf.to_container(OmegaConf.load(path)).get("published", {})
        kind = block.get("kind")
        assert kind in ("protocol", "ours"), f"{path.name} has no published block"
        assert bool(block.get("why")) == (kind == "ours"), path.name
        if "experiment" in block:
            other = OmegaConf.load(path.with_stem(block["experiment"])).published
            assert other.kind == "protocol" and "experiment" not in other, path.name


def test_quotes_and_files_of_ones_own_are_heeded(tmp_path):
    assert published_overrides(["experiment=ck_regression", "scale='published'"]) == ["cells.seed='0:5'"]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\npublished: {kind: protocol, overrides: [training.epochs=9]}\n"
    )
    words = ("experiment=mine", "scale=published", "data=mnist_5k", "model=mlp")
    for place in (f"--config-dir={tmp_path}", f"hydra.searchpath=[file://{tmp_path}]"):
        assert compose_run((place, *words)).training.epochs == 9


def test_a_shrunk_run_cannot_be_unmarked():
    with pytest.raises(UserError, match="leave one of them out"):
        compose_run(("experiment=ck_regression", "debug=tiny", "tiny=false"))
