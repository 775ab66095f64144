"""Pixels are what the image file says, or the file is refused with its row and mode."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.config.data import ReadConfig
from pipeline.data.errors import DataError
from pipeline.data.sources import sizes
from pipeline.data.sources.pictures import decode_images, fit_arrays
from tests.pipeline.data.made_rows import png

RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8)
COLORS = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
TWO_LEVELS = (np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)
DEEP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)


def encoded(image, form="png", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def with_alpha(alpha):
    return Image.fromarray(np.dstack([COLORS, np.broadcast_to(np.uint8(alpha), COLORS.shape[:2])]))


def png_header(width, height):
    """A PNG that promises a size and holds a few zeros."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")


def test_two_levels_stay_one_gray_channel():
    assert np.array_equal(decode_images([encoded(Image.fromarray(TWO_LEVELS).convert("1"))])[0, 0], TWO_LEVELS)


def test_a_palette_becomes_the_colors_that_it_points_at():
    few = Image.fromarray(COLORS // 64 * 64).quantize(64)
    assert np.array_equal(decode_images([encoded(few)])[0], np.asarray(few.convert("RGB")).transpose(2, 0, 1))


def test_an_alpha_channel_that_hides_nothing_is_dropped():
    assert np.array_equal(decode_images([encoded(with_alpha(255))])[0], COLORS.transpose(2, 0, 1))
    gray = Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (8, 8), 255)])
    assert np.array_equal(decode_images([encoded(gray)])[0, 0], RAMP)


@pytest.mark.parametrize(
    "image",
    [
        encoded(with_alpha(254)),
        encoded(Image.fromarray(RAMP), transparency=3),
        encoded(Image.fromarray(COLORS).quantize(16), transparency=0),
        encoded(with_alpha(np.arange(6)), "webp", lossless=True),
    ],
    ids=["alpha", "gray-key", "palette-key", "webp"],
)
def test_transparent_pixels_are_refused(image):
    with pytest.raises(DataError, match=r"row 0: some pixels are transparent \(mode "):
        decode_images([image])


def test_a_transparent_value_among_sixteen_bits_is_no_pixel():
    def keyed(value):
        chunk = b"tRNS" + struct.pack(">H", value)
        whole = encoded(Image.fromarray(DEEP))
        at = whole.index(b"IDAT") - 4
        return whole[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[at:]

    with pytest.raises(DataError, match=r"row 0: some pixels are transparent \(mode I;16\)"):
        decode_images([keyed(65535)], read=ReadConfig(white=65535))
    assert decode_images([keyed(7)], read=ReadConfig(white=65535)).max() == 255


def test_sixteen_bits_of_gray_want_to_know_what_is_white():
    image = encoded(Image.fromarray(DEEP))
    with pytest.raises(DataError, match=r"t, row 1: 16 bits of gray \(mode I;16\).*data.read.white=65535"):
        decode_images([png(RAMP), image], "t")
    scaled = decode_images([image], read=ReadConfig(white=65535))
    assert np.array_equal(scaled[0, 0], np.round(DEEP / 257))
    twelve = encoded(Image.fromarray(DEEP // 16))
    assert decode_images([twelve], read=ReadConfig(white=4095)).max() == 255
    with pytest.raises(DataError, match="row 0: value 65535 .*above data.read.white=4095"):
        decode_images([image], read=ReadConfig(white=4095))
    with pytest.raises(DataError, match=r"row 0: data.read.white=65535 is for images of 16 bits.*\(mode L\)"):
        decode_images([png(RAMP)], read=ReadConfig(white=65535))


def test_sixteen_bits_of_color_are_refused_and_not_cut_to_eight():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + bytes(range(12))))
    content = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
    with pytest.raises(DataError, match="row 0: 16 bits per color channel"):
        decode_images([content])
    with pytest.raises(DataError, match="row 0: 16 bits"):
        decode_images([b"P6 1 1 1023\n" + bytes(6)])


@pytest.mark.parametrize(
    "image,mode",
    [
        (encoded(Image.fromarray(RAMP.astype(np.float32)), "tiff"), "F"),
        (encoded(Image.fromarray(RAMP.astype(np.int32) * 1000), "tiff"), "I"),
        (encoded(Image.fromarray(COLORS).convert("CMYK"), "jpeg"), "CMYK"),
        (encoded(Image.fromarray(COLORS).convert("LAB"), "tiff"), "LAB"),
    ],
    ids=["float", "int32", "cmyk", "lab"],
)
def test_other_modes_are_refused_by_row_and_mode(image, mode):
    with pytest.raises(DataError, match=f"train, row 0: mode {mode} is none of"):
        decode_images([image], "train")


@pytest.mark.parametrize("form", ["gif", "png", "tiff", "webp"])
def test_more_than_one_frame_is_refused(form):
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (0, 255)]
    with pytest.raises(DataError, match="row 0: the .* file holds more than one frame"):
        decode_images([encoded(frames[0], form, save_all=True, append_images=frames[1:])])


