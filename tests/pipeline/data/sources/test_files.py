"""What a file holds besides rows: missing values, odd headers, compression, empty files beside full ones."""

import struct

import numpy as np
import pytest

from pipeline.config.data import PathConfig, ReadConfig
from pipeline.data.errors import DataError
from pipeline.data.sources.files import load_path

ROWS = "a,0\nb,1\n"


@pytest.mark.parametrize(
    "content,message",
    [
        ("text,label,group\na,0,g\nb,1,\n", "line 3: no group"),
        ("text,label\n", "split 'train': no rows"),
        ("Text,label\n" + ROWS, r"line 1: the columns are 'Text', 'label'.*'data.columns={text: Text}'"),
        ("text, label\n" + ROWS, "Take the blanks out of the name ' label'"),
        ("good,1\nbad,0\n", "a csv begins with a line of such names"),
        (b"\x1f\x8b\x08\0", "is compressed, which csv is not; unpack it"),
    ],
)
def test_a_csv_that_is_not_as_it_should_be_is_told_so(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        load_path(PathConfig(train=str(path)), "text")


def test_a_carriage_return_hides_no_line_of_plain_texts(tmp_path):
    (tmp_path / "t.txt").write_bytes(b"one\r\ntwo\rthree\n")
    with pytest.raises(DataError, match="t.txt, line 2: a carriage return inside the line"):
        load_path(PathConfig(train=str(tmp_path / "t.txt")), "text")


def test_a_file_without_rows_does_not_decide_the_type_of_the_others(tmp_path):
    (tmp_path / "0.csv").write_text("text,label\n", encoding="utf-8")
    (tmp_path / "1.csv").write_text("text,label\na,no\nb,yes\n", encoding="utf-8")
    records = load_path(PathConfig(train=str(tmp_path / "*.csv")), "text", ReadConfig(labels="sorted"))
    assert records.class_names == ["no", "yes"] and records.splits["train"]["domain"] == ["train", "train"]
    (tmp_path / "0.csv").write_text("text,label,domain\nc,no,far\n", encoding="utf-8")
    with pytest.raises(DataError, match="only .*0.csv has the column 'domain'"):
        load_path(PathConfig(train=str(tmp_path / "*.csv")), "text", ReadConfig(labels="sorted"))


def test_arrays_of_other_lengths_no_pixels_or_one_name_are_refused(tmp_path):
    import zipfile

    path = tmp_path / "a.npz"
    config = PathConfig(train=str(path), label_map={0: 0})
    np.savez(path, image=np.zeros((3, 4, 4), np.uint8), label=[0, 1])
    with pytest.raises(DataError, match="3 rows of 'image' but 2 of 'label'"):
        load_path(config, "image")
    np.savez(path, image=np.zeros((3, 0, 4), np.uint8), label=[0, 1, 0])
    with pytest.raises(DataError, match="have no pixels"):
        load_path(config, "image")
    np.savez(path, image=np.full((2, 4, 4), 65535, ">u2"), label=[0, 1])
    records = load_path(PathConfig(train=str(path)), "image", ReadConfig(white=65535))
    assert (records.splits["train"]["image"] == 255).all()
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("label.npy", archive.read("label.npy"))
    with pytest.raises(DataError, match="array 'label', is there twice"):
        load_path(config, "image")


def test_an_array_whose_header_promises_more_than_any_integer_holds_is_damaged(tmp_path):
    import zipfile

    path = tmp_path / "a.npz"
    np.savez(path, label=[0, 1])
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**30}, 0)}}\n".encode()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("image.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header)
    with pytest.raises(DataError, match="array 'image', is damaged"):
        load_path(PathConfig(train=str(path)), "image")
