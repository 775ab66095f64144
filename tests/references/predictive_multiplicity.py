"""Churn, ambiguity and discrepancy one subset, one run and one example at a time (arXiv 1909.06677)."""

from itertools import combinations


def churn(first, second):
    """Share of examples that two runs decide differently."""
    return sum(int(a != b) for a, b in zip(first, second, strict=True)) / len(first)


def ambiguity(decided, size):
    """Mean over subsets: share of examples on which some run of it differs from its first one, the baseline."""
    found = []
    for runs in combinations(decided, size):
        differs = [any(run[i] != runs[0][i] for run in runs[1:]) for i in range(len(runs[0]))]
        found.append(sum(differs) / len(differs))
    return sum(found) / len(found)


def discrepancy(decided, size):
    """Mean over subsets, and over their runs as baselines: the largest churn of another run against it."""
    found = []
    for runs in combinations(range(len(decided)), size):
        for baseline in runs:
            found.append(max(churn(decided[baseline], decided[other]) for other in runs if other != baseline))
    return sum(found) / len(found)
