"""A setting that does not exist is refused with the one that was meant, wherever it was written."""

import pytest

from pipeline.checks.general import check
from pipeline.config.run import RunConfig
from pipeline.engine.cells import axis_entries, compose_run, expand, seed_list
from pipeline.engine.graph import Graph
from pipeline.entry import _checked
from pipeline.errors import UserError


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("training.learning_rate=0.5", "training.lr"),
        ("+training.learning_rate=0.5", "training.lr"),
        ("++model.widht=3", "model.width"),
        ("experimnt=quickstart", "experiment"),
        ("+zzz.qqq=1", "--help` lists"),
        ("+report.zzz=1", "--help report` lists"),
    ],
)
def test_the_nearest_setting_is_named(override, meant):
    with pytest.raises(UserError, match="There is no setting .*") as caught:
        compose_run((override,))
    assert meant in str(caught.value)


def test_free_mappings_take_keys_without_a_plus():
    config = compose_run(("data.path.rename={img: image}", "data.path.extra.ood=x.parquet", "cells.seed=0:3"))
    assert config.data.path.rename == {"img": "image"} and config.data.path.extra == {"ood": "x.parquet"}
    assert config.cells == {"seed": "0:3"}


@pytest.mark.parametrize("entry", ["+training.learning_rate=0.5", "training.epochs=0", "weights.source=pretrained"])
def test_a_cell_is_held_to_the_rules_of_a_command(entry):
    words = (f'cells.try=[["{entry}"],["training.lr=1"]]', "wants=[train]")
    config = compose_run(words)
    check(config)
    with pytest.raises(UserError, match="There is no setting|is below 1|needs stored weights"):
        Graph(words, _checked).resolve("report", config)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, r"cells.seed=0:5 for that many seeds, or cells.seed=\[5\] for this one"),
        (620, "10:20 without quotes is 620, so write '10:20'"),
        (["a"], "write 'start:stop' in quotes"),
        ([1.5], "write 'start:stop' in quotes"),
        (None, "write 'start:stop' in quotes"),
        ([1, 1], "name each seed once"),
        ([], "at least one seed"),
        ("3:3", "at least one seed"),
        ([float("inf")], "write 'start:stop' in quotes"),
        ("0:99999999999", "at most 100000 seeds"),
    ],
)
def test_seeds_that_are_no_range_and_no_list_are_refused(value, words):
    with pytest.raises(UserError, match=words):
        seed_list(value)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("stage=kernel", "which the whole study has once"),
        ("paths.store=elsewhere", "which the whole study has once"),
        ("statistics.draws=30", "which the whole study has once"),
        ("seed=4", "cells.seed sets the seed of every cell"),
    ],
)
def test_a_cell_cannot_set_what_is_not_its_own(entry, words):
    config = RunConfig(cells={"try": [[entry], ["training.lr=1"]], "seed": "0:2"})
    with pytest.raises(UserError, match=words):
        expand(config, (), compose_run)


def test_entries_that_are_named_are_each_there_once():
    with pytest.raises(UserError, match="cells.try holds .* twice"):
        axis_entries("try", {"a": ["training.lr=1"], "b": ["training.lr=1"]})


REFUSED = {
    "ensemble.varying=[init]": "ensemble.varying=['init'] is read by numerics.engine=ensemble alone",
    "snapshots.steps=[3]": "snapshots.steps=[3] is not read by snapshots.schedule=log; set snapshots.schedule=steps",
    "toy.seeds=[1,1]": "toy.seeds holds 1 twice",
    "kernel.memory=lots": "kernel.memory=lots is no size above 0",
    "data.synthetic.options.x=1": "data.synthetic.options={'x': 1} is not read by data.source=packaged",
    "data.class_names=[cat,cat]": "data.class_names holds 'cat' twice",
    "data.subset.classes=[3,3]": "data.subset.classes holds 3 twice",
    "attribution.methods=[random,random]": "attribution.methods holds 'random' twice",
    "data.path.sha256.trian=00": "data.path.sha256 holds 'trian', which is no split with a file; it takes train",
    "data.path.train=x": "data.path.train names a file, which data.source=packaged does not read",
    "kernel.n_train=0": "kernel.n_train=0 is below 1; null takes all",
    "features.limit=-1": "features.limit=-1 is below 1; null takes all",
    "numerics.precision=fp32": "numerics.precision=fp32 is not one of 32-true",
    "kernel.precision=fp32": "kernel.precision=fp32 is not one of float32",
    "weights.source=pretrained": "needs stored weights, and model=mlp begins with random ones",
    "weights.step=3": "weights.step=3 is a moment of a training, which weights.source=pretrained has not",
    "data.allow_cross_data=true": "data.allow_cross_data has no effect any more",
}


def test_what_would_be_ignored_or_mistaken_is_refused():
    with pytest.raises(UserError) as caught:
        check(compose_run(tuple(REFUSED)))
    for override, words in REFUSED.items():
        assert words in str(caught.value), override


def test_the_last_step_is_the_end_of_training_and_has_its_address():
    plain, last = (Graph().resolve("kernel", compose_run(words)) for words in ((), ("weights.step=-1",)))
    assert plain.key == last.key and "snapshots" not in {node.stage.name for node in last.upstream()}


def test_shortcuts_for_two_files_of_texts_reach_the_readers():
    words = ("data=texts", "model=gpt2_tiny", "data.reference=a.txt", "data.sample=b.txt")
    config = compose_run(words)
    check(config)
    assert config.data.path.extra == {"reference": "a.txt", "sample": "b.txt"}
    with pytest.raises(UserError, match="data.reference=a.txt is short for data.path.extra.reference, which is c.txt"):
        check(compose_run((*words, "data.path.extra.reference=c.txt")))
