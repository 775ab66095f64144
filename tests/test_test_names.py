"""Cases have the same names in every process, so that parallel runs of the tests agree on what there is."""

import pytest

from tests.conftest import UNSTABLE, pytest_collection_modifyitems, pytest_make_parametrize_id


class Item:
    def __init__(self, name):
        self.name = self.nodeid = name


@pytest.mark.parametrize(
    "name",
    [
        "test_x[\\x1f\\x8b\\x08]",
        "test_x[<object at 0x7fd03f9ce350>]",
        "test_x[1732912345.25]",
        "test_x[/tmp/pytest-of-root/a]",
    ],
    ids=["bytes", "address", "time", "folder"],
)
def test_a_name_that_changes_is_refused(name):
    with pytest.raises(pytest.UsageError, match="the same in every process"):
        pytest_collection_modifyitems([Item("test_fine[a-1]"), Item(name)])
    pytest_collection_modifyitems([Item("test_fine[1e-05-0x1f-2024]")])


def test_bytes_and_odd_texts_are_named_by_their_argument():
    assert [pytest_make_parametrize_id(value, "content") for value in (b"ab", "ü", "a\0b")] == ["content"] * 3
    assert [pytest_make_parametrize_id(value, "content") for value in ("plain", 3, None)] == [None] * 3
    assert UNSTABLE.search("a 0x7fd03f9ce350 b")
