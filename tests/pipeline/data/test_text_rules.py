"""Normalization keeps, squeezes or decodes; masks apply one by one."""

import pytest

from pipeline.data.errors import DataError
from pipeline.data.text_rules import normalize_texts

TEXT = "  Tom &amp; @jo  saw\u00a0#birds :) at http://a.b/c "


@pytest.mark.parametrize(
    "how,expected",
    [
        ("raw", TEXT),
        ("whitespace", "Tom &amp; @jo saw #birds :) at http://a.b/c"),
        ("full", "Tom & @jo saw #birds :) at http://a.b/c"),
    ],
)
def test_normalizations(how, expected):
    assert normalize_texts([TEXT], how) == [expected]


@pytest.mark.parametrize(
    "mask,expected",
    [
        ("url", "@jo #a :) <url> x"),
        ("user", "<user> #a :) http://b x"),
        ("hashtag", "@jo <hashtag> :) http://b x"),
        ("emoticon", "@jo #a <emoticon> http://b x"),
    ],
)
def test_masks_one_by_one(mask, expected):
    assert normalize_texts(["@jo #a :) http://b x"], "raw", [mask]) == [expected]


def test_unknown_names_are_refused():
    with pytest.raises(DataError, match="raw, whitespace, full"):
        normalize_texts(["a"], "lower")
    with pytest.raises(DataError, match="emoji"):
        normalize_texts(["a"], "raw", ["emoji"])
