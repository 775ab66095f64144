"""Labels are classes counted from 0, or the refusal names them and what would number them."""

from decimal import Decimal

import numpy as np
import pytest

from pipeline.config.data import DataConfig, HubConfig, PathConfig, ReadConfig
from pipeline.data import load_view, prepare_dataset
from pipeline.data.errors import DataError
from pipeline.data.labels import parse_whole, read_labels
from pipeline.engine.cells import compose_run
from tests.pipeline.data.made_rows import png, sentences


def write(path, labels, kind="text", metadata=None, seed=0):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = {"text": sentences(len(labels), seed)}
    if kind == "image":
        pixels = np.random.default_rng(seed).integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
        rows = {"image": [png(image) for image in pixels]}
    table = pa.table({**rows, "label": labels})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return str(path)


@pytest.fixture
def prepare(tmp_path):
    """Function that prepares training labels (and test labels) under a configuration."""

    def run(train, test=None, names=(), label_map=None, metadata=None, **read):
        path = PathConfig(
            train=write(tmp_path / "train.parquet", train, metadata=metadata),
            test=None if test is None else write(tmp_path / "test.parquet", test, metadata=metadata, seed=1),
            label_map=label_map or {},
        )
        config = DataConfig("made", "text", "path", list(names), path=path, read=ReadConfig(**read))
        folder = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return prepare_dataset(config, folder, tmp_path), load_view(folder, config)

    return run


@pytest.mark.parametrize(
    "labels,message",
    [
        ([0.0, float("nan")], "row 1: label nan is not an integer"),
        ([0.0, float("inf")], "row 1: label inf is not an integer"),
        ([0.0, 0.5], "row 1: label 0.5 is not an integer"),
        ([0, -5], "row 1: label -5 is negative"),
        ([True, False], "row 0: label True is no whole number; data.read.labels=sorted"),
        (["0", "1"], "row 0: label '0' is no whole number; data.read.labels=sorted"),
        ([[0], [0, 1]], r"row 0: label \[0\] is no whole number"),
        ([Decimal(0), Decimal(1)], "row 0: label Decimal"),
        ([b"0", b"1"], "row 0: label b'0'"),
        ([0, 2**64 - 1], "row 1: label 18446744073709551615 is beyond 64 bits"),
        ([0, 2**70], "row 1: label 1180591620717411303424 is beyond 64 bits"),
        ([0, 1e300], "row 1: label 1e.300 is beyond 64 bits"),
        (np.zeros((3, 4)), r"labels have shape \(3, 4\)"),
        (np.array([1j, 2j]), "labels have type complex128"),
        (["\x1b[2J"], r"row 0: label '\\x1b\[2J' is no"),
    ],
)
def test_labels_that_are_no_classes_name_their_row(labels, message):
    with pytest.raises(DataError, match=f"f.parquet.*{message}"):
        read_labels(labels, "numbers", "f.parquet")


@pytest.mark.parametrize(
    "word", ["zero", "1.5", "1_000", "NaN", "inf", "1e0", "\u0661", "", "9" * 20, "9" * 5000, "-9"]
)
def test_labels_of_a_text_table_name_their_line(word):
    problem = "line 7: (label .* (is not an integer|is beyond 64 bits)|label -9 is negative|no label)"
    with pytest.raises(DataError, match=f"t.csv, {problem}"):
        parse_whole(["0", word], [2, 7], "t.csv")


def test_whole_floats_are_the_numbers_that_they_are():
    assert read_labels([0.0, 2.0, 1.0], "numbers", "f").tolist() == [0, 2, 1]
    assert parse_whole(["0.0", "2.", "1", "-1.0"], [2, 3, 4, 5], "t.csv").tolist() == [0, 2, 1, -1]


def test_a_setting_for_words_is_not_advised_for_fractions():
    with pytest.raises(DataError, match="label '0.5' is not an integer; numbers that are no classes are y"):
        parse_whole(["0.5"], [2], "t.csv")
    with pytest.raises(DataError, match="label 'no' is not an integer; data.read.labels=sorted"):
        parse_whole(["no"], [2], "t.csv")


