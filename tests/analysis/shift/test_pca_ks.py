"""Kolmogorov-Smirnov tests on pooled components."""

import numpy as np
import pytest

from analysis.shift.pca_ks import ks_threshold, pooled_pca_ks, pooled_scores


def test_ks_is_invariant_and_finds_the_component_that_differs():
    rng = np.random.default_rng(0)
    scale = np.array([5.0, 3.0, 1.0, 0.5])
    a, b = rng.standard_normal((80, 4)) * scale, rng.standard_normal((90, 4)) * scale
    b[:, 2] += 1.5
    found = pooled_pca_ks(a, b, components=4)
    assert found.detail["strongest"] == 2 and found.p_value < 1e-6
    assert found.detail["p"][0] > 0.01
    swapped = pooled_pca_ks(b, a, components=4)
    assert swapped.statistic == pytest.approx(found.statistic) and swapped.p_value == pytest.approx(found.p_value)
    bonferroni = pooled_pca_ks(a, b, components=4, correction="bonferroni")
    assert bonferroni.p_value == pytest.approx(found.p_value)
    assert found.statistic > ks_threshold((80, 90), 4)
    assert pooled_scores(a, b, 99).a.shape == (80, 4)


def test_equal_rows_have_no_component():
    with pytest.raises(ValueError, match="all pooled rows are equal"):
        pooled_pca_ks(np.ones((9, 2)), np.ones((9, 2)))
