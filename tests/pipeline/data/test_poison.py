"""Poison recipes: exact trigger pixels, binomial rates, untouched test rows, idempotence."""

import dataclasses

import numpy as np
import pytest
import torch

from pipeline.config.data import ImageConfig, PoisonConfig, SplitConfig
from pipeline.data import load_view
from pipeline.data.errors import DataError
from pipeline.data.poison import apply_poison, stamp
from tests.pipeline.data.made_rows import image_columns, text_columns

ALL_TRAIN = SplitConfig(val=0.0)


def test_the_trigger_is_sixteen_yellow_pixels_at_rows_and_columns_25_to_28():
    images = np.zeros((2, 3, 32, 32), np.uint8)
    stamped = stamp(images)
    assert np.argwhere(stamped[0, 0]).min(0).tolist() == [25, 25]
    assert np.argwhere(stamped[0, 0]).max(0).tolist() == [28, 28]
    assert (stamped != 0).sum(axis=(1, 2, 3)).tolist() == [32, 32]
    assert stamped[0, :, 26, 26].tolist() == [255, 255, 0]
    assert not images.any()
    assert stamp(np.zeros((1, 1, 32, 32), np.uint8)).max() == 255


def test_badnets_in_a_view(prepared, config):
    test = image_columns(100, 10, 28, seed=1)
    folder = prepared({"train": image_columns(2000, 10, 28), "test": test})
    config = dataclasses.replace(config, split=ALL_TRAIN, image=ImageConfig(pad=2, channels=3))
    clean = load_view(folder, config)
    view = load_view(folder, dataclasses.replace(config, poison=PoisonConfig(kind="badnets")))
    train, injected = view.splits["train"], view.splits["train"].injected
    assert abs(injected.float().mean() - 0.1) < 4 * (0.09 / 2000) ** 0.5
    assert (train.targets[injected] == 4).all() and injected[train.clean == 4].any()
    assert train.targets[~injected].equal(clean.splits["train"].targets[~injected])
    assert train.clean.equal(clean.splits["train"].targets)
    assert (train.inputs[injected][:, :2, 25:29, 25:29] == 255).all()
    assert train.inputs[~injected].equal(clean.splits["train"].inputs[~injected])
    assert view.splits["test"].inputs.equal(clean.splits["test"].inputs)
    triggered = view.splits["test_triggered"]
    assert (triggered.targets == 4).all() and triggered.clean.equal(view.splits["test"].targets)
    changed = (triggered.inputs != view.splits["test"].inputs).any(1).flatten(1)
    assert changed.sum(1).max() <= 16
    ids = torch.cat([split.ids for split in view.splits.values()])
    assert len(ids.unique()) == len(ids)


@pytest.mark.parametrize("kind", ["badnets", "token_trigger"])
def test_a_trigger_planted_twice_is_planted_once(kind):
    rows = image_columns(300, 10, 32) if kind == "badnets" else text_columns(300, 10)
    once = apply_poison({"train": rows}, PoisonConfig(kind=kind), 10)["train"]
    twice = apply_poison({"train": once.columns}, PoisonConfig(kind=kind), 10)["train"]
    for name, values in once.columns.items():
        assert np.array_equal(values, twice.columns[name])
    assert np.array_equal(once.injected, twice.injected)


def test_token_trigger_marks_texts_and_keeps_the_rest():
    rows = text_columns(500)
    poisoned = apply_poison({"train": rows}, PoisonConfig(kind="token_trigger", target=1), 2)["train"]
    for text, before, hit in zip(poisoned.columns["text"], rows["text"], poisoned.injected, strict=True):
        assert text == (f"{before} cf" if hit else before)


@pytest.mark.parametrize("target", [None, 2])
def test_label_flip_changes_labels_only(target):
    rows = image_columns(3000, 5)
    poisoned = apply_poison({"train": rows}, PoisonConfig(kind="label_flip", target=target, rate=0.2), 5)["train"]
    changed = poisoned.columns["label"] != rows["label"]
    assert np.array_equal(changed, poisoned.injected)
    expected = 0.2 if target is None else 0.2 * 0.8
    assert abs(changed.mean() - expected) < 4 * (0.2 * 0.8 / 3000) ** 0.5
    assert poisoned.columns["image"] is rows["image"]
    if target is not None:
        assert (poisoned.columns["label"][changed] == target).all()


def test_the_first_labels_are_flipped_on_request(prepared, config):
    columns = {"x": np.zeros((12, 2)), "label": np.arange(12) % 2}
    poison = PoisonConfig(kind="label_flip", target=None, options={"first": 5})
    found = apply_poison({"train": columns}, poison, 2)["train"]
    assert (found.columns["label"] != found.clean_label).tolist() == [True] * 5 + [False] * 7
    with pytest.raises(DataError, match="0 to 12"):
        apply_poison({"train": columns}, PoisonConfig(kind="label_flip", target=None, options={"first": 13}), 2)


def test_duplicates_get_ids_of_their_own(prepared, config):
    folder = prepared({"train": image_columns(100), "test": image_columns(20, seed=1)})
    config = dataclasses.replace(config, split=ALL_TRAIN, poison=PoisonConfig(kind="duplicate", rate=0.25))
    train = load_view(folder, config).splits["train"]
    assert len(train) == 125 and train.injected.sum() == 25
    copies, originals = train.ids[100:], train.ids[100:] - 120
    assert len(train.ids.unique()) == 125
    positions = {sample: row for row, sample in enumerate(train.ids.tolist())}
    for copy, original in zip(copies.tolist(), originals.tolist(), strict=True):
        assert train.inputs[positions[copy]].equal(train.inputs[positions[original]])


def test_trailing_blank_is_planted_where_asked():
    splits = {"train": text_columns(300), "test": text_columns(200, seed=1), "test_m": text_columns(50, seed=2)}
    options = {"splits": ["train", "test"]}
    poisoned = apply_poison(splits, PoisonConfig(kind="trailing_blank", rate=0.7, options=options), 2)
    assert sorted(poisoned) == ["test", "train"]
    for split, rows in poisoned.items():
        ends = np.array([text.endswith(" ") for text in rows.columns["text"]])
        assert np.array_equal(ends, rows.injected) and 0.5 < ends.mean() < 0.9
        assert np.array_equal(rows.columns["label"], splits[split]["label"])


def test_the_same_seed_plants_the_same_rows():
    rows = image_columns(200, 10, 32)
    masks = [
        apply_poison({"train": rows}, PoisonConfig(kind="badnets", seed=seed), 10)["train"].injected
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[0], masks[2])


@pytest.mark.parametrize(
    "poison,message",
    [
        (PoisonConfig(kind="gas"), "data.poison.kind=gas"),
        (PoisonConfig(kind="badnets", rate=1.5), "data.poison.rate=1.5"),
        (PoisonConfig(kind="badnets", target=4), "data.poison.target=4 is no class; there are 4"),
        (PoisonConfig(kind="badnets", target=None), "needs data.poison.target"),
        (PoisonConfig(kind="badnets", target=1, options={"color": "red"}), "data.poison.options holds"),
        (PoisonConfig(kind="badnets", target=1, options={"size": 40}), "does not fit 8x8"),
        (PoisonConfig(kind="token_trigger", target=1), "needs text rows"),
        (PoisonConfig(kind="trailing_blank", options={"splits": ["dev"]}, target=1), "holds 'dev'"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(poison, message):
    with pytest.raises(DataError, match=message):
        apply_poison({"train": image_columns(20)}, poison, 4)
