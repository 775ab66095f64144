"""One schema whatever the source: hub columns, files and generators all end as the same canonical rows."""

import csv
import dataclasses
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.data import DataConfig, HubConfig, PathConfig, SplitConfig, SyntheticConfig
from pipeline.data import load_view, prepare_dataset
from pipeline.data.datamodule import DataModule
from pipeline.data.prepare import load_source
from pipeline.data.records import fingerprint, load_records
from tests.pipeline.data.made_rows import png, sentences

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(12) % 4


def write_parquet(path, columns, features=None):
    import datasets

    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


@pytest.fixture
def hub_folder(tmp_path):
    """A repository on disk in the layout of the hub, which ``load_dataset`` reads without a network."""
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


def hub(folder, kind, **options):
    options.setdefault("splits", {"train": "train", "test": "test"})
    return DataConfig(name="made", kind=kind, source="hub", hub=HubConfig(id=str(folder), **options))


def image_files(tmp_path):
    """The same twelve images in every file format."""
    import datasets

    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list("abcd"))})
    encoded = [{"bytes": png(image), "path": None} for image in PIXELS]
    write_parquet(tmp_path / "a.parquet", {"img": encoded, "label": LABELS.tolist()}, features)
    np.savez(tmp_path / "a.npz", image=PIXELS, label=LABELS)
    planes = PIXELS.transpose(0, 3, 1, 2)
    (tmp_path / "a_1.bin").write_bytes(b"".join(bytes([LABELS[i]]) + planes[i].tobytes() for i in range(5)))
    (tmp_path / "a_2.bin").write_bytes(b"".join(bytes([LABELS[i]]) + planes[i].tobytes() for i in range(5, 12)))
    return {
        "parquet": PathConfig(train=str(tmp_path / "a.parquet"), rename={"img": "image"}),
        "npz": PathConfig(train=str(tmp_path / "a.npz"), format="npz"),
        "cifar_binary": PathConfig(train=str(tmp_path / "a_*.bin"), format="cifar_binary"),
    }


@pytest.mark.parametrize("form", ["parquet", "npz", "cifar_binary"])
def test_image_files_of_every_format_give_the_same_rows(tmp_path, form):
    config = DataConfig(name="made", source="path", path=image_files(tmp_path)[form])
    train = load_source(config, tmp_path).splits["train"]
    assert np.array_equal(train["image"], PIXELS.transpose(0, 3, 1, 2))
    assert np.array_equal(train["label"], LABELS) and train["label"].dtype == np.int64


def test_idx_files_find_their_labels(tmp_path):
    gray = PIXELS[..., 0]
    header = b"\0\0\x08\3" + struct.pack(">3I", *gray.shape)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + gray.tobytes()))
    labels = b"\0\0\x08\1" + struct.pack(">I", 12) + LABELS.astype(np.uint8).tobytes()
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    path = PathConfig(train=str(tmp_path / "train-images-idx3-ubyte.gz"), format="idx")
    train = load_source(DataConfig(name="made", source="path", path=path), tmp_path).splits["train"]
    assert np.array_equal(train["image"][:, 0], gray) and np.array_equal(train["label"], LABELS)


def test_cifar10_as_the_hub_delivers_it(hub_folder, tmp_path):
    import datasets

    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list("abcd"))})
    encoded = [{"bytes": png(image), "path": None} for image in PIXELS]
    for split in ("train", "test"):
        write_parquet(hub_folder / f"{split}.parquet", {"img": encoded, "label": LABELS.tolist()}, features)
    records = load_source(hub(hub_folder, "image", rename={"img": "image"}), tmp_path)
    assert records.class_names == list("abcd")
    assert np.array_equal(records.splits["test"]["image"], PIXELS.transpose(0, 3, 1, 2))


def test_cola_as_the_hub_delivers_it(hub_folder, tmp_path):
    for split, labels in (("train", [0, 1, 1]), ("validation", [1, 0, 1]), ("test", [-1, -1, -1])):
        rows = {"sentence": sentences(3, len(split)), "label": labels, "idx": [0, 1, 2]}
        write_parquet(hub_folder / f"{split}.parquet", rows)
    config = hub(hub_folder, "text", rename={"sentence": "text"}, splits={"train": "train", "test": "validation"})
    records = load_source(config, tmp_path)
    assert set(records.splits["train"]) == {"text", "label", "domain"}
    assert records.splits["test"]["label"].tolist() == [1, 0, 1]


def test_sentiment140_labels_are_mapped_and_neutral_rows_counted(hub_folder, tmp_path):
    rows = {"text": sentences(5), "sentiment": [0, 4, 2, 4, 0], "user": list("uvwxy"), "query": ["q"] * 5}
    for split in ("train", "test"):
        write_parquet(hub_folder / f"{split}.parquet", rows)
    config = hub(hub_folder, "text", rename={"sentiment": "label", "user": "group"}, label_map={0: 0, 4: 1})
    records = load_source(config, tmp_path)
    assert records.splits["train"]["label"].tolist() == [0, 1, 1, 0]
    assert records.splits["train"]["group"] == ["u", "v", "x", "y"]
    assert records.drops == {"label outside the map (train)": 1, "label outside the map (test)": 1}


