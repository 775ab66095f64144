"""Your own rows need no new file: the README's command takes them, and what does not fit the memory is refused."""

import re
import shlex

import numpy as np
import pytest

from pipeline.data import load_view, prepare_dataset
from pipeline.data.errors import DataError
from pipeline.data.images import fit_images
from pipeline.data.sources import sizes
from pipeline.data.tokenize import encode_texts
from pipeline.engine.cells import CONF, compose_run
from tests.pipeline.data.made_rows import png
from tests.pipeline.data.own_files import flowers, verdicts, write_photos


def shown_command():
    """Overrides of the README's command for Parquet files of one's own."""
    text = (CONF.parent / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^python run.py (data=\w+ data.source=path .*parquet.*)$", text, re.MULTILINE)
    return tuple(shlex.split(found))


def own_commands():
    """Overrides of the README's commands for images and tables of one's own."""
    text = (CONF.parent / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^python run.py (data=(?:images|table) data.path.train=.*)$", text, re.MULTILINE)
    return [tuple(shlex.split(words)) for words in found]


@pytest.mark.parametrize("words", own_commands(), ids=lambda words: words[1].partition("=")[2])
def test_a_command_of_the_readme_for_own_data_works_in_a_folder_with_a_blank(tmp_path, monkeypatch, run_here, words):
    folder = tmp_path / "my own data"
    write_photos(folder / "photos", train=10)
    (folder / "train.csv").write_text(verdicts(), encoding="utf-8")
    (folder / "flowers.csv").write_text(flowers(), encoding="utf-8")
    monkeypatch.chdir(folder)
    text = "model=gpt2_tiny" in words
    stage = "stage=prepare" if text else "stage=train"  # the tokenizer comes from an archive
    made = run_here(*words, stage, "training.epochs=2", *(() if text else ("model.widths=[8]",)))
    if text:
        assert made.metrics["labels"]["train"] == {"0": 20, "1": 20}
    else:
        assert made.arrays("logits.safetensors")["test.logits"].shape[1] == 3


def test_the_readme_has_a_command_for_images_one_for_texts_and_one_for_numbers():
    assert [words[1] for words in own_commands()] == [
        "data.path.train=photos/train",
        "data.path.train=train.csv",
        "data.path.train=flowers.csv",
    ]


@pytest.mark.parametrize("names", [None, ["cat", "dog", "emu"]])
def test_the_command_of_the_readme_takes_own_images(tmp_path, monkeypatch, names):
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = names and {"huggingface": f'{{"info": {{"features": {{"label": {{"names": {names}}}}}}}}}'.replace("'", '"')}
    for split, rows, seed in (("train", 30, 0), ("test", 15, 1)):
        pixels = np.random.default_rng(seed).integers(0, 256, (rows, 8, 8, 3), dtype=np.uint8)
        table = pa.table({"image": [png(image) for image in pixels], "label": np.arange(rows) % 3})
        pq.write_table(table.replace_schema_metadata(kept), tmp_path / f"{split}.parquet")
    monkeypatch.chdir(tmp_path)
    config = compose_run(shown_command()).data
    (tmp_path / "out").mkdir()
    metrics = prepare_dataset(config, tmp_path / "out", tmp_path)
    assert metrics["rows"] == {"train": 30, "test": 15}
    assert load_view(tmp_path / "out", config).class_names == (names or ["0", "1", "2"])


def test_three_classes_are_not_called_by_the_names_of_ten_others(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    pq.write_table(
        pa.table({"image": [png(image) for image in pixels], "label": np.arange(30) % 3}), tmp_path / "t.parquet"
    )
    config = compose_run(("data=cifar10", "data.source=path", f"data.path.train={tmp_path}/t.parquet")).data
    with pytest.raises(DataError, match="names 10 classes, 'airplane'.*but the rows have 3: 0, 1, 2.*class_names=null"):
        prepare_dataset(config, tmp_path, tmp_path)


def test_views_that_do_not_fit_the_memory_are_refused_before_they_are_made(monkeypatch):
    import kernels.machine.memory as memory

    monkeypatch.setattr(memory, "available_memory", lambda: 2**30)
    with pytest.raises(DataError, match="data.image.pad=50000, .* with 7 images needs 65.2 GiB of memory"):
        fit_images(np.zeros((7, 1, 8, 8), np.uint8), 50_000, None)
    assert fit_images(np.zeros((7, 1, 8, 8), np.uint8), 2, 3).shape == (7, 3, 12, 12)
    with pytest.raises(DataError, match="data.text.max_length=1000000000, with 2 texts, needs 186.3 GiB of memory"):
        encode_texts(None, ["a", "b"], 10**9)
    assert sizes.SMALL < 2**30