def test_words_that_differ_in_blanks_alone_are_refused_and_in_case_alone_said(prepare, capsys):
    with pytest.raises(DataError, match="The labels ' a' and 'a' differ in blanks alone"):
        prepare(["a", " a", "b"] * 10, labels="sorted")
    with pytest.raises(DataError, match="row 1: no label"):
        prepare(["a", " ", "b"] * 10, labels="sorted")
    _, view = prepare(["a", "A"] * 10, labels="sorted")
    assert view.class_names == ["A", "a"] and "'A' and 'a' differ in case alone" in capsys.readouterr().err


def test_words_are_held_to_the_rules_of_numbers(prepare):
    with pytest.raises(DataError, match="Label 'c' occurs in the test rows but in no training row"):
        prepare(["a", "b"] * 10, ["a", "b", "c"] * 5, labels="sorted")
    with pytest.raises(DataError, match="30 of 30 training rows have labels of their own"):
        prepare([f"user {row}" for row in range(30)], labels="sorted")
    with pytest.raises(DataError, match="row 0: label b'a' is neither a word nor a whole number"):
        prepare([b"a", b"b"] * 10, labels="sorted")


def test_labels_from_one_are_refused_with_the_map_that_works_as_printed(prepare):
    with pytest.raises(DataError, match="The labels are 1, 2, 3; classes count 0, 1, 2") as refusal:
        prepare([1, 2, 3] * 10)
    printed = str(refusal.value).split("'")[1]
    config = compose_run(("data=texts", printed))
    assert printed == "data.path.label_map={1:0,2:1,3:2}" and config.data.path.label_map == {1: 0, 2: 1, 3: 2}
    metrics, _ = prepare([1, 2, 3] * 10, label_map=config.data.path.label_map)
    assert metrics["labels"] == {"train": {"0": 10, "1": 10, "2": 10}}


@pytest.mark.parametrize("values", [[1, 2, 3], [0, 2, 5], [1_000_001, 1_000_002, 300_000_000]])
def test_other_numbers_are_refused_or_numbered_in_sorted_order(prepare, values):
    with pytest.raises(DataError, match=f"labels are {', '.join(map(str, values))};.* data.read.labels=sorted"):
        prepare(values * 10)
    metrics, view = prepare(values * 10, labels="sorted")
    assert metrics["labels"] == {"train": {"0": 10, "1": 10, "2": 10}}
    assert view.class_names == [str(value) for value in values]


def test_words_are_numbered_over_all_splits_and_keep_their_names(prepare):
    metrics, view = prepare(["no", "yes", "Norway"] * 10, ["yes", "no"] * 5, labels="sorted")
    assert view.class_names == ["Norway", "no", "yes"]
    assert metrics["labels"] == {"train": {"0": 10, "1": 10, "2": 10}, "test": {"1": 5, "2": 5}}
    metrics, view = prepare([True, False] * 10, labels="sorted")
    assert view.class_names == ["False", "True"]
    with pytest.raises(DataError, match="Labels are int in one file and str in another"):
        prepare(["a", "b"] * 10, [0, 1] * 5, labels="sorted")
    with pytest.raises(DataError, match="row 1: no label"):
        prepare(["a", ""] * 10, labels="sorted")


def test_many_odd_labels_are_not_spelled_out_one_by_one(prepare):
    with pytest.raises(DataError, match=r"labels are 1, 2, .*12, \.\.\., 102; (?!.*label_map).*sorted"):
        prepare(list(range(1, 103)) * 3)


def test_an_identifier_is_no_class(prepare):
    with pytest.raises(DataError, match="60 of 60 training rows have labels of their own.*'data.columns={label: kind}"):
        prepare(list(range(60)))


def test_a_class_that_only_the_test_rows_have_is_refused(prepare):
    with pytest.raises(DataError, match="Label 2 occurs in the test rows but in no training row"):
        prepare([0, 1] * 10, [0, 1, 2] * 5)


def test_more_or_fewer_names_than_classes_are_refused_at_prepare(prepare):
    with pytest.raises(DataError, match="names 3 classes, 'a', 'b', 'c', but the rows have 2: 0, 1.*class_names=null"):
        prepare([0, 1] * 10, names="abc")
    with pytest.raises(DataError, match="labels up to 2 but 2 names"):
        prepare([0, 1, 2] * 10, names="ab")
    _, view = prepare([0, 1] * 10, names="ab")
    assert view.class_names == ["a", "b"]
    assert compose_run(("data=cifar10", "data.class_names=null")).data.class_names == []


