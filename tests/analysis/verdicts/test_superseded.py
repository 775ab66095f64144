"""Claims are decided by their intervals over runs, or stay undecided."""

from analysis.verdicts.superseded import NOT_REPRODUCED, REPRODUCED, UNDECIDED, at_least, at_most, share_of_runs


def test_claims_are_decided_by_intervals():
    assert at_least([3.0, 3.1, 2.9], 2.0, "x").verdict == REPRODUCED
    assert at_least([3.0, 3.1, 2.9], 4.0, "x").verdict == NOT_REPRODUCED
    assert at_least([3.0, 1.0, 5.0], 2.9, "x").verdict == UNDECIDED
    assert at_least([3.0], 1.0, "x").verdict == at_least([3.0, float("nan")], 1.0, "x").verdict == UNDECIDED
    assert at_most([0.5, 0.6, 0.4], 1.0, "x").verdict == REPRODUCED
    assert at_most([0.5, 0.6, 0.4], 0.1, "x").verdict == NOT_REPRODUCED
    assert share_of_runs([True] * 8).verdict == REPRODUCED
    assert share_of_runs([False] * 8).verdict == NOT_REPRODUCED
    assert share_of_runs([True] * 3).verdict == share_of_runs([]).verdict == UNDECIDED
