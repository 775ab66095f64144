"""Intervals that were found elsewhere are read by the same rule: beyond bound and margin, or nothing is decided."""

from analysis.verdicts import FAILS, HOLDS, OPEN, above_by_interval, below_by_interval

NAN = float("nan")


def test_an_interval_found_elsewhere_is_read_in_the_same_way():
    found = above_by_interval((0.3, 0.2, 0.4), 0.0, margin=0.1, n=20, what="gain", unit="groups of runs")
    assert found.outcome == HOLDS and found.p < 1e-3 and "n = 20 groups of runs" in found.evidence
    for interval in ((0.3, 0.05, 0.5), (0.3, 0.3, 0.3), (0.3, NAN, NAN)):
        assert above_by_interval(interval, 0.0, margin=0.1, n=20, what="gain", unit="groups").outcome == OPEN
    assert below_by_interval((0.3, 0.2, 0.4), 0.0, margin=0.1, n=20, what="gain", unit="groups").outcome == FAILS
    assert above_by_interval((0.3, 0.2, 0.4), 0.0, margin=0.1, n=20, what="g", unit="g", needed=50).outcome == OPEN
