"""Only a run at the published setting is called reproduced or not; a shrunk one is called nothing."""

import ast
import itertools
from pathlib import Path

import pytest

from analysis.verdicts import FAILS, HOLDS, OPEN, Setting, Standing, word
from analysis.verdicts.words import OTHER_WORDS, PUBLISHED_WORDS, SOURCES

ROOT = Path(__file__).resolve().parents[3]


def test_words_depend_on_the_setting():
    published, other, ours, tiny = (Setting(kind) for kind in ("published", "other", "ours", "tiny"))
    outcomes = (HOLDS, FAILS, OPEN)
    assert [word(one, published) for one in outcomes] == ["reproduced", "not reproduced", "undecided"]
    for setting in (other, ours):
        assert [word(one, setting) for one in outcomes] == ["holds here", "does not hold here", "open here"]
    assert {word(one, tiny) for one in outcomes} == {""}
    for one, setting in itertools.product(outcomes, (other, ours, tiny)):
        assert "reproduced" not in word(one, setting)


def test_nobody_reproduces_a_claim_of_ours():
    for source in SOURCES:
        words = PUBLISHED_WORDS if source != "ours" else OTHER_WORDS
        assert [word(one, Setting("published"), source) for one in words] == list(words.values())
        assert (
            word(HOLDS, Setting("other"), source) == OTHER_WORDS[HOLDS] and word(HOLDS, Setting("tiny"), source) == ""
        )


def test_a_setting_says_in_one_line_what_differs():
    line = Setting("other", ("1,000 of 10,000 rows", "10 of 200 epochs")).line
    assert line == "not tested at the published setting: 1,000 of 10,000 rows, 10 of 200 epochs"


def test_fewer_seeds_that_suffice_are_named_with_the_published_setting():
    assert Setting("published", ("5 of 100 seeds",)).line == "tested at the published setting, on 5 of 100 seeds"
    assert word(HOLDS, Setting("published", ("5 of 100 seeds",))) == "reproduced"


def test_a_standing_names_its_source():
    assert str(Standing("authors' code", "ours", "tau")) == "authors' code; band: ours; measure: tau"
    with pytest.raises(ValueError, match="is none of"):
        Standing("rumor")


def test_the_words_exist_once():
    words = {*PUBLISHED_WORDS.values(), *OTHER_WORDS.values()} - {PUBLISHED_WORDS[OPEN]}  # spectra have a class of it
    found = []
    for folder in ("analysis", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text()
            if not any(one in text for one in words) or path == ROOT / "analysis" / "verdicts" / "words.py":
                continue
            literals = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
            found += [(path.name, value) for value in literals if value in words]
    assert not found, "a claim gives an outcome; its word comes from analysis.verdicts.word"
