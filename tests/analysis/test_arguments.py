"""Numbers, words and truth values of another kind end in one sentence that names the argument."""

import numpy as np
import pytest

import analysis

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        ("dkw_threshold", {"n": "a"}, "n='a' must be a number."),
        ("dkw_threshold", {"n": 100, "eps": float("nan")}, "eps=nan must be a number, such as eps=0.01."),
        ("bootstrap_levels", {"gaps": np.ones((3, 9)), "delta": 0.1, "draws": 5.0, "rng": RNG}, "draws=5.0 must be"),
        ("fit_pca", {"features": np.ones((9, 3)), "rank": True}, "rank=True must be a whole number."),
        ("mmd_test", {"generator": 0}, "generator=0 must be a generator, as numpy.random.default_rng(0) gives one"),
    ],
    ids=["word", "nan", "fraction", "truth value", "generator"],
)
def test_an_argument_of_another_kind_is_named(function, given, message):
    with pytest.raises((ValueError, TypeError)) as refused:
        getattr(analysis, function)(*([np.ones((9, 2))] * 2 if function == "mmd_test" else []), **given)
    assert message in str(refused.value)


def test_numbers_of_numpy_are_numbers():
    assert analysis.dkw_threshold(np.int64(100), eps=np.float32(0.5)) > 0
