"""Every figure of seed variability is drawn from plain arrays and shows what it is given."""

import dataclasses

import numpy as np
import pytest

from analysis.style import svg_bytes
from analysis.trimming.level import optimal_trimming, robust_ks_curves, trimming_levels
from analysis.trimming.references import pairwise_levels
from analysis.variability.figures import (
    distance_curves,
    distribution_fan,
    ensemble_figure,
    group_levels,
    level_against,
    level_histograms,
    pairwise_heat_map,
    ranking_figure,
)
from analysis.variability.seed_count import ensemble_curve, recommend_seed_count
from analysis.variability.seed_ranking import rank_seeds

RNG = np.random.default_rng(0)
GAPS = 2 * RNG.normal(size=300) + 0.7 * RNG.normal(size=(40, 300)) + RNG.normal(0, 0.4, size=(40, 1))
REFERENCES = {
    "mixture": GAPS.ravel(),
    "logit_mean": GAPS.mean(axis=0),
    "quantile_mean": np.sort(GAPS, axis=1).mean(axis=0),
}
LEVELS = trimming_levels(GAPS, REFERENCES["mixture"], delta=0.05)
GROUPS = {"init": LEVELS[:12], "order": LEVELS[12:25], "all": LEVELS[25:]}


def figures():
    rng = np.random.default_rng(1)
    worst = int(LEVELS.argmax())
    plan = optimal_trimming(GAPS[worst], REFERENCES["mixture"], alpha=float(LEVELS[worst]))
    yield "fan", distribution_fan(GAPS, REFERENCES, delta=0.05, plan=plan, run=worst)
    yield "fan_only", distribution_fan(GAPS[:1], REFERENCES, delta=0.05)
    alphas = list(np.linspace(0, 0.6, 31))
    curves = robust_ks_curves(GAPS, REFERENCES["mixture"], alphas=alphas)
    yield "curves", distance_curves(alphas, curves, delta=0.05, levels=LEVELS)
    yield (
        "histograms",
        level_histograms(
            {name: trimming_levels(GAPS, sample, delta=0.05) for name, sample in REFERENCES.items()}, delta=0.05
        ),
    )
    companions = {
        "accuracy": 0.9 - 0.1 * LEVELS + rng.normal(0, 0.01, 40),
        "churn": 0.1 + 0.2 * LEVELS,
        "ECE": rng.random(40),
    }
    yield "against", level_against(LEVELS, companions, correlations={"churn": r"$\rho$ = 0.98 [0.95, 0.99]"})
    ensembles = {
        kind: ensemble_curve(GAPS[:20], GAPS[20:], sizes=[1, 2, 4, 8, 16], delta=0.05, rng=rng, kind=kind, subsets=6)
        for kind in REFERENCES
    }
    count = recommend_seed_count(GAPS, delta=0.4, rng=rng, splits=5)
    assert count.recommended == 20
    yield "ensemble", ensemble_figure(ensembles, count=count, delta=0.05)
    draws = np.maximum(0, LEVELS + rng.normal(0, 0.03, size=(60, 40)))
    yield "ranking", ranking_figure(LEVELS, rank_seeds(LEVELS, draws))
    yield "pairs", pairwise_heat_map(pairwise_levels(GAPS[:15], delta=0.05), label="trimming level")
    yield "groups", group_levels(GROUPS, {name: 0.5 * values for name, values in GROUPS.items()}, delta=0.05)


@pytest.mark.slow
def test_figures_render_with_labels_and_the_same_bytes_again():
    first, again = dict(figures()), dict(figures())
    assert len(first) == 9
    for name, figure in first.items():
        assert all(axis.get_xlabel() or axis.get_ylabel() for axis in figure.axes), name
        assert svg_bytes(figure) == svg_bytes(again[name]), name


def test_a_level_outside_its_interval_is_drawn_without_one():
    levels = LEVELS[:3]
    draws = np.clip(np.stack([levels + shift for shift in (-0.02, 0.0, 0.02)] * 10), 0, 1)
    ranking = rank_seeds(levels, draws)
    low, high = ranking.level_low.copy(), ranking.level_high.copy()
    low[0], high[0], low[1], high[1] = levels[0] + 0.1, levels[0] + 0.2, levels[1] - 0.2, levels[1] - 0.1
    bars = ranking_figure(levels, dataclasses.replace(ranking, level_low=low, level_high=high)).axes[0].collections
    lengths = [abs(top - bottom) for bar in bars for (_, bottom), (_, top) in bar.get_segments()]
    assert sorted(length > 1e-9 for length in lengths) == [False, False, True]
