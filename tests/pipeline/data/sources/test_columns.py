"""Columns keep their names, types and rows, over all files of a split."""

import numpy as np
import pytest

from pipeline.config.data import DataConfig, PathConfig
from pipeline.data import prepare_dataset
from pipeline.data.errors import DataError
from pipeline.data.sources.files import load_path
from tests.pipeline.data.made_rows import png, sentences


@pytest.fixture
def write(tmp_path):
    """Function that writes a Parquet file and returns its path."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def made(name, columns, **replaced):
        table = columns if isinstance(columns, pa.Table) else pa.table({**columns, **replaced})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        return str(tmp_path / f"{name}.parquet")

    return made


TEXTS = {"text": sentences(4), "label": [0, 1, 0, 1]}
IMAGES = {"image": [png(np.full((8, 8), row, np.uint8)) for row in range(4)], "label": [0, 1, 0, 1]}


def load(path, kind="text", **options):
    return load_path(PathConfig(train=path, **options), kind).splits["train"]


def test_a_rename_that_makes_two_columns_of_one_name_is_refused(write):
    path = write("t", TEXTS, fine=[0, 1, 2, 2])
    with pytest.raises(
        DataError, match="makes fine the column label, but so is label.*'data.path.rename={label: other}'"
    ):
        load(path, rename={"fine": "label"})
    assert load(path, rename={"fine": "label", "label": "other"})["label"].tolist() == [0, 1, 2, 2]
    with pytest.raises(DataError, match="rename names the column user, but there is text, label"):
        load(path, rename={"user": "group"})


def test_bytes_are_read_as_utf8_and_other_types_are_refused(write):
    import pyarrow as pa

    assert (
        load(write("b", TEXTS, text=pa.array([f"row {row} \u00e9".encode() for row in range(4)])))["text"][0]
        == "row 0 \u00e9"
    )
    with pytest.raises(DataError, match="column 'text', row 1: not valid UTF-8"):
        load(write("c", TEXTS, text=[b"fine", b"\xff", b"", b""]))
    for values, kind in (([["a"], ["b"], [], []], "list<"), ([1, 2, 3, 4], "int64"), ([1.0] * 4, "double")):
        with pytest.raises(DataError, match=f"column 'text' has type {kind}"):
            load(write("d", TEXTS, text=values))


def test_a_text_of_several_types_of_string_stays_the_same(write):
    import pyarrow as pa

    plain = pa.array(TEXTS["text"])
    for column in (plain.cast(pa.large_string()), plain.dictionary_encode(), plain.cast(pa.string_view())):
        assert load(write("s", TEXTS, text=column))["text"] == TEXTS["text"]


def test_groups_may_be_whole_numbers_but_not_fractions(write):
    assert load(write("g", TEXTS, group=[7, 8, 7, 8]))["group"] == ["7", "8", "7", "8"]
    with pytest.raises(DataError, match="column 'group' has type double"):
        load(write("h", TEXTS, group=[7.0, 8.0, 7.0, 8.0]))


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_group_that_one_file_lacks_is_refused_in_either_order(write, tmp_path, order):
    write(f"{order[0]}0", TEXTS, group=list("uvuv"))
    write(f"{order[1]}1", TEXTS)
    with pytest.raises(DataError, match=f"differ: only .*{order[0]}0.parquet has the column 'group'"):
        load(str(tmp_path / "??.parquet"))


def test_files_with_images_of_two_sizes_or_labels_of_two_types_are_refused(write, tmp_path):
    write("c0", IMAGES)
    write("c1", IMAGES, image=[png(np.zeros((5, 8), np.uint8))] * 4)
    with pytest.raises(
        DataError, match=r"differ in column 'image'.*\(1, 8, 8\).*\(1, 5, 8\).*data.read.resize=\[8,8\]"
    ):
        load(str(tmp_path / "c?.parquet"), "image")


def test_splits_with_images_of_two_sizes_are_refused(write, tmp_path):
    path = PathConfig(train=write("c0", IMAGES), test=write("c1", IMAGES, image=[png(np.zeros((5, 8), np.uint8))] * 4))
    with pytest.raises(DataError, match="splits 'train' and 'test' differ in column 'image'"):
        prepare_dataset(DataConfig("made", "image", "path", path=path), tmp_path, tmp_path)


def test_a_group_that_the_test_rows_lack_is_said(write, tmp_path, capsys):
    path = PathConfig(train=write("t", TEXTS, group=list("uvuv")), test=write("u", TEXTS, text=sentences(4, 1)))
    prepare_dataset(DataConfig("made", "text", "path", path=path), tmp_path, tmp_path)
    assert "train has the column group, test has not" in capsys.readouterr().err


def test_a_group_beside_images_is_said_to_be_unread(write, capsys):
    load(write("t", IMAGES, group=list("uvuv")), "image")
    assert "group is read for texts only" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value,message",
    [({"path": "a.png"}, "a path alone"), ("a.png", "a path alone"), (7, "a int")],
)
def test_images_without_bytes_are_refused_by_row(write, value, message):
    with pytest.raises(DataError, match=f"row 0: the image cannot be decoded: {message}"):
        load(write("i", IMAGES, image=[value] * 4), "image")


def test_damaged_parquet_files_and_hostile_names_end_in_one_printable_sentence(write, tmp_path):
    whole = (tmp_path / "x").with_name("t.parquet")
    write("t", TEXTS)
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(DataError, match="t.parquet is not a readable Parquet file"):
        load(str(whole))
    with pytest.raises(DataError) as refusal:
        load(write("e", {"text": ["a"], "\x1b]0;owned\x07\x1b[2J": [0]}))
    assert str(refusal.value).isprintable()
    with pytest.raises(DataError, match="is a Parquet file, but data.path.format=cifar_binary"):
        load(write("f", IMAGES), "image", format="cifar_binary")


def test_the_format_follows_the_name_where_none_is_set(tmp_path):
    (tmp_path / "t.csv").write_text("text;label\na;0\n", encoding="utf-8")
    assert load(str(tmp_path / "t.csv"), delimiter="semicolon")["text"] == ["a"]
    (tmp_path / "t.txt").write_text("one\ntwo\n", encoding="utf-8")
    assert load(str(tmp_path / "t.txt"))["text"] == ["one", "two"]
    (tmp_path / "t.dat").write_text("one\n", encoding="utf-8")
    with pytest.raises(DataError, match="neither content nor name tells its format; set data.path.format"):
        load(str(tmp_path / "t.dat"))
    with pytest.raises(DataError, match="data.path.delimiter is for data.path.format=csv"):
        load(str(tmp_path / "t.txt"), delimiter="tab")


@pytest.mark.parametrize(
    "arrays,message",
    [
        ({"x": np.array([["a"]]), "y": np.zeros(1)}, "array 'x' has type <U1; real numbers"),
        ({"x": np.array([[1j]]), "y": np.zeros(1)}, "array 'x' has type complex128"),
        ({"x": np.array(3.0), "y": np.zeros(1)}, "no rows"),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, "no rows"),
        ({"z": np.zeros(3)}, "holds 'z'; needed are x and label"),
    ],
)
def test_arrays_that_are_no_vectors_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(DataError, match=f"v.npz.*{message}"):
        load(str(tmp_path / "v.npz"), "vector")


def test_images_and_labels_of_idx_files_belong_together(tmp_path):
    def idx(values):
        return (
            b"\0\0\x08" + bytes([values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()
        )

    images, labels = tmp_path / "t-images-idx3-ubyte", tmp_path / "t-labels-idx1-ubyte"
    labels.write_bytes(idx(np.zeros(4, np.uint8)))
    for shape in ((4,), (3, 8, 8)):
        images.write_bytes(idx(np.zeros(shape, np.uint8)))
        with pytest.raises(DataError, match="needed are n images of height and width, and n labels"):
            load(str(images), "image")
