"""Surface cues, n-grams and the planted blank."""

import numpy as np
import pytest

from analysis.shift.classifier_test import split_classifier_test
from analysis.shift.cues import CUES, character_ngrams, cue_features, cue_rates, plant_trailing_blank
from analysis.shift.kernel_tests import mmd_test

WORDS = "train loss seed layer kernel stage model weight rank draw figure table".split()


def _texts(n, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(4, 9))) for _ in range(n)]


def test_cues_are_counted():
    row = dict(zip(CUES, cue_features(["@ann LOOK http://t.co/x:) #fun #go :-) really?! "])[0], strict=True))
    assert (row["url"], row["mention"], row["hashtag"], row["emoticon"]) == (1, 1, 2, 1)
    assert row["trailing_blank"] == 1 and row["exclaim_question"] == 2 and row["words"] == 7
    assert row["capitals"] == pytest.approx(4 / 26)
    plain = cue_features(["mail a@b.org", "", "ratio 3:4"])
    assert plain[:, :5].sum() == 0


def test_rates_are_shares_and_means():
    rates = cue_rates(["#a #b", "plain ", "plain"])
    assert rates["hashtag"] == pytest.approx(1 / 3) and rates["trailing_blank"] == pytest.approx(1 / 3)
    assert rates["characters"] == pytest.approx(16 / 3)
    with pytest.raises(ValueError, match="at least one text"):
        cue_rates([])


def test_ngrams_keep_inner_products_and_rank():
    a, b = character_ngrams(_texts(12, 0), _texts(9, 1))
    assert a.shape[0] == 12 and b.shape[0] == 9 and a.shape[1] == b.shape[1] <= 21
    np.testing.assert_allclose(np.square(a).sum(1), 1.0, atol=1e-8)


def test_a_planted_blank_is_found_raw_and_not_normalized():
    rng = np.random.default_rng(0)
    a, b = _texts(60, 2), _texts(60, 3)
    planted = plant_trailing_blank(b, 0.9, rng)
    assert 40 < sum(text.endswith(" ") for text in planted) < 60

    # a tokeniser that keeps blanks ends on an empty token; read-out takes the last token's vector
    table = dict(zip(["", *WORDS], np.random.default_rng(5).standard_normal((13, 8)), strict=True))

    def last_token(texts):
        return np.stack([table[text.split(" ")[-1]] for text in texts])

    def p(left, right):
        sides = last_token(left), last_token(right)
        return mmd_test(*sides, generator=np.random.default_rng(1), draws=99).p_value

    raw, stripped = p(a, planted), p(a, [text.strip() for text in planted])
    assert raw == 0.01 and stripped > 0.05
    cues = split_classifier_test(cue_features(a), cue_features(planted), generator=rng)
    assert cues.rejects() and cues.statistic > 0.8
    with pytest.raises(ValueError, match="share must be within"):
        plant_trailing_blank(b, 1.5, rng)