def test_the_orientation_that_a_camera_wrote_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode_images([encoded(Image.fromarray(COLORS), exif=exif)])[0]
    assert np.array_equal(turned, np.rot90(COLORS, -1).transpose(2, 0, 1))


def test_images_of_two_sizes_name_the_setting_that_scales_them():
    images = [png(RAMP), png(np.full((4, 6), 9, np.uint8))]
    with pytest.raises(DataError, match=r"row 1: the image is 4x6 where row 0 is 8x8.*'data.read.resize=\[8,8\]'"):
        decode_images(images)
    scaled = decode_images(images, read=ReadConfig(resize=[8, 8]))
    assert np.array_equal(scaled[0, 0], RAMP) and (scaled[1] == 9).all()


@pytest.mark.parametrize("side", [13_000, 50_000])
def test_more_pixels_than_any_network_reads_are_refused_from_the_header(side):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=f"row 0: the image has {side**2:,} pixels, more than 89,478,485"):
            decode_images([png_header(side, side)])


def test_images_that_do_not_fit_the_memory_together_are_refused_at_the_first(monkeypatch):
    import kernels.machine.memory as memory

    monkeypatch.setattr(memory, "available_memory", lambda: 10_000)
    monkeypatch.setattr(sizes, "SMALL", 1000)
    with pytest.raises(DataError, match="200 images like that of row 0 needs 25 KiB of memory and 9.766 KiB are fr"):
        decode_images([png(RAMP)] * 200)


@pytest.mark.parametrize(
    "content", [b"", b"no image", encoded(Image.fromarray(RAMP), "jpeg")[:-30], b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_what_cannot_be_decoded_is_named_by_its_row(content):
    with pytest.raises(DataError, match=r"row 1: the image cannot be decoded \((?!.*BytesIO)"):
        decode_images([png(RAMP), content])


def test_images_in_arrays_follow_the_same_settings():
    gray = np.stack([RAMP, RAMP[::-1]])[:, None]
    scaled = fit_arrays(gray, ReadConfig(resize=[4, 6]), "a.npz")
    assert scaled.shape == (2, 1, 4, 6) and np.array_equal(fit_arrays(gray, ReadConfig(resize=[8, 8]), "a"), gray)
    assert np.array_equal(scaled, decode_images([png(RAMP), png(RAMP[::-1])], read=ReadConfig(resize=[4, 6])))
    deep = fit_arrays(DEEP[None, None], ReadConfig(white=65535), "a.npz")
    assert np.array_equal(deep[0, 0], np.round(DEEP / 257))
    for images, read, message in (
        (DEEP[None, None], ReadConfig(), "type uint16.*data.read.white=65535"),
        (DEEP[None, None], ReadConfig(white=4095), "value 65535 is above data.read.white=4095"),
        (gray, ReadConfig(white=4095), "is for images of 16 bits"),
        (gray / 255, ReadConfig(), "type float64; they must be uint8 pixels"),
    ):
        with pytest.raises(DataError, match=f"a.npz: .*{message}"):
            fit_arrays(images, read, "a.npz")
