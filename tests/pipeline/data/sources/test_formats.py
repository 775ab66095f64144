"""Published file formats decode to the arrays that made them; damage is named with its row."""

import gzip
import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from pipeline.config.data import DataConfig, PathConfig
from pipeline.data.errors import DataError
from pipeline.data.sources import sizes
from pipeline.data.sources.files import load_path
from pipeline.data.sources.formats import parse_cifar_binary, parse_idx
from pipeline.data.sources.identity import source_identity
from pipeline.data.sources.pictures import decode_images
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


def gzip_flipped(content):
    packed = bytearray(gzip.compress(content, mtime=0))
    packed[14] ^= 255
    return bytes(packed)


GOOD = idx_bytes(np.zeros((4, 8, 8), np.uint8))


@pytest.mark.parametrize(
    "content,message",
    [
        (GOOD[:9], "cut short inside its IDX header"),
        (GOOD[:-5], "holds 251 of the 256 bytes"),
        (GOOD + b"0", "holds more than the 256 bytes"),
        (gzip.compress(GOOD)[:-12], "damaged gzip"),
        (gzip_flipped(GOOD), "damaged gzip|holds"),
        (
            b"\0\0\x08\3" + struct.pack(">3I", 2**31, 2**31, 4),
            "whose header promises .* needs 3.355e\\+07 TiB of memory",
        ),
        (gzip.compress(b"\0\0\x08\1" + struct.pack(">I", 2**32 - 1)) + b"", "needs 4 GiB|holds 0 of the"),
        (b"\0\0\x08\xff" + bytes(1100), "promises 255 dimensions"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # a gzip file holds the moment it was written
)
def test_damaged_or_boastful_idx_files_are_refused(content, message):
    with pytest.raises(DataError, match=f"t.gz.*({message})"):
        parse_idx(content, "t.gz")


def test_no_more_of_a_gzip_bomb_is_expanded_than_its_header_promises():
    bomb = gzip.compress(idx_bytes(np.zeros(10, np.uint8)) + bytes(2**24))
    tracemalloc.start()
    with pytest.raises(DataError, match="holds more than the 10 bytes"):
        parse_idx(bomb, "t.gz")
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "npy"])
def test_damaged_npz_files_are_refused(tmp_path, damage):
    path = tmp_path / "t.npz"
    np.savez(path, image=np.zeros((4, 8, 8), np.uint8), label=np.arange(4))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[200] ^= 255
    elif damage == "empty":
        content = bytearray()
    path.write_bytes(content)
    if damage == "npy":
        np.save(tmp_path / "plain.npy", np.zeros(3))
        (tmp_path / "plain.npy").rename(path)
    with pytest.raises(DataError, match="t.npz.* (is not a whole npz file|is damaged|is empty)"):
        load_path(PathConfig(train=str(path), format="npz"), "image")


def test_an_array_that_promises_more_than_it_holds_or_fits_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**50, 8, 8)})
    for name, content, message in (
        ("boast", header.getvalue(), "shape .* needs 1.311e\\+05 TiB of memory"),
        ("short", header.getvalue().replace(str(2**50).encode(), b"4".rjust(16)), "holds 0 of 256 bytes"),
    ):
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("image.npy", content)
            archive.writestr("label.npy", content)
        with pytest.raises(DataError, match=f"{name}.npz, array 'image', .*{message}"):
            load_path(PathConfig(train=str(tmp_path / f"{name}.npz")), "image")


def test_a_sparse_file_larger_than_the_memory_is_refused_before_it_is_hashed(tmp_path):
    path = tmp_path / "t.npz"
    with path.open("wb") as stream:
        stream.truncate(2**42)
    if path.stat().st_blocks:
        pytest.skip("this file system has no sparse files")
    with pytest.raises(DataError, match="t.npz, a sparse file, needs 4 TiB of memory"):
        source_identity(DataConfig(name="made", source="path", path=PathConfig(train=str(path))))


def test_a_parquet_file_of_one_value_and_very_many_rows_is_refused_from_its_footer(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    import kernels.machine.memory as memory

    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    monkeypatch.setattr(sizes, "SMALL", 2**10)
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["same"]))
    pq.write_table(pa.table({"text": column, "label": np.zeros(100_000, np.int8)}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 10_000
    with pytest.raises(DataError, match="t.parquet, with 100000 rows, needs 3.052 MiB of memory"):
        load_path(PathConfig(train=str(tmp_path / "t.parquet")), "text")
