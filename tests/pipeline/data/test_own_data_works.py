"""Images, tables of texts and tables of numbers of one's own are read as they are, whatever they are called."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from pipeline.config.data import DataConfig, PathConfig, ReadConfig
from pipeline.data import load_view, prepare_dataset, source_identity
from pipeline.data.datamodule import DataModule
from pipeline.data.sources.pictures import decode_images
from tests.pipeline.data.made_rows import png
from tests.pipeline.data.own_files import CLASSES, flowers, picture, verdicts, write_photos

TABLE = PathConfig(format="table", delimiter="auto")


@pytest.fixture
def view(tmp_path):
    """Function from a configuration to its view, and to the module that gives its batches."""

    def made(config):
        out = tmp_path / "out"
        out.mkdir()
        prepare_dataset(config, out, tmp_path)
        return load_view(out, config), DataModule.load(out, config, tmp_path)

    return made


def images(train, **options):
    path = PathConfig(train=str(train), test=options.pop("test", None))
    return DataConfig("photos", "image", "own", path=path, read=ReadConfig(labels="auto"), normalize="train", **options)


def table(tmp_path, content, name="rows.data", **options):
    (tmp_path / name).write_text(content, encoding="utf-8")
    path = dataclasses.replace(TABLE, train=str(tmp_path / name))
    return DataConfig("rows", "table", "own", path=path, read=ReadConfig(labels="auto"), **options)


def test_folders_name_the_classes_and_training_rows_normalize_the_channels(tmp_path, view):
    photos = write_photos(tmp_path / "own photos", train=5)
    (photos / "train" / "cat" / "deeper").mkdir()
    picture(0, 99).save(photos / "train" / "cat" / "deeper" / "x.png")
    (photos / "train" / ".DS_Store").write_text("litter")
    (photos / "train" / "cat" / "Thumbs.db").write_text("litter")
    rows, data = view(images(photos / "train", test=str(photos / "test")))
    assert rows.class_names == list(CLASSES) and data.n_targets == 3
    assert sum(len(one) for one in rows.splits.values()) == 22
    channels = data.kernel_inputs("train").inputs.double()
    assert np.allclose(channels.mean((0, 2, 3)), 0, atol=1e-6)
    assert np.allclose(channels.std((0, 2, 3), correction=0), 1, atol=1e-6)
    assert data.config.image.mean == rows.scale[0]


def test_validation_rows_of_ones_own_are_used_as_they_are(tmp_path, view):
    photos = write_photos(tmp_path / "own photos", train=5)
    for name in CLASSES:
        (photos / "val" / name).mkdir(parents=True)
        for row in range(3):
            picture(CLASSES.index(name), 200 + row).save(photos / "val" / name / f"{row}.png")
    copied = photos / "train" / "cat" / "copy.png"
    copied.write_bytes((photos / "val" / "cat" / "0.png").read_bytes())
    config = images(photos / "train", test=str(photos / "test"))
    assert set(source_identity(config)["files"]) == {"train", "test"}
    config = dataclasses.replace(config, path=dataclasses.replace(config.path, val=str(photos / "val")))
    assert set(source_identity(config)["files"]) == {"train", "test", "val"}
    rows, _ = view(config)
    assert {split: len(one) for split, one in rows.splits.items()} == {"train": 15, "val": 9, "test": 6}
    assert rows.report["drops"] == {"training row also in the test or validation rows": 1}


def test_validation_rows_that_are_also_test_rows_are_left_out(tmp_path, view):
    photos = write_photos(tmp_path / "own photos", train=5)
    write_photos(tmp_path / "others", train=1, test=0)
    for name in CLASSES:
        same = (photos / "test" / name / "000.png").read_bytes()
        (tmp_path / "others" / "train" / name / "same.png").write_bytes(same)
        picture(CLASSES.index(name), 300).save(tmp_path / "others" / "train" / name / "000.png")
    config = images(photos / "train", test=str(photos / "test"))
    rows, _ = view(
        dataclasses.replace(config, path=dataclasses.replace(config.path, val=str(tmp_path / "others" / "train")))
    )
    assert len(rows.splits["val"]) == 3
    assert rows.report["drops"] == {"validation row also in a test split": 3}


def test_rows_left_out_of_training_do_not_move_the_normalization(tmp_path, view):
    photos = write_photos(tmp_path / "photos", train=6)
    config = images(photos / "train", test=str(photos / "test"))
    whole, _ = view(config)
    dropped = load_view(tmp_path / "out", dataclasses.replace(config, drop=whole.splits["train"].ids[:3].tolist()))
    assert dropped.scale == whole.scale and len(dropped.splits["train"]) == len(whole.splits["train"]) - 3
    given = dataclasses.replace(config, image=dataclasses.replace(config.image, mean=[0.5]))
    data = DataModule.load(tmp_path / "out", given, tmp_path)
    assert data.config.image.mean == [0.5] and data.config.image.std == whole.scale[1]


def test_classes_called_by_numbers_are_in_the_order_of_the_numbers(tmp_path, view):
    photos = write_photos(tmp_path / "photos", classes=("1", "2", "10"))
    rows, _ = view(images(photos / "train", test=str(photos / "test")))
    assert rows.class_names == ["1", "2", "10"]


def test_gray_images_among_color_ones_get_three_equal_channels(tmp_path, view):
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8)
    first = decode_images([png(gray), png(np.asarray(picture(1))), png(gray)])
    assert first.shape == (3, 3, 8, 8) and (first[0] == gray).all() and (first[2] == gray).all()
    photos = write_photos(tmp_path / "photos")
    for place in (photos / "test").rglob("*.png"):
        Image.open(place).convert("L").save(place)
    rows, _ = view(images(photos / "train", test=str(photos / "test")))
    assert rows.splits["test"].inputs.shape == (6, 3, 8, 8)


def test_what_is_behind_transparent_pixels_is_what_the_setting_says():
    clear = picture(0).convert("RGBA")
    clear.putpixel((0, 0), (0, 0, 0, 0))
    for value in (0, 255):
        import io

        stream = io.BytesIO()
        clear.save(stream, "PNG")
        pixels = decode_images([stream.getvalue()], read=ReadConfig(background=value))[0]
        assert (pixels[:, 0, 0] == value).all()
        assert np.array_equal(pixels[:, 1:], np.asarray(picture(0)).transpose(2, 0, 1)[:, 1:])


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_files_are_told_by_their_content_and_not_by_their_names(tmp_path, view, form):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pixels = np.stack([np.asarray(picture(row % 3, row)) for row in range(30)])
    words = [CLASSES[row % 3] for row in range(30)]
    place = tmp_path / "rows.csv"
    if form == "npz":
        with place.open("wb") as stream:
            np.savez(stream, image=pixels, label=words)
    else:
        pq.write_table(pa.table({"image": [png(one) for one in pixels], "label": words}), place)
    rows, _ = view(images(place))
    assert rows.class_names == list(CLASSES) and rows.splits["train"].inputs.shape[1:] == (3, 8, 8)


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_texts_with_words_for_labels_need_their_names_alone(tmp_path, view, between):
    columns = {"text": "sentence", "label": "verdict"}
    rows, _ = view(table(tmp_path, verdicts(between=between), columns=columns))
    assert rows.kind == "text" and rows.class_names == ["no", "yes"]
    assert rows.splits["train"].inputs[0].startswith("a ")


def test_json_lines_and_parquet_hold_the_same_rows_as_the_csv(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = [line.split(",") for line in flowers().splitlines()[1:]]
    rows = [{"height": float(a), "width": int(b), "species": c, "extra": None} for a, b, c in lines]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "rows.csv").write_text(flowers(), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows).drop(["extra"]), tmp_path / "rows.parquet")
    found = set()
    for name in ("rows.jsonl", "rows.csv", "rows.parquet"):
        out = tmp_path / f"out {name}"
        out.mkdir()
        path = dataclasses.replace(TABLE, train=str(tmp_path / name))
        columns = {"x": ["width", "height"], "label": "species"}
        config = DataConfig("rows", "table", "own", columns=columns, path=path, read=ReadConfig(labels="auto"))
        found.add(prepare_dataset(config, out, tmp_path)["fingerprint"])
    assert len(found) == 1


def test_columns_of_numbers_are_one_vector_of_mean_zero_and_deviation_one(tmp_path, view):
    rows, data = view(table(tmp_path, flowers(), columns={"x": "all", "label": "species"}, normalize="train"))
    assert rows.kind == "vector" and rows.class_names == ["iris", "rose", "tulip"] and data.input_shape == (2,)
    vectors = data.kernel_inputs("train").inputs.double()
    assert np.allclose(vectors.mean(0), 0, atol=1e-6) and np.allclose(vectors.std(0, correction=0), 1, atol=1e-6)
    assert rows.splits["train"].inputs.max() > 10, "the stored rows are as they were"


def test_columns_of_every_file_are_read_in_the_order_of_the_first(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("a,b,label\n1,10,x\n2,20,y\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("label,b,extra,a\nx,30,9,3\ny,40,9,4\n", encoding="utf-8")
    path = dataclasses.replace(TABLE, train=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv"))
    config = DataConfig("rows", "table", "own", columns={"x": "all"}, path=path, read=ReadConfig(labels="auto"))
    (tmp_path / "out").mkdir()
    prepare_dataset(config, tmp_path / "out", tmp_path)
    from pipeline.data.records import load_records

    records, _ = load_records(tmp_path / "out")
    assert records.splits["test"]["x"].tolist() == [[3, 30], [4, 40]]
    assert "extra is not read" in capsys.readouterr().err


def test_numbers_of_rows_are_no_column_of_the_vector(tmp_path, view, capsys):
    lines = flowers().splitlines()
    indexed = "\n".join([f",{lines[0]}", *(f"{row},{line}" for row, line in enumerate(lines[1:]))])
    rows, _ = view(table(tmp_path, indexed, columns={"x": "all", "label": "species"}))
    assert rows.splits["train"].inputs.shape[1:] == (2,)
    assert "the column '' has no name of its own" in capsys.readouterr().err


def test_the_index_of_a_shuffled_frame_is_no_column_of_the_vector(tmp_path, view):
    import io

    import pandas as pd

    pd.read_csv(io.StringIO(flowers())).sample(frac=1, random_state=0).to_parquet(tmp_path / "rows.parquet")
    path = dataclasses.replace(TABLE, train=str(tmp_path / "rows.parquet"))
    columns = {"x": "all", "label": "species"}
    rows, _ = view(DataConfig("rows", "table", "own", columns=columns, path=path, read=ReadConfig(labels="auto")))
    assert rows.splits["train"].inputs.shape[1:] == (2,)


@pytest.mark.parametrize("power", ["e300", "e-200"])
def test_columns_of_huge_and_tiny_numbers_have_deviation_one(tmp_path, view, power):
    content = "a,b\n" + "".join(f"{row}{power},{'uv'[row % 2]}\n" for row in range(1, 31))
    _, data = view(table(tmp_path, content, columns={"x": "a", "label": "b"}, normalize="train"))
    vectors = data.kernel_inputs("train").inputs.double()
    assert np.allclose(vectors.mean(0), 0, atol=1e-6) and np.allclose(vectors.std(0, correction=0), 1, atol=1e-6)


def test_targets_that_are_no_classes_are_read_as_real_numbers(tmp_path, view):
    config = table(tmp_path, flowers(), columns={"x": "height", "y": "width"})
    rows, data = view(dataclasses.replace(config, path=dataclasses.replace(config.path, test=config.path.train)))
    assert rows.n_classes == 0 and data.n_targets == 1 and rows.splits["train"].inputs.shape == (60, 1)


def test_a_name_with_blanks_is_printed_as_it_is_typed():
    from pipeline.data.sources.reading import columns_way
    from pipeline.engine.cells import compose_run

    names = {"text": "my text: long", "label": 'the "label"', "group": "a\\b"}
    typed = columns_way(names)
    assert compose_run(("data=table", typed.strip("'"))).data.columns == names


def test_an_existing_spelling_reads_a_folder_through_the_hub_library():
    assert DataConfig("x", "image", "own").source == "path"
    from pipeline.config.data import HubConfig

    assert DataConfig("x", "image", "own", hub=HubConfig(id="photos")).source == "hub"
    assert DataConfig("x", "image", "own", hub=HubConfig(id="photos"), path=PathConfig(train="a")).source == "path"
    assert (DataConfig("x", "table").kind, DataConfig("x", "table", columns={"x": "all"}).kind) == ("text", "vector")
