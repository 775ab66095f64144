"""Commands shown to people can be pasted into a shell as they are."""

import shlex

import pytest

from pipeline.engine.composition.command_words import shell_word


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("seed=3", "seed=3"),
        ("data.subset.classes=[3,5]", "'data.subset.classes=[3,5]'"),
        ("+cells.seed='0:6'", "\"+cells.seed='0:6'\""),
        ("report.title='cost: $5 (a \"guess\")'", None),
        ("report.title=it's", None),
    ],
)
def test_a_shell_reads_back_what_was_given(word, shown):
    assert shlex.split(shell_word(word)) == [word]
    assert shown is None or shell_word(word) == shown
