"""BM25 equals its formula, term by term."""

import math

import numpy as np

from analysis.attribution.text_overlap import bm25_scores


def slow(query, text, texts, k1, b):
    total, mean = 0.0, sum(map(len, texts)) / len(texts)
    for token in query:
        holders = sum(token in other for other in texts)
        f = list(text).count(token)
        rarity = math.log(1 + (len(texts) - holders + 0.5) / (holders + 0.5))
        total += rarity * f * (k1 + 1) / (f + k1 * (1 - b + b * len(text) / mean))
    return total


def test_scores_equal_the_formula():
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 9, size) for size in rng.integers(1, 8, 12)]
    queries = [rng.integers(0, 11, size) for size in (1, 4, 6)]
    expected = [[slow(q.tolist(), t.tolist(), [x.tolist() for x in texts], 1.2, 0.6) for t in texts] for q in queries]
    np.testing.assert_allclose(bm25_scores(queries, texts, k1=1.2, b=0.6), expected, rtol=1e-12)


def test_a_text_without_shared_words_scores_zero():
    assert bm25_scores([np.array([7]), np.array([], int)], [np.array([1, 2])]).tolist() == [[0.0], [0.0]]