def test_names_that_the_file_itself_gives_are_taken_and_held_against_the_configured_ones(prepare, capsys):
    kept = {"huggingface": '{"info": {"features": {"label": {"names": ["cat", "dog / wolf", "emu"]}}}}'}
    _, view = prepare([0, 1, 2] * 10, metadata=kept)
    assert view.class_names == ["cat", "dog / wolf", "emu"]
    prepare([0, 1, 2] * 10, names=["Cat", "Dog/Wolf", "Emu"], metadata=kept)
    for names in (["cat", "emu", "dog/wolf"], ["cat", "dog/wolf"], ["a", "b", "c"]):
        with pytest.raises(
            DataError, match="data set itself names 3, 'cat', 'dog / wolf', 'emu'. data.class_names=null"
        ):
            prepare([0, 1, 2] * 10, names=names, metadata=kept)
    prepare([0, 1] * 10, metadata=kept)
    assert "note: no row has the class 'emu', which the data set names" in capsys.readouterr().err


def test_a_changed_list_of_names_is_checked_again_at_the_view(prepared, config):
    import dataclasses

    from tests.pipeline.data.made_rows import image_columns

    folder = prepared({"train": image_columns(40)})
    with pytest.raises(DataError, match="names 5 classes.* but the rows have 4"):
        load_view(folder, dataclasses.replace(config, class_names=list("abcde")))


def test_rows_that_a_map_drops_are_counted_and_said(prepare, capsys):
    metrics, _ = prepare([0, 1, 2, 2] * 10, label_map={0: 0, 1: 1})
    assert metrics["drops"] == {"label outside the map (train)": 20}
    assert "note: 20 rows dropped: label outside the map (train)" in capsys.readouterr().err


def test_empty_texts_are_dropped_counted_and_named_and_a_row_without_the_column_is_refused(tmp_path, capsys):
    rows = [f"text {row},{row % 2}" for row in range(24)]
    rows[3], rows[5], rows[7], rows[9] = ",0", '"  \t",1', "nan,1", '"",0'
    (tmp_path / "made").mkdir()
    words = ("data=texts", f"data.path.train={tmp_path}/rows.csv")
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    metrics = prepare_dataset(compose_run(words).data, tmp_path / "made", tmp_path)
    assert metrics["drops"] == {"empty text (train)": 3} and metrics["rows"]["train"] == 21
    assert "note: 3 rows dropped: empty text (train), rows 3, 5, 9 counted from 0" in capsys.readouterr().err
    rows[11] = "1"
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    with pytest.raises(DataError, match="line 13: 1 field where 2 are expected"):
        prepare_dataset(compose_run(words).data, tmp_path / "made", tmp_path)


def test_a_folder_of_images_by_class_is_read_with_its_names(tmp_path):
    for split, rows in (("train", 12), ("test", 6)):
        for row in range(rows):
            folder = tmp_path / "pictures" / split / ["no", "yes"][row % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row}.png").write_bytes(png(np.full((4, 4), row, np.uint8)))
    config = DataConfig(name="made", source="hub", hub=HubConfig(id=str(tmp_path / "pictures")))
    (tmp_path / "out").mkdir()
    metrics = prepare_dataset(config, tmp_path / "out", tmp_path)
    view = load_view(tmp_path / "out", config)
    assert metrics["rows"] == {"train": 12, "test": 6} and view.class_names == ["no", "yes"]


def test_settings_of_reading_are_refused_where_they_have_no_effect(tmp_path):
    for config, message in (
        (DataConfig("made", source="packaged", read=ReadConfig(labels="sorted")), "is for data.source=path and hub"),
        (DataConfig("made", "text", "path", read=ReadConfig(resize=[8, 8])), "are for images, but data.kind=text"),
        (DataConfig("made", "image", "path", read=ReadConfig(resize=[8])), "needs two numbers"),
    ):
        with pytest.raises(DataError, match=message):
            prepare_dataset(config, tmp_path, tmp_path)
