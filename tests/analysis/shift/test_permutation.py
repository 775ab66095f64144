"""Permutations of whole groups and within strata, Holm's adjustment, and verdicts that need more draws."""

import numpy as np
import pytest

from analysis.shift.permutation import TestResult, crowding_note, domain_permutations, permutation_p
from analysis.verdicts import holm


def _rng(seed=0):
    return np.random.default_rng(seed)


def test_groups_move_together():
    groups = np.array([0, 0, 0, 1, 2, 2, 3, 3, 4, 5, 5, 5])
    member = domain_permutations((6, 6), 50, _rng(), groups=groups)
    for value in np.unique(groups):
        part = member[:, groups == value]
        assert (part == part[:, :1]).all()
    assert not (member[1:] == member[0]).all()


def test_a_group_on_both_sides_moves_as_two_units():
    groups = np.array([0, 0, 1, 0, 2, 2])
    member = domain_permutations((3, 3), 40, _rng(), groups=groups)
    assert (member[:, 0] == member[:, 1]).all() and (member[:, 4] == member[:, 5]).all()


def test_strata_are_permuted_within():
    strata = np.array([0, 1, 0, 1, 1, 0, 0, 1])
    member = domain_permutations((4, 4), 30, _rng(), strata=strata)
    for value in (0, 1):
        assert (member[:, strata == value].sum(1) == member[0, strata == value].sum()).all()


def test_holm_steps_down():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.5])), [0.04, 0.09, 0.09, 0.5])


def test_too_few_permutations_refuse_the_verdict():
    result = TestResult("MMD²", 0.1, 0.02, (50, 50), 49, 0.02)
    assert result.rejects(0.05)
    with pytest.raises(ValueError, match="49 permutations cannot reach α/m = 0.01; draw at least 99"):
        result.rejects(0.05, tests=5)


def test_crowded_groups_are_named():
    assert "one group holds" in crowding_note(np.array([0] * 10 + list(range(1, 20))))
    assert crowding_note(np.arange(200)) is None


@pytest.mark.parametrize(("side", "groups"), [("A", [0] * 30 + list(range(1, 41))), ("B", [*range(30), *[99] * 40])])
def test_a_side_that_is_one_group_is_refused(side: str, groups: list[int]) -> None:
    """Under most permutations it would be a single row, whose MMD is not defined."""
    with pytest.raises(ValueError, match=f"side {side} is one group of (30|40) rows"):
        domain_permutations((30, 40), 9, np.random.default_rng(0), groups=np.array(groups))


def test_statistics_that_are_not_numbers_give_no_p_value() -> None:
    with pytest.raises(ValueError, match="2 of 4 permutations have no statistic"):
        permutation_p(np.array([0.3, np.nan, 0.1, np.nan]))
