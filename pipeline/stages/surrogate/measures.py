"""Measures of faithfulness that tables and claims share: headings, scales, ranges and values over runs."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.engine.build import Gathered


class MeasureKind(NamedTuple):
    """How a measure is shown: heading, factor from the stored number, and the range that it cannot leave."""

    heading: str
    scale: float
    low: float
    high: float


MEASURES = {
    "network_accuracy": MeasureKind("network accuracy %", 100.0, 0.0, 100.0),
    "surrogate_accuracy": MeasureKind("surrogate accuracy %", 100.0, 0.0, 100.0),
    "tad": MeasureKind("TAD %", 100.0, -100.0, 100.0),
    "tau": MeasureKind("Kendall τ", 1.0, -1.0, 1.0),
    "r2": MeasureKind("R²", 1.0, float("-inf"), 1.0),
    "r_miss": MeasureKind("R_miss", 1.0, 0.0, 1.0),
    "agreement": MeasureKind("agreement %", 100.0, 0.0, 100.0),
}
"""By name of the metric."""

NAMED_TAUS = {
    "tau_published_glm": "positive class of every point, the machine's logit shared out over the test points",
    "tau_published_svm": "positive class of every point, Platt's probability",
    "tau_published_bert": "positive class of every point, softmax and sigmoid",
    "tau_published_poison": "one-hot labels as an index: class 0 of every point nine times, class 1 once",
}
"""What each named τ of the published code ranks; ``analysis.surrogates`` has the functions."""


def kind_of(measure: str) -> MeasureKind:
    """Find how a measure is shown; a prefix such as ``test_triggered_`` names another test split."""
    for name in NAMED_TAUS:
        if measure.endswith(name):
            return MeasureKind(f"Kendall {name}", 1.0, -1.0, 1.0)
    for name, kind in MEASURES.items():
        if measure == name or measure.endswith(f"_{name}"):
            return kind
    return MeasureKind(measure, 1.0, float("-inf"), float("inf"))


def spoken(measure: str) -> str:
    """Give a measure's heading as claims write it: without the names that code has for measures.

    Examples
    --------
    >>> spoken("tad"), spoken("test_triggered_tau_published_glm")
    ('TAD %', 'Kendall published τ (glm)')
    """
    protocol = next((name.rsplit("_", 1)[1] for name in NAMED_TAUS if measure.endswith(name)), None)
    return kind_of(measure).heading if protocol is None else f"Kendall published τ ({protocol})"


def named(measure: str) -> str:
    """Name a measure in a claim's title, in words and without its unit.

    Examples
    --------
    >>> named("network_accuracy"), named("tau"), named("tau_published_glm"), named("test_triggered_tau")
    ('network accuracy', 'Kendall τ', 'published τ (glm)', 'Kendall τ on test_triggered')
    """
    name = next(name for name in (*NAMED_TAUS, *MEASURES, measure) if measure.endswith(name))
    words = spoken(name).removesuffix(" %").removeprefix("Kendall " if name in NAMED_TAUS else "")
    split = measure.removesuffix(name).rstrip("_")
    return f"{words} on {split}" if split else words


def values_over_runs(group: list[Gathered], measure: str) -> list[float]:
    """Collect a metric over a group's runs in the unit of its heading; NaN where a run has none."""
    scale = kind_of(measure).scale
    found = [member.artifact.metrics.get(measure) for member in group]
    return [float("nan") if value is None else scale * float(value) for value in found]
