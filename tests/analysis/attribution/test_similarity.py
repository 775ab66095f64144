"""Similarities of features and the controls follow their definitions."""

import numpy as np
import pytest

from analysis.attribution.similarity import embedding_scores, random_scores, same_label_scores


def test_zero_vectors_are_similar_to_nothing():
    train, test = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[1.0, 0.0]])
    np.testing.assert_allclose(embedding_scores(test, train), [[0.6, 0.0]])
    np.testing.assert_allclose(embedding_scores(test, train, "dot"), [[3.0, 0.0]])
    np.testing.assert_allclose(embedding_scores(test, train, "distance"), [[-np.sqrt(20), -1.0]])
    with pytest.raises((ValueError, TypeError)):
        embedding_scores(test, train, "manhattan")


def test_controls():
    a, b = (random_scores(3, 5, np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(same_label_scores(np.array([1, 0]), np.array([0, 1, 1])), [[0, 1, 1], [1, 0, 0]])
