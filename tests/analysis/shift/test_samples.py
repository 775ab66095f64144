"""Clean pairs and matched draws."""

import numpy as np
import pytest

from analysis.shift.samples import clean_pair, matched_draws


def test_pairs_are_cleaned_and_counted():
    reference = (["a", "b", "b", " ", "c", "d", "neutral"], np.array([0, 1, 1, 0, 1, 0, 2]))
    sample = (["c", "x", "y", "z"], np.array([1, 0, 1, 2]))
    found = clean_pair(reference, sample)
    assert found.reference.tolist() == [0, 1, 5] and found.sample.tolist() == [1, 2]
    assert found.report == {
        "reference_empty": 1,
        "reference_other_labels": 1,
        "reference_duplicates": 1,
        "sample_empty": 0,
        "sample_other_labels": 1,
        "sample_duplicates": 0,
        "common": 1,
    }


def test_a_one_class_reference_is_refused_with_counts():
    with pytest.raises(ValueError, match=r"reference keeps classes \{0: 2\} of \[0, 1\]: is it the sorted head"):
        clean_pair((["a", "b"], np.array([0, 0])), (["x", "y"], np.array([0, 1])))
    with pytest.raises(ValueError, match="2 texts but 1 labels"):
        clean_pair((["a", "b"], np.array([0])), (["x", "y"], np.array([0, 1])))


def test_draws_are_disjoint_matched_and_cover_the_pool():
    pool = np.repeat([0, 1], 500)
    seen = np.zeros(1000, int)
    for seed in range(60):
        one, two = matched_draws(pool, {1: 30, 0: 20}, parts=2, generator=np.random.default_rng(seed))
        assert not set(one) & set(two)
        assert np.bincount(pool[one]).tolist() == [20, 30] == np.bincount(pool[two]).tolist()
        seen[one] += 1
    assert (seen > 0).mean() > 0.85
    with pytest.raises(ValueError, match="class 1: 2 disjoint draws of 300 rows need 600, the pool has 500"):
        matched_draws(pool, {1: 300}, parts=2, generator=np.random.default_rng(0))
