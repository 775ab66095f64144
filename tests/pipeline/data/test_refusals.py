"""Each thing that can be wrong with data ends in one error with counts and ways out."""

import dataclasses

import numpy as np
import pytest

from pipeline.config.data import (
    DataConfig,
    HubConfig,
    PathConfig,
    SplitConfig,
    SubsetConfig,
    SyntheticConfig,
    TextConfig,
)
from pipeline.data import load_view, prepare_dataset
from pipeline.data.errors import ContentMismatch, DataError, SourceUnavailable
from pipeline.data.prepare import load_source
from tests.pipeline.data.made_rows import image_columns, png, text_columns

COMMIT = "0" * 40


def on_disk(path, columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)
    return str(path)


def text_source(tmp_path, columns, **options):
    path = PathConfig(train=on_disk(tmp_path / "t.parquet", columns), **options)
    return DataConfig(name="made", kind="text", source="path", path=path)


def test_one_class_training_rows_of_a_truncated_copy(prepared, config):
    columns = text_columns(60)
    columns["label"] = np.zeros(60, dtype=np.int64)
    folder = prepared({"train": columns, "test": text_columns(20, seed=1)}, kind="text")
    with pytest.raises(DataError, match=r"'train' holds one class only: \{'0': 54\}.*complete file"):
        load_view(folder, config)


def test_withheld_labels_in_a_scored_split(prepared, config):
    columns = text_columns(20, seed=1)
    columns["label"] = np.full(20, -1, dtype=np.int64)
    folder = prepared({"train": text_columns(60), "test": columns}, kind="text")
    with pytest.raises(DataError, match="20 of its rows have label -1.*splits.test=validation"):
        load_view(folder, config)
    view = load_view(prepared({"train": text_columns(60), "unscored": columns}, kind="text", name="b"), config)
    assert len(view.splits["unscored"]) == 20


def test_empty_texts_are_dropped_and_counted(tmp_path):
    config = text_source(tmp_path, {"text": ["a", " ", "b", ""], "label": [0, 1, 1, 0]})
    (tmp_path / "out").mkdir()
    metrics = prepare_dataset(config, tmp_path / "out", tmp_path)
    assert metrics["drops"] == {"empty text (train)": 2} and metrics["rows"] == {"train": 2}


def test_other_content_than_promised_is_refused_and_left_alone(tmp_path):
    config = text_source(tmp_path, {"text": ["a"], "label": [0]}, sha256={"train": "ab" * 32})
    with pytest.raises(ContentMismatch, match="expected sha256 abab.*got [0-9a-f]{64} over"):
        load_source(config, tmp_path)
    assert (tmp_path / "t.parquet").exists()


def test_an_unreachable_hub_names_the_offline_ways(tmp_path, monkeypatch):
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for revision in (COMMIT, None):
        config = DataConfig(name="made", source="hub", hub=HubConfig(id="made/up", revision=revision))
        with pytest.raises(SourceUnavailable, match="data.source=packaged.*data.source=path"):
            load_source(config, tmp_path)


def test_a_script_data_set_names_the_parquet_references(tmp_path):
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("raise SystemExit\n")
    config = DataConfig(name="made", source="hub", hub=HubConfig(id=str(folder)))
    with pytest.raises(DataError, match="refs/convert/parquet"):
        load_source(config, tmp_path)


@pytest.mark.parametrize(
    "columns,message",
    [
        ({"text": ["a"], "kind": [1]}, "has no column label; it has text, kind"),
        ({"text": ["a", None], "label": [0, 1]}, "column 'text', row 1: no value"),
        ({"text": ["a"], "label": [0.5]}, "label 0.5 is not an integer"),
        ({"text": ["a"], "label": [[0, 1]]}, "is no whole number"),
        ({"text": ["a"], "label": [-2]}, "label -2 is negative"),
        ({"text": [" "], "label": [0]}, "has no rows left"),
    ],
)
def test_rows_that_break_the_schema(tmp_path, columns, message):
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=message):
        prepare_dataset(text_source(tmp_path, columns), tmp_path / "out", tmp_path)


def test_an_undecodable_image_is_named_by_its_row(tmp_path):
    good = png(np.zeros((4, 4), np.uint8))
    path = on_disk(tmp_path / "i.parquet", {"image": [good, good[:30]], "label": [0, 1]})
    with pytest.raises(DataError, match="'train', row 1: the image cannot be decoded"):
        load_source(DataConfig(name="made", source="path", path=PathConfig(train=path)), tmp_path)


