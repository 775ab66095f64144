"""Colors that a file describes by a profile become those of sRGB; sRGB itself keeps its bytes."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.config.data import ReadConfig
from pipeline.data.errors import DataError
from pipeline.data.sources.pictures import decode_images
from tests.pipeline.data.sources.test_pictures import COLORS, RAMP, encoded, with_alpha

CONVERTED = ReadConfig(profiles="srgb")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
"""Columns of Display P3 in the profile connection space (D50)."""
TO_LINEAR_SRGB = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])


def profile(space, tags):
    """A minimal ICC profile (version 2) of these tags."""
    fixed = {b"wtpt": b"XYZ \0\0\0\0" + fixed_point(0.9642, 1.0, 0.8249), **tags}
    table, body, at = b"", b"", 132 + 12 * len(fixed)
    for name, content in fixed.items():
        content += b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", at, len(content))
        body, at = body + content, at + len(content)
    head = struct.pack(">I4sI4s4s4s12s4s", at, b"none", 0x02400000, b"mntr", space, b"XYZ ", bytes(12), b"acsp")
    head = (head + bytes(28) + fixed_point(0.9642, 1.0, 0.8249)).ljust(128, b"\0")
    return head + struct.pack(">I", len(fixed)) + table + body


def fixed_point(*values):
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(value):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def wide():
    """Display P3 with a plain gamma of 2.2."""
    columns = {b"%cXYZ" % color: b"XYZ \0\0\0\0" + fixed_point(*P3[place]) for place, color in enumerate(b"rgb")}
    return profile(b"RGB ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(2.2)))


def expected(colors):
    """The formula that the profile stands for, in 8 bits of sRGB."""
    linear = np.clip((colors / 255.0) ** 2.2 @ TO_LINEAR_SRGB.T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_a_wide_profile_is_converted_by_its_formula_and_ignored_where_that_is_said():
    image = encoded(Image.fromarray(COLORS), icc_profile=wide())
    found = decode_images([image], read=CONVERTED)[0].transpose(1, 2, 0)
    assert np.abs(found - expected(COLORS)).max() < 2.5
    assert np.abs(found.astype(int) - COLORS).max() > 20
    assert np.array_equal(decode_images([image])[0], COLORS.transpose(2, 0, 1))


def test_srgb_keeps_its_bytes_and_a_profile_moves_no_alpha():
    assert np.array_equal(
        decode_images([encoded(Image.fromarray(COLORS), icc_profile=SRGB)], read=CONVERTED)[0],
        COLORS.transpose(2, 0, 1),
    )
    opaque = encoded(with_alpha(255), icc_profile=wide())
    plain = encoded(Image.fromarray(COLORS), icc_profile=wide())
    assert np.array_equal(*(decode_images([one], read=CONVERTED) for one in (opaque, plain)))
    clear = encoded(with_alpha(0), icc_profile=wide())
    behind = decode_images([clear], read=ReadConfig(profiles="srgb", background=100))
    assert (behind == 100).all(), "what is behind is no color of the file"


def press():
    """A profile of CMYK by a table: what is printed is gray, of lightness 1 - (C + M + Y + K) / 4."""
    c, m, y, k = np.indices((2, 2, 2, 2))
    light = np.round(255 * (1 - (c + m + y + k) / 4)).astype(np.uint8)
    grid = np.stack([light, np.full_like(light, 128), np.full_like(light, 128)], axis=-1).tobytes()
    ramp = bytes(range(256))
    matrix = fixed_point(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + grid + ramp * 3
    made = bytearray(profile(b"CMYK", {b"A2B0": table}))
    made[12:16], made[20:24] = b"prtr", b"Lab "
    return bytes(made)


def test_cmyk_with_a_profile_is_converted_by_its_table_and_not_by_the_plain_formula():
    inks = np.random.default_rng(1).integers(0, 256, (8, 6, 4), dtype=np.uint8)
    image = encoded(Image.fromarray(inks, "CMYK"), "tiff", icc_profile=press())
    found = decode_images([image], read=CONVERTED)[0].astype(float)
    lightness = 100 * (1 - inks.mean(-1) / 255)
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    wanted = 255 * np.where(luminance <= 0.0031308, 12.92 * luminance, 1.055 * luminance ** (1 / 2.4) - 0.055)
    assert np.abs(found - wanted).max() < 3
    by_formula = decode_images([image], read=ReadConfig(to_rgb=True, profiles="ignored"))[0]
    assert np.abs(by_formula - wanted).max() > 30
    with pytest.raises(DataError, match="CMYK.*data.read.to_rgb=true"):
        decode_images([image], "t", ReadConfig(profiles="ignored"))


def test_cmyk_with_a_profile_of_another_kind_or_none_is_refused():
    inks = Image.fromarray(np.zeros((8, 6, 4), np.uint8), "CMYK")
    with pytest.raises(DataError, match=r"does not convert its CMYK values.*data.read.profiles=ignored"):
        decode_images([encoded(inks, "tiff", icc_profile=wide())], "t", CONVERTED)
    with pytest.raises(DataError, match="CMYK.*data.read.to_rgb=true"):
        decode_images([encoded(inks, "tiff")], "t", CONVERTED)


def test_a_palette_with_a_profile_is_the_image_that_it_stands_for():
    few = Image.fromarray(COLORS // 64 * 64).quantize(16)
    full = few.convert("RGB")
    found, wanted = (decode_images([encoded(one, icc_profile=wide())], read=CONVERTED) for one in (few, full))
    assert np.array_equal(found, wanted)
    assert np.abs(found.astype(int) - decode_images([encoded(few)])).max() > 10
    seen_through = encoded(few, icc_profile=wide(), transparency=bytes([0] * 16))
    behind = decode_images([seen_through], read=ReadConfig(profiles="srgb", background=7))
    assert (behind == 7).all()


def test_gray_stays_gray():
    dark = profile(b"GRAY", {b"kTRC": gamma(1.8)})
    found = decode_images([encoded(Image.fromarray(RAMP), icc_profile=dark)], read=CONVERTED)
    assert found.shape == (1, 1, 8, 8) and np.abs(found[0, 0] - expected_gray(RAMP)).max() < 2.5


def expected_gray(values):
    linear = (values / 255.0) ** 1.8
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("held", [b"no profile", profile(b"GRAY", {b"kTRC": gamma(2.2)})], ids=["damaged", "of gray"])
def test_a_profile_that_does_not_fit_is_named_with_the_way_out(held):
    image = encoded(Image.fromarray(COLORS), icc_profile=held)
    with pytest.raises(DataError, match=r"t, row 0: the color profile.*RGB values.*data.read.profiles=ignored"):
        decode_images([image], "t", CONVERTED)
    assert decode_images([image]).shape == (1, 3, 8, 6)
