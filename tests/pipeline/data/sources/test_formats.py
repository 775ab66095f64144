"""Published file formats decode to the arrays that made them; damage is named with its row."""

import gzip
import struct

import numpy as np
import pytest

from pipeline.data.errors import DataError
from pipeline.data.sources.formats import (
    decode_images,
    decode_lines,
    parse_cifar_binary,
    parse_idx,
    parse_integers,
    parse_table,
)
from tests.pipeline.data.made_rows import png


def idx_bytes(values):
    return b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_idx_round_trip(packed):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = gzip.compress(idx_bytes(values)) if packed else idx_bytes(values)
    assert np.array_equal(parse_idx(content), values)


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4", b"\0\0\x0d\1\0\0\0\1....", idx_bytes(np.zeros((2, 2), np.uint8))[:-1]]
)
def test_idx_refuses_other_content(content):
    with pytest.raises(DataError, match="file"):
        parse_idx(content)


def test_cifar_records_are_label_then_planes():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    content = b"".join(bytes([label]) + image.tobytes() for label, image in zip([7, 0, 9], pixels, strict=True))
    images, labels = parse_cifar_binary(content)
    assert np.array_equal(images, pixels) and labels.tolist() == [7, 0, 9]
    with pytest.raises(DataError, match="multiple of 3073"):
        parse_cifar_binary(content[:-1])


def test_png_images_decode_and_broken_ones_are_named():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    encoded = [png(image) for image in pixels]
    assert np.array_equal(decode_images(encoded), pixels.transpose(0, 3, 1, 2))
    with pytest.raises(DataError, match="row 1: the image cannot be decoded"):
        decode_images([encoded[0], encoded[1][:40]])
    with pytest.raises(DataError, match="row 1: shape"):
        decode_images([encoded[0], png(np.zeros((4, 4, 3), np.uint8))])


def test_wrong_encoding_is_reported_with_its_row():
    content = "fine\ncaf\u00e9\n".encode("latin-1")
    assert decode_lines(content, "latin-1", "t") == ["fine", "caf\u00e9"]
    with pytest.raises(DataError, match="t, row 1: not valid utf-8"):
        decode_lines(content, "utf-8", "t")


def test_tables_with_and_without_header():
    quoted = b'label,text\n1,"a, b"\n0,c\n'
    assert parse_table(quoted, None, encoding="utf-8", delimiter=",", name="t") == {
        "label": ["1", "0"],
        "text": ["a, b", "c"],
    }
    tabbed = b'x\t1\t\tHe said "no\n'
    named = parse_table(tabbed, ["s", "l", "m", "t"], encoding="utf-8", delimiter="\t", name="t")
    assert named["t"] == ['He said "no']
    with pytest.raises(DataError, match="row 2: 1 fields where 2"):
        parse_table(b"label,text\n1,a\n0\n", None, encoding="utf-8", delimiter=",", name="t")
    with pytest.raises(DataError, match="row 1: label 'x'"):
        parse_integers(["0", "x"], "t")