def test_arrays_that_would_need_pickle_or_are_no_pixels(tmp_path):
    np.savez(tmp_path / "o.npz", image=np.array([{}], dtype=object), label=[0])
    np.savez(tmp_path / "f.npz", image=np.zeros((1, 4, 4)), label=[0])
    for name, message in (("o", "plain arrays"), ("f", "must be uint8 pixels")):
        path = PathConfig(train=str(tmp_path / f"{name}.npz"), format="npz")
        with pytest.raises(DataError, match=message):
            load_source(DataConfig(name="made", source="path", path=path), tmp_path)


@pytest.mark.parametrize(
    "path,kind,message",
    [
        (PathConfig(train="x", format="pickle"), "image", "data.path.format=pickle is not one of"),
        (PathConfig(train="x", format="idx"), "text", "holds image rows, but data.kind=text"),
    ],
)
def test_formats_that_do_not_fit(tmp_path, path, kind, message):
    with pytest.raises(DataError, match=message):
        load_source(DataConfig(name="made", kind=kind, source="path", path=path), tmp_path)


@pytest.mark.parametrize(
    "synthetic,message",
    [
        (SyntheticConfig("tan"), "data.synthetic.function=tan is not one of exp_sin"),
        (SyntheticConfig("exp_sin", 0), "data.synthetic.n_train=0 is below 1"),
        (SyntheticConfig("exp_sin", options={"grid": "log"}), "grid=log is not one of"),
        (SyntheticConfig("exp_sin", options={"noise": 1}), "options holds 'noise'; exp_sin takes grid"),
    ],
)
def test_generators_refuse_what_they_do_not_know(tmp_path, synthetic, message):
    with pytest.raises(DataError, match=message):
        load_source(DataConfig(name="made", kind="vector", source="synthetic", synthetic=synthetic), tmp_path)


def test_sample_ids_must_be_training_rows(prepared, config):
    folder = prepared({"train": image_columns(40), "test": image_columns(8, seed=1)})
    config = dataclasses.replace(config, split=SplitConfig(val=0.0))
    ids = load_view(folder, config).splits["train"].ids.tolist()
    dropped = load_view(folder, dataclasses.replace(config, drop=ids[:3])).splits["train"]
    assert dropped.ids.tolist() == ids[3:]
    kept = load_view(folder, dataclasses.replace(config, keep=ids[:5], drop=ids[:1])).splits["train"]
    assert kept.ids.tolist() == ids[1:5]
    with pytest.raises(DataError, match="1 ids that are no training rows"):
        load_view(folder, dataclasses.replace(config, drop=[10**6]))
    with pytest.raises(DataError, match="leave no training row"):
        load_view(folder, dataclasses.replace(config, keep=[]))


def test_a_folder_without_prepared_rows_and_too_few_names(tmp_path, prepared, config):
    with pytest.raises(DataError, match="run `stage=prepare` first"):
        load_view(tmp_path, config)
    folder = prepared({"train": image_columns(40)})
    with pytest.raises(DataError, match="labels up to 3 but 2 names"):
        load_view(folder, dataclasses.replace(config, class_names=["a", "b"]))
    named = dataclasses.replace(config, class_names=list("abcd"), subset=SubsetConfig(classes=[2, 0]))
    assert load_view(folder, named).class_names == ["c", "a"]


def test_tokenizers_that_cannot_be_had(tmp_path):
    from pipeline.data.tokenize import load_tokenizer

    with pytest.raises(DataError, match="is not one of gpt2, minilm, hub, path"):
        load_tokenizer(TextConfig(tokenizer="words"), tmp_path)
    with pytest.raises(DataError, match="needs data.text.tokenizer_path=FOLDER"):
        load_tokenizer(TextConfig(tokenizer="path", tokenizer_path="nowhere"), tmp_path)
    with pytest.raises(DataError, match="needs data.text.tokenizer_id"):
        load_tokenizer(TextConfig(tokenizer="hub"), tmp_path)


def test_a_tokenizer_pads_on_the_right_or_is_refused(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from pipeline.data.tokenize import load_tokenizer

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "[UNK]": 2, "[END]": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    for name, options in (("bare", {}), ("ending", {"eos_token": "[END]", "padding_side": "left"})):
        made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", **options)
        made.save_pretrained(tmp_path / name)
    with pytest.raises(DataError, match="neither a padding nor an end token"):
        load_tokenizer(TextConfig(tokenizer="path", tokenizer_path=str(tmp_path / "bare")), tmp_path)
    found = load_tokenizer(TextConfig(tokenizer="path", tokenizer_path=str(tmp_path / "ending")), tmp_path)
    assert (found.pad_token, found.padding_side) == ("[END]", "right")
