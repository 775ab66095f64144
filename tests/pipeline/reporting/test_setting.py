"""A page says what differs from the published setting, and by how much; a claim asks for its own fields."""

from dataclasses import replace

import pytest

from models.configs import MODEL_SCHEMAS
from pipeline.config.data import DataConfig, SubsetConfig
from pipeline.config.published import PublishedConfig
from pipeline.config.run import RunConfig
from pipeline.engine.graph import Graph
from pipeline.reporting.setting import Comparison, axes, published_words, rows, section_differences
from pipeline.stages.regression.claims import FIELDS


def comparison(*overrides: str) -> Comparison:
    graph = Graph(overrides)
    return Comparison(graph, graph.compose())


@pytest.fixture(scope="module")
def clothes():
    return comparison("experiment=pntk_fmnist2_cnn", "cells.seed='0:3'")


def test_the_line_names_amounts(clothes):
    line = clothes.setting().line
    assert line.startswith("not tested at the published setting: 1,000 of 10,000 rows, ")
    for words in ("10 of 200 epochs", "3 of 100 seeds", "batch size 16 instead of 4", "evaluates f"):
        assert words in line


def test_a_setting_with_a_dotted_name_is_named_as_it_is_typed():
    assert (
        "toy.null_draws 0 instead of 200"
        in comparison("experiment=spectra_toy_invariant", "toy.null_draws=0").setting().line
    )


def test_a_claim_asks_only_for_its_fields(clothes):
    assert clothes.setting(["training.epochs"]).differences[0] == "10 of 200 epochs"
    assert "1,000 of 10,000 rows" in clothes.setting(["data.rows"]).differences
    assert "10 of 200 epochs" not in clothes.setting(["data.rows"]).differences
    # what no override can make keeps every claim off the published setting
    assert clothes.setting(["model"]).kind == "other" and len(clothes.setting(["model"]).differences) == 1


def test_a_stand_in_is_named_and_never_the_published_setting():
    found = comparison("experiment=trimming_seed_count", "cells.seed='0:200'").setting()
    assert found.kind == "other"
    assert found.differences[:2] == ("stand-in data fashion_mnist for cifar10", "stand-in network mlp for cnn mnist2")


def test_the_published_setting_itself_is_recognized_however_it_is_typed():
    assert comparison("experiment=trimming_cifar2").setting().differences == ("1,000 of 10,000 rows", "6 of 50 epochs")
    small = comparison("experiment=trimming_cifar2", "data=cifar10_jpeg").setting()
    assert small.differences == (
        "stand-in data cifar10_jpeg for cifar10",
        "1,000 of 10,000 rows",
        "6 of 50 epochs",
    )
    typed = ("data.subset.per_class=5000", "training.epochs=50")
    found = comparison("experiment=trimming_cifar2", *typed).setting()
    assert found.kind == "published"
    assert found.line.startswith("tested at the published setting (not published: the two classes, layers")
    fewer = comparison("experiment=trimming_cifar2", "scale=published", "cells.seed='0:4'").setting()
    assert fewer.kind == "other" and fewer.differences == ("4 of 200 seeds",)
    enough = comparison("experiment=trimming_cifar2", "scale=published", "cells.seed='0:5'").setting()
    assert enough.kind == "published" and "setting, on 5 of 200 seeds (" in enough.line


@pytest.mark.parametrize(
    ("words", "differences"),
    [
        (
            ("seeds.init=0", "numerics.precision=bf16-mixed", "snapshots.steps=[40,60]", "report.options.targets=[]"),
            (
                "seeds.init held at 0",
                "precision bf16-mixed instead of 64-true",
                "snapshots.steps [40, 60] instead of",
                "report.options of one's own",
            ),
        ),
        (('+cells.lr=[["training.lr=1e-5"],["training.lr=0.1"]]',), ("lr 0.1 instead of 1e-05",)),
        (('+cells.protocol.mine=["training.lr=1"]',), ("lr 1 instead of 1e-05 (mine)",)),
    ],
    ids=["settings", "an axis", "an entry"],
)
def test_what_departs_from_the_published_setting_by_any_way_is_named(words, differences):
    # the fields of the claims of this experiment
    found = comparison("experiment=ck_logistic", "scale=published", *words).setting(FIELDS)
    assert found.kind == "other"
    for difference in differences:
        assert any(one.startswith(difference) for one in found.differences), found.line


def test_rows_of_another_archive_are_stand_ins_under_any_name():
    renamed = comparison(
        "experiment=pntk_mnist2_mlp", "scale=published", "data=mnist_5k", "data.name=mnist", "data.subset.classes=[0,1]"
    )
    assert renamed.setting(["data"]).differences == ("stand-in rows of the package mnist_5k for mnist",)


def test_more_seeds_and_runs_that_are_missing_are_said():
    graph = Graph(("experiment=ck_logistic", "cells.seed='0:20'"))
    found = Comparison(graph, graph.compose(), missing=2).setting(["seeds"])
    assert found.kind == "published" and found.line.endswith("setting, on 20 instead of 10 seeds, 58 of 60 runs")


def test_a_grid_that_lacks_entries_of_an_axis_says_so():
    base = RunConfig(cells={"machine": {"pNTK": [], "CK": []}, "seed": "0:5"})
    assert [one.text for one in axes(replace(base, cells={"machine": {"pNTK": []}}), base)] == [
        "1 of 2 entries of machine"
    ]
    assert not list(axes(base, base))


def test_files_of_ones_own_are_composed_from_where_they_lie():
    command = ("--config-dir=/mine", "experiment=mine", "training.epochs=3", "hydra.searchpath=[file:///more]")
    own = PublishedConfig("protocol", overrides=["training.epochs=9"])
    places = ("--config-dir=/mine", "hydra.searchpath=[file:///more]")
    assert published_words(command, own) == (*places, "experiment=mine", "training.epochs=9")
    other = PublishedConfig("protocol", experiment="ck_logistic")
    assert published_words(command, other) == (*places, "experiment=ck_logistic", "scale=published")


def test_studies_of_our_own_and_shrunk_runs_have_no_published_setting():
    own = comparison("experiment=pntk_precision").setting()
    assert own.kind == "ours" and own.line == "no published study is repeated: arXiv:2305.14585 compares no precisions"
    assert comparison("experiment=ck_logistic", "debug=tiny").setting().kind == "tiny"


def test_where_rows_lie_is_no_difference():
    graph = Graph(("experiment=ck_logistic",))
    config = graph.compose()
    moved = replace(config, data=replace(config.data, source="path"), kernel=replace(config.kernel, memory="9GiB"))
    assert not list(section_differences(moved, config))


def test_rows_are_counted_from_the_settings():
    names = [str(i) for i in range(10)]
    whole = DataConfig(name="cifar10", class_names=names)
    assert rows(whole) == 50_000
    assert rows(replace(whole, subset=SubsetConfig(classes=[3, 5], per_class=500))) == 1000
    assert rows(DataConfig(name="mnist", class_names=names)) is None
    assert rows(DataConfig(name="mnist_5k", class_names=names, subset=SubsetConfig(classes=[0, 1]))) == 800
    assert set(MODEL_SCHEMAS) >= {"mlp", "cnn"}
