"""Batches have one form per kind of rows; only training batches with a generator are augmented."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from pipeline.config.data import ImageConfig, PoisonConfig, SplitConfig, TextConfig
from pipeline.data.datamodule import DataModule
from pipeline.data.errors import DataError
from tests.pipeline.data.made_rows import WORDS, image_columns, text_columns


@pytest.fixture
def images(prepared, config, tmp_path):
    folder = prepared({"train": image_columns(120), "test": image_columns(40, seed=1)}, class_names=list("abcd"))
    image = ImageConfig(mean=[0.5], std=[0.25], augment="crop_flip", crop_pad=2)
    return DataModule.load(folder, dataclasses.replace(config, image=image), tmp_path)


@pytest.fixture
def word_tokenizer(tmp_path):
    """A tokenizer that knows a few words, saved as transformers expects."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[UNK]", "[END]", *sorted(set(WORDS))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "tokenizer"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[END]").save_pretrained(folder)
    return str(folder)


def test_shape_of_the_data(images):
    assert images.splits == ["train", "val", "test"]
    assert (images.kind, images.n_classes, images.n_targets, images.input_shape) == ("image", 4, 4, (1, 8, 8))
    assert images.class_names == list("abcd") and images.size("train") == 108
    assert images.labels("test").tolist() == [row % 4 for row in range(40)]
    assert not images.injected("train").any()


def test_image_batches(images):
    batch = images.batch("train", [5, 0, 7])
    assert set(batch) == {"image", "label", "id"}
    assert batch["image"].dtype == torch.float32 and batch["image"].shape == (3, 1, 8, 8)
    expected = (images.split("train").inputs[5].double() / 255 - 0.5) / 0.25
    assert torch.allclose(batch["image"][0].double(), expected, atol=1e-6)
    assert batch["id"].tolist() == images.ids("train")[[5, 0, 7]].tolist()


def test_only_training_batches_with_a_generator_are_augmented(images):
    rows = torch.arange(30)
    plain = images.batch("train", rows)["image"]
    one, two = (images.batch("train", rows, torch.Generator().manual_seed(s))["image"] for s in (1, 2))
    again = images.batch("train", rows, torch.Generator().manual_seed(1))["image"]
    assert one.equal(again) and not one.equal(two) and not one.equal(plain)
    assert images.batch("test", rows, torch.Generator().manual_seed(1))["image"].equal(
        images.batch("test", rows)["image"]
    )
    assert images.kernel_inputs("train").inputs[rows].equal(plain)


def test_kernel_inputs_are_balanced_and_in_order(images):
    chosen = images.kernel_inputs("train", 20)
    assert chosen.labels.bincount().tolist() == [5, 5, 5, 5]
    positions = [images.ids("train").tolist().index(sample) for sample in chosen.ids.tolist()]
    assert positions == sorted(positions)
    assert chosen.inputs.equal(images.batch("train", positions)["image"])
    assert len(images.kernel_inputs("test", 1000).ids) == 40


def test_injected_rows_are_marked(prepared, config, tmp_path):
    folder = prepared({"train": image_columns(100, size=16), "test": image_columns(20, size=16, seed=1)})
    data = DataModule.load(folder, dataclasses.replace(config, poison=PoisonConfig(kind="badnets", target=1)), tmp_path)
    assert 0 < data.injected("train").sum() < 30 and data.injected("test_triggered").all()


def test_text_batches_are_padded_on_the_right(prepared, config, tmp_path, word_tokenizer):
    folder = prepared({"train": text_columns(40), "test": text_columns(10, seed=1)}, kind="text")
    text = TextConfig(tokenizer="path", tokenizer_path=word_tokenizer, max_length=9)
    data = DataModule.load(folder, dataclasses.replace(config, text=text), tmp_path)
    assert data.kind == "text" and data.input_shape == (9,)
    batch = data.batch("train", [3, 1])
    assert set(batch) == {"input_ids", "attention_mask", "label", "id"}
    assert batch["input_ids"].shape == (2, 9) and batch["input_ids"].dtype == torch.int64
    assert batch["attention_mask"].tolist() == [[1] * 6 + [0] * 3] * 2
    assert (batch["input_ids"][:, 6:] == data.tokenizer.pad_token_id).all()
    assert data.count_cut("train") == 0
    shorter = dataclasses.replace(data.config, text=dataclasses.replace(text, max_length=5))
    assert DataModule(data.view, shorter, tmp_path).count_cut("train") == data.size("train")
    kernel = data.kernel_inputs("test", 4)
    assert set(kernel.inputs) == {"input_ids", "attention_mask"} and kernel.labels.bincount().tolist() == [2, 2]


def test_regression_batches_take_the_asked_precision(prepared, config, tmp_path):
    x = np.linspace(-1, 1, 50)[:, None]
    folder = prepared({"train": {"x": x, "y": np.hstack([x**2, x])}}, kind="vector")
    data = DataModule.load(folder, dataclasses.replace(config, split=SplitConfig(val=0.0)), tmp_path, torch.float64)
    batch = data.batch("train", range(4))
    assert set(batch) == {"x", "y", "id"} and batch["y"].dtype == batch["x"].dtype == torch.float64
    assert (data.n_classes, data.n_targets, data.input_shape) == (0, 2, (1,))
    assert torch.equal(batch["x"], torch.from_numpy(x[:4]))
    assert data.kernel_inputs("train", 3).inputs[:, 0].tolist() == pytest.approx([-1, x[24, 0], 1])


def test_the_model_seed_changes_nothing(prepared, config, tmp_path):
    folder = prepared({"train": image_columns(60), "test": image_columns(10, seed=1)})
    seen = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        data = DataModule.load(folder, config, tmp_path)
        seen.append(json.dumps([data.ids(split).tolist() for split in data.splits]))
    assert seen[0] == seen[1]


def test_unknown_splits_and_augmentations_are_refused(images, tmp_path):
    with pytest.raises(DataError, match="no split 'dev'; it has train, val, test"):
        images.batch("dev", [0])
    config = dataclasses.replace(images.config, image=ImageConfig(augment="mixup"))
    with pytest.raises(DataError, match="data.image.augment=mixup"):
        DataModule(images.view, config, tmp_path)
