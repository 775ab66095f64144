"""An identity names the rows without reading them: it follows content, not place, and imports nothing heavy."""

import dataclasses
import shutil
import subprocess
import sys

import pytest

from pipeline.config.data import DataConfig, HubConfig, PackagedConfig, PathConfig, SubsetConfig, SyntheticConfig
from pipeline.data import source_identity
from pipeline.data.errors import DataError


def path_config(**files):
    return DataConfig(name="made", source="path", path=PathConfig(**{k: str(v) for k, v in files.items()}))


def test_a_moved_file_keeps_its_identity_and_a_changed_one_does_not(tmp_path):
    one, other = tmp_path / "a.parquet", tmp_path / "moved" / "b.parquet"
    one.write_bytes(b"rows")
    other.parent.mkdir()
    shutil.copy(one, other)
    first = source_identity(path_config(train=one))
    assert first == source_identity(path_config(train=other))
    one.write_bytes(b"ROWS!")
    assert first != source_identity(path_config(train=one))
    assert first != source_identity(path_config(test=other))


def test_the_labels_beside_an_idx_file_are_part_of_it(tmp_path):
    images, labels = tmp_path / "t-images-idx3-ubyte", tmp_path / "t-labels-idx1-ubyte"
    images.write_bytes(b"images")
    labels.write_bytes(b"labels")
    first = source_identity(path_config(train=images))
    labels.write_bytes(b"other")
    assert source_identity(path_config(train=images)) != first


def test_the_view_is_no_part_of_it():
    config = DataConfig(name="f", packaged=PackagedConfig(name="fashion_mnist"))
    other = dataclasses.replace(config, data_seed=5, subset=SubsetConfig(per_class=3))
    assert source_identity(config) == source_identity(other)


@pytest.mark.parametrize(
    "one,other",
    [
        (HubConfig(id="a/b", revision="1" * 40), HubConfig(id="a/b", revision="2" * 40)),
        (HubConfig("a/b", None, "1" * 40, label_map={0: 0}), HubConfig("a/b", None, "1" * 40, label_map={0: 1})),
        (SyntheticConfig("exp_sin"), SyntheticConfig("exp_3x")),
        (SyntheticConfig("teacher", seed=0), SyntheticConfig("teacher", seed=1)),
    ],
)
def test_other_parameters_are_other_rows(one, other):
    name = "hub" if isinstance(one, HubConfig) else "synthetic"
    made = [source_identity(DataConfig(name="x", source=name, **{name: value})) for value in (one, other)]
    assert made[0] != made[1]


def test_it_imports_no_heavy_module():
    code = (
        "import sys; from pipeline.data import source_identity; from pipeline.config.data import *;"
        "source_identity(DataConfig(packaged=PackagedConfig(name='fashion_mnist')));"
        "print([m for m in ('torch', 'datasets', 'transformers', 'numpy', 'pyarrow', 'ssl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "config,message",
    [
        (
            DataConfig(name="x", packaged=PackagedConfig(name="imagenet")),
            "data.packaged.name=imagenet is not one of fashion_mnist",
        ),
        (DataConfig(name="x", source="hub"), "needs data.hub.id"),
        (DataConfig(name="x", source="path"), "needs data.path.train=FILE"),
        (DataConfig(name="x", source="ftp"), "is not one of packaged, hub, path, own, synthetic"),
        (DataConfig(name="x", source="path", path=PathConfig(train="no/file_*")), "there is no file no/file_"),
        (DataConfig(name="x", source="path", path=PathConfig(train="docs/*.png")), "is an image file; .* data=images"),
        (DataConfig(name="x", source="path", path=PathConfig(extra={"val": "f"})), "names of their own"),
    ],
)
def test_incomplete_sources_are_refused(config, message):
    with pytest.raises(DataError, match=message):
        source_identity(config)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rows.JSON", "JSON is not read; write it as JSON lines"),
        ("rows.jsonl.gz", "is compressed; unpack it"),
        ("rows.xlsx", "save the sheet as csv"),
        ("rows.npy", "into one npz file"),
        ("rows.pkl", "pickles can run code"),
        ("rows.csv.gz", "is compressed; unpack it"),
    ],
)
def test_a_format_that_is_not_read_is_named_with_what_helps(tmp_path, name, words):
    (tmp_path / name).write_bytes(b"[]")
    config = DataConfig(name="x", kind="text", source="path", path=PathConfig(train=str(tmp_path / name)))
    with pytest.raises(DataError, match=words) as refused:
        source_identity(config)
    assert "unpack" in words or "cifar_binary, csv, idx, jsonl, lines, npz, parquet" in str(refused.value)
