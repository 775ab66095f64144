"""A number over runs as a page states it, with what it was computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over runs that a page states, with the numbers behind it, by which it can be computed again.

    Attributes
    ----------
    group, what, unit : str
        Runs that it is of, what it measures, and in which unit.
    values : sequence of float
        One per run.
    over : str
        What varies from value to value.
    within : tuple of two float or None
        Range that its interval stays in.

    Examples
    --------
    >>> from analysis.pages import Estimate
    >>> len(Estimate("mlp", "churn", "%", [6.1, 6.9, 6.8], "seeds", (0.0, 100.0)).values)
    3
    """

    group: str
    what: str
    unit: str
    values: Sequence[float]
    over: str = "seeds"
    within: tuple[float, float] | None = None