def test_original_sentiment140_and_cola_files(tmp_path):
    texts = ["caf\u00e9 is nice ", "it is not", "who knows"]
    with (tmp_path / "p.csv").open("w", encoding="latin-1", newline="") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
        writer.writerows(
            [polarity, i, "d", "q", f"u{i}", text] for i, (polarity, text) in enumerate(zip("402", texts, strict=True))
        )
    path = PathConfig(train=str(tmp_path / "p.csv"), format="sentiment140_csv")
    train = load_source(DataConfig(name="made", kind="text", source="path", path=path), tmp_path).splits["train"]
    assert train["text"] == texts[:2] and train["label"].tolist() == [1, 0] and train["group"] == ["u0", "u1"]

    (tmp_path / "out_of_domain_dev.tsv").write_text('c\t0\t*\tHim "go.\nc\t1\t\tHe went.\n')
    path = PathConfig(train=str(tmp_path / "out_of_domain_dev.tsv"), format="cola_tsv")
    train = load_source(DataConfig(name="made", kind="text", source="path", path=path), tmp_path).splits["train"]
    assert train == {"text": ['Him "go.', "He went."], "label": pytest.approx([0, 1]), "domain": ["out", "out"]}


def test_own_text_files_become_two_unlabeled_sides(tmp_path):
    for side in ("reference", "sample"):
        (tmp_path / f"{side}.txt").write_text("\n".join(sentences(30, len(side))) + "\n\n")
    extra = {side: str(tmp_path / f"{side}.txt") for side in ("reference", "sample")}
    config = DataConfig(name="texts", kind="text", source="path", path=PathConfig(extra=extra, format="lines"))
    (tmp_path / "prepared").mkdir()
    metrics = prepare_dataset(config, tmp_path / "prepared", tmp_path)
    assert metrics["drops"] == {"empty text (reference)": 1, "empty text (sample)": 1}
    view = load_view(tmp_path / "prepared", config)
    assert {split: len(rows) for split, rows in view.splits.items()} == {"reference": 30, "sample": 30}
    assert view.n_classes == 0 and view.splits["sample"].domain == ["sample"] * 30


@pytest.mark.parametrize("function,shape", [("exp_sin", (1,)), ("parabola", (2,)), ("teacher", (16,))])
def test_generated_data_reach_the_data_module(tmp_path, function, shape):
    options = {"features": 16} if function == "teacher" else {}
    synthetic = SyntheticConfig(function=function, n_train=40, n_test=30, options=options)
    split = SplitConfig(val=0.0, leaks="keep")
    config = DataConfig(name="made", kind="vector", source="synthetic", synthetic=synthetic, split=split)
    prepare_dataset(config, tmp_path, tmp_path)
    data = DataModule.load(tmp_path, config, tmp_path)
    assert data.input_shape == shape
    batch = data.batch("train", [0, 1])
    assert set(batch) == {"x", "id", "label" if function == "parabola" else "y"}
    if function == "teacher":
        directions = data.view.constants["directions"]
        assert directions.shape == (1, 16) and abs(float(directions.norm()) - 1) < 1e-12


def test_published_grids():
    from pipeline.data.sources.synthetic import load_synthetic

    records = load_synthetic(SyntheticConfig(function="exp_sin"))
    train, test = records.splits["train"], records.splits["test"]
    assert train["x"][[0, -1], 0] == pytest.approx([-1, 1 - 2 / 200])
    assert test["x"][::3] == pytest.approx(train["x"])
    assert train["y"] == pytest.approx(np.exp(np.sin(2 * np.pi * train["x"])))
    toy = load_synthetic(SyntheticConfig(function="parabola"))
    assert toy.counts() == {"train": 96, "test": 506}
    assert round(float(toy.splits["test"]["label"].mean()), 3) == 0.540


def test_teacher_draws_follow_their_seed():
    from pipeline.data.sources.synthetic import load_synthetic

    made = [
        fingerprint(load_synthetic(SyntheticConfig("teacher", 20, 10, seed, {"features": 5}))) for seed in (0, 0, 1)
    ]
    assert made[0] == made[1] != made[2]


def test_fingerprint_follows_content_not_place(tmp_path):
    records = [
        load_source(DataConfig(name="made", source="path", path=path), tmp_path)
        for path in image_files(tmp_path).values()
    ]
    assert len({fingerprint(made) for made in records}) == 1
    changed = dataclasses.replace(records[0])
    changed.splits["train"]["image"] = changed.splits["train"]["image"].copy()
    changed.splits["train"]["image"][3, 0, 0, 0] ^= 1
    assert fingerprint(changed) != fingerprint(records[1])


def test_stored_rows_read_back_and_prepare_is_deterministic(tmp_path):
    config = DataConfig(name="made", source="path", path=image_files(tmp_path)["npz"])
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        metrics = prepare_dataset(config, folder, tmp_path)
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()
    records, described = load_records(folders[0])
    assert described["fingerprint"] == metrics["fingerprint"] == fingerprint(records)
    assert metrics["labels"] == {"train": {"0": 3, "1": 3, "2": 3, "3": 3}}
    assert Path(folders[0] / "dataset.json").read_text().endswith("}\n")
