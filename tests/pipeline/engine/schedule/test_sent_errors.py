"""Errors arrive from a worker as they were raised, with their causes and the traceback of the worker."""

import pickle

import pytest

from pipeline.engine.schedule.sent_errors import packed, unpacked
from pipeline.errors import MissingUpstream, UserError


class Unsendable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def sent(error):
    return unpacked(pickle.loads(pickle.dumps(packed(error))))


def raised(error, cause=None):
    try:
        raise error from cause
    except Exception as found:
        return found


def test_an_error_keeps_its_type_words_and_causes():
    error = sent(raised(MissingUpstream("no cell"), raised(ValueError("unlucky"))))
    assert type(error) is MissingUpstream and str(error) == "no cell"
    assert type(error.__cause__) is ValueError and "in raised" in str(error.__cause__.__cause__)
    assert sent(None) is None and sent(UserError("plain")).__cause__ is None


def test_an_error_that_cannot_be_sent_arrives_in_other_words():
    error = sent(raised(Unsendable(1, 2)))
    assert type(error) is RuntimeError and str(error) == "Unsendable: 1 and 2"


@pytest.mark.parametrize("length", [1, 2])
def test_an_error_that_is_its_own_cause_arrives(length):
    errors = [RuntimeError(str(i)) for i in range(length)]
    for one, other in zip(errors, [*errors[1:], errors[0]], strict=True):
        one.__cause__ = other
    assert str(sent(errors[0])) == "0"
