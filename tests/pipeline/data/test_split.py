"""Same data seed, same rows; strata within one row; duplicates and groups on one side only."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.data import SplitConfig, SubsetConfig
from pipeline.data import load_view
from pipeline.data.divide import divide, subset
from pipeline.data.errors import DataError
from pipeline.data.split import components, content_keys, held_out, stream
from tests.pipeline.data.made_rows import image_columns, text_columns


def test_same_data_seed_same_indices(prepared, config):
    folder = prepared({"train": image_columns(200), "test": image_columns(40, seed=1)})
    first, again = load_view(folder, config), load_view(folder, config)
    other = load_view(folder, dataclasses.replace(config, data_seed=1))
    for split in first.splits:
        assert first.splits[split].ids.equal(again.splits[split].ids)
    assert not first.splits["val"].ids.equal(other.splits["val"].ids)
    assert first.splits["test"].ids.equal(other.splits["test"].ids)


def test_splits_are_disjoint_and_complete(prepared, config):
    folder = prepared({"train": image_columns(203), "test": image_columns(40, seed=1)})
    ids = [view.ids.tolist() for view in load_view(folder, config).splits.values()]
    assert sorted(sum(ids, [])) == list(range(243))


@settings(max_examples=25, deadline=None)
@given(
    share=st.floats(0.0, 0.9),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    seed=st.integers(0, 100),
)
def test_every_stratum_is_within_one_row_of_its_share(share, sizes, seed):
    label = np.repeat(np.arange(len(sizes)), sizes)
    columns = {"x": np.arange(len(label), dtype=np.float64)[:, None], "label": label}
    taken = held_out(columns, share, ["label"], stream(seed, "val"))
    for value, size in enumerate(sizes):
        assert abs(taken[label == value].sum() - share * size) < 1
    assert taken.sum() == round(share * len(label))


def test_domains_are_stratified_with_labels():
    columns = text_columns(400)
    columns["domain"] = ["a"] * 100 + ["b"] * 300
    taken = held_out(columns, 0.1, ["label", "domain"], stream(0, "val"))
    assert taken[:100].sum() == 10 and taken[100:].sum() == 30
    assert columns["label"][:100][taken[:100]].sum() == 5


def test_duplicates_and_groups_never_straddle(prepared, config):
    columns = text_columns(300)
    columns["text"] = [columns["text"][row % 150] for row in range(300)]
    columns["group"] = [f"user{row % 100}" if row < 200 else "" for row in range(300)]
    view = load_view(prepared({"train": columns}, kind="text"), config)
    train, val, test = (set(view.splits[split].ids.tolist()) for split in ("train", "val", "test"))
    component = components(content_keys(columns), columns["group"])
    for one, other in ((train, val), (train, test), (val, test)):
        assert not {component[i] for i in one} & {component[i] for i in other}
    assert len(val) > 10 and len(test) > 30


def test_components_are_transitive():
    keys = [b"a", b"a", b"b", b"b", b"c"]
    linked = components(keys, ["", "u", "u", "", ""])
    assert len(set(linked[:4].tolist())) == 1 and linked[4] != linked[0]


@pytest.mark.parametrize("leaks,kept", [("drop", 90), ("keep", 100)])
def test_training_rows_of_a_test_split_are_taken_out(prepared, config, leaks, kept):
    train, test = image_columns(100), image_columns(20, seed=1)
    test["image"][:10] = train["image"][:10]
    folder = prepared({"train": train, "test": test})
    view = load_view(folder, dataclasses.replace(config, split=SplitConfig(val=0.0, leaks=leaks)))
    assert len(view.splits["train"]) == kept
    assert view.report["drops"] == ({"training row also in a test split": 10} if leaks == "drop" else {})


def test_shifted_test_splits_share_no_row_with_training_rows_either(prepared, config):
    train, shifted = image_columns(100), image_columns(20, seed=1)
    shifted["image"][:5] = train["image"][:5]
    view = load_view(prepared({"train": train, "test_m": shifted}), config)
    assert view.report["drops"] == {"training row also in a test split": 5}
    assert view.report["rows"] == {"train": 68, "val": 8, "test": 19, "test_m": 20}


def test_a_share_that_leaves_no_training_row_is_refused(prepared, config):
    folder = prepared({"train": image_columns(4), "test": image_columns(8, seed=1)})
    with pytest.raises(DataError, match="data.split.val=0.99 leaves none of the 4 training rows"):
        load_view(folder, dataclasses.replace(config, split=SplitConfig(val=0.99)))


def test_a_class_that_would_lose_its_last_training_row_is_named():
    rows = text_columns(9, n_classes=9)
    with pytest.raises(DataError, match="leaves no training row of class .*data.path.test"):
        divide({"train": rows}, SplitConfig(), 0, {})


def test_leaks_can_be_refused_and_all_leaked_is_always_refused(prepared, config):
    train = image_columns(40)
    half = {name: values[:20] for name, values in train.items()}
    with pytest.raises(DataError, match="20 of 40 training rows"):
        load_view(
            prepared({"train": train, "test": half}), dataclasses.replace(config, split=SplitConfig(leaks="refuse"))
        )
    with pytest.raises(DataError, match="40 of 40 training rows"):
        load_view(prepared({"train": train, "test": train}, name="same"), config)


def test_subset_relabels_in_the_given_order_and_counts():
    splits = {"train": image_columns(80), "test": image_columns(40)}
    chosen = subset(splits, SubsetConfig(classes=[3, 1], per_class=5, test_per_class=4, pick="first"), 0)
    assert np.bincount(chosen["train"]["label"]).tolist() == [5, 5]
    assert np.bincount(chosen["test"]["label"]).tolist() == [4, 4]
    original = splits["train"]["label"][[1, 3, 5, 7, 9, 11, 13, 15, 17, 19]]
    assert np.array_equal(chosen["train"]["label"], (original == 1).astype(int))
    assert np.array_equal(chosen["train"]["image"], splits["train"]["image"][1:20:2])


def test_balance_downsamples_the_training_rows_only():
    columns = text_columns(90)
    columns["label"] = (np.arange(90) < 20).astype(np.int64)
    chosen = subset({"train": columns, "test": columns}, SubsetConfig(balance="downsample"), 0)
    assert np.bincount(chosen["train"]["label"]).tolist() == [20, 20]
    assert np.bincount(chosen["test"]["label"]).tolist() == [70, 20]


def test_a_paper_split_has_its_published_sizes(prepared, config):
    folder = prepared({"train": text_columns(8551), "test": text_columns(50, seed=9)}, kind="text")
    view = load_view(folder, dataclasses.replace(config, split=SplitConfig(recipe="cola_pntk")))
    assert view.report["rows"] == {"train": 6840, "val": 359, "test": 1352, "test_dev": 50}


@pytest.mark.parametrize(
    "section,message",
    [
        (SplitConfig(val=1.0), r"data.split.val=1.0 is not in \[0, 1\)"),
        (SplitConfig(stratify=["color"]), "data.split.stratify holds"),
        (SplitConfig(leaks="hide"), "data.split.leaks=hide"),
        (SplitConfig(recipe="mine"), "data.split.recipe=mine"),
        (SplitConfig(recipe="cola_pntk"), "needs 8,551 sentences"),
        (SubsetConfig(classes=[0, 9]), "data.subset.classes holds 9"),
        (SubsetConfig(pick="last"), "data.subset.pick=last"),
        (SubsetConfig(balance="up"), "data.subset.balance=up"),
    ],
)
def test_options_that_cannot_be_met_are_refused(prepared, config, section, message):
    folder = prepared({"train": image_columns(40), "test": image_columns(8, seed=1)})
    name = "split" if isinstance(section, SplitConfig) else "subset"
    with pytest.raises(DataError, match=message):
        load_view(folder, dataclasses.replace(config, **{name: section}))
