"""Figures of seed variability: distributions of all seeds, levels, and how both change with the number of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.style import (
    CONTEXT,
    PALETTE,
    REFERENCE,
    SEEDS_NAMED,
    in_style,
    legend_below,
    new_figure,
    of_seed,
    seed_color,
)
from analysis.trimming.distributions import Real
from analysis.trimming.level import TrimmingPlan
from analysis.variability.seed_count import EnsembleCurve, SeedCount
from analysis.variability.seed_ranking import SeedRanking

REFERENCE_LABELS = {"logit_mean": "mean logits", "mixture": "mixture", "quantile_mean": "quantile mean"}
FAN_POINTS = 400


def _called(run: int, seeds: Sequence[str]) -> str:
    return seeds[run] if run < len(seeds) else str(run)


def _steps(values: Float[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """Distribution of a sample, thinned to a few hundred points."""
    ordered = np.sort(values)
    index = np.unique(np.linspace(0, len(ordered) - 1, FAN_POINTS).astype(int))
    return ordered[index], (index + 1) / len(ordered)


@in_style
def distribution_fan(
    gaps: Float[np.ndarray, "m n"],
    references: Mapping[str, Float[np.ndarray, " _"]],
    *,
    delta: Real,
    plan: TrimmingPlan | None = None,
    run: int = 0,
    quantity: str = "logit gap",
    seeds: Sequence[str] = (),
) -> Figure:
    """Distributions of all seeds with the references, the tolerance band, and one run's trimmed part shaded.

    Parameters
    ----------
    gaps : ndarray, shape (m, n)
        One run per row.
    references : mapping of str to ndarray
        Samples of the consensus references by name.
    delta : float
        Half-width of the band around the first reference.
    plan : TrimmingPlan, optional
        Optimal trimming of run ``run`` at its level; the second panel shows the share of its values that is kept.
    run : int
        The run that ``plan`` trims.
    quantity : str
        Label of the horizontal axis.
    seeds : sequence of str
        Seed of each run; without them runs are called by their places.
    """
    figure, axes = new_figure(1, 2 if plan is not None else 1, width=4.6, height=3.4)
    fan = axes[0, 0]
    for index, row in enumerate(gaps):
        fan.plot(*_steps(row), color=CONTEXT, alpha=0.35, linewidth=0.6, label="seeds" if index == 0 else None)
    for color, (name, sample) in zip(PALETTE, references.items(), strict=False):
        fan.plot(*_steps(sample), color=color, label=REFERENCE_LABELS.get(name, name))
    first = next(iter(references.values()))
    x, y = _steps(first)
    fan.fill_between(
        x,
        np.clip(y - delta, 0, 1),
        np.clip(y + delta, 0, 1),
        color=PALETTE[0],
        alpha=0.15,
        linewidth=0,
        label=f"±δ = {delta:.3f}",
    )
    fan.set(
        xlabel=quantity,
        ylabel="cumulative share of test examples",
        title=f"{len(gaps)} seed{'s' if len(gaps) > 1 else ''}",
    )
    legend_below(fan)
    if plan is not None:
        _trimmed_part(axes[0, 1], plan, _called(run, seeds), quantity)
    return figure


def _trimmed_part(axis: Axes, plan: TrimmingPlan, seed: str, quantity: str) -> None:
    """Histogram of one run's values with what the optimal trimming takes away shaded."""
    mass = np.diff(plan.candidate_cdf, prepend=0.0)
    removed = mass * (1 - plan.kept * (1 - plan.alpha))
    edges = np.linspace(plan.values[0], plan.values[-1], 41)
    whole, _ = np.histogram(plan.values, bins=edges, weights=mass)
    gone, _ = np.histogram(plan.values, bins=edges, weights=removed)
    width = np.diff(edges)
    axis.bar(edges[:-1], whole - gone, width, align="edge", color=PALETTE[0], alpha=0.55, label="kept")
    axis.bar(edges[:-1], gone, width, bottom=whole - gone, align="edge", color=PALETTE[1], label="trimmed")
    title = f"seed {seed}: {100 * gone.sum():.3g} % trimmed"
    axis.set(xlabel=quantity, ylabel="share of test examples", title=title, ylim=(0, 1.05 * whole.max()))
    legend_below(axis)


@in_style
def distance_curves(
    alphas: Sequence[float],
    curves: Float[np.ndarray, "a m"],
    *,
    delta: Real,
    levels: Float[np.ndarray, " m"],
    seeds: Sequence[str] = (),
) -> Figure:
    """D(alpha) of every run; a run's level is where its curve crosses delta. Few seeds have their colors."""
    figure, axes = new_figure()
    axis = axes[0, 0]
    for run, curve in enumerate(curves.T):
        few = curves.shape[1] <= SEEDS_NAMED
        seed = _called(run, seeds)
        look = {"color": seed_color(run), "label": f"seed {seed}"} if few else {"color": CONTEXT, "linewidth": 0.8}
        of_seed(axis.plot(alphas, curve, alpha=0.9 if few else 0.5, **look), seed)
    axis.axhline(delta, color=REFERENCE, linestyle="--", linewidth=1, label=f"δ = {delta:.3f}")
    shown = (levels > 0) & (levels <= max(alphas))
    if shown.any():
        axis.plot(levels[shown], np.full(int(shown.sum()), delta), ".", color=REFERENCE, label="levels")
    axis.set(xlabel="trimming share α", ylabel="robust KS distance D(α)", ylim=(0, None))
    legend_below(axis)
    return figure


@in_style
def level_histograms(levels: Mapping[str, Float[np.ndarray, " m"]], *, delta: Real) -> Figure:
    """Levels against each reference, side by side."""
    figure, axes = new_figure(1, len(levels), width=3.0, height=2.6, sharey=True)
    top = max(float(values.max()) for values in levels.values())
    edges = np.linspace(0, max(top, 0.05), 25)
    for axis, color, (name, values) in zip(axes[0], PALETTE, levels.items(), strict=False):
        axis.hist(values, bins=edges, color=color, alpha=0.8)
        axis.axvline(float(values.mean()), color=REFERENCE, linewidth=1)
        axis.set(xlabel="trimming level")
        axis.set_title(f"{REFERENCE_LABELS.get(name, name)}: mean {values.mean():.3f}", fontsize=9)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel(f"number of seeds (δ = {delta:.3f})")
    return figure


@in_style
def level_against(
    levels: Float[np.ndarray, " m"],
    companions: Mapping[str, Float[np.ndarray, " m"]],
    *,
    correlations: Mapping[str, str] | None = None,
) -> Figure:
    """Level against accuracy, churn, calibration error and any other metric that is given, one panel each.

    Parameters
    ----------
    levels : ndarray, shape (m,)
        Levels.
    companions : mapping of str to ndarray, shape (m,)
        Axis label to values.
    correlations : mapping of str to str, optional
        Text for each panel's title, such as a rank correlation with its interval.
    """
    figure, axes = new_figure(1, len(companions), width=3.0, height=2.8, sharey=True)
    for axis, color, (name, values) in zip(axes[0], PALETTE, companions.items(), strict=False):
        axis.scatter(values, levels, s=14, color=color, alpha=0.75, linewidth=0)
        axis.set_xlabel(name)
        axis.locator_params(axis="x", nbins=5)
        if correlations and name in correlations:
            axis.set_title(correlations[name], fontsize=8, fontweight="normal")
    axes[0, 0].set_ylabel("trimming level")
    return figure


@in_style
def ensemble_figure(curves: Mapping[str, EnsembleCurve], *, count: SeedCount | None = None, delta: Real) -> Figure:
    """Distance and level of the consensus of M runs against the mixture of disjoint runs.

    Parameters
    ----------
    curves : mapping of str to EnsembleCurve
        By reference name.
    count : SeedCount, optional
        Adds the half-to-half distances, their threshold and the stopping point.
    delta : float
        Tolerance.
    """
    figure, axes = new_figure(1, 2, height=3.3)
    distance, level = axes[0]
    for color, (name, curve) in zip(PALETTE, curves.items(), strict=False):
        label = REFERENCE_LABELS.get(name, name)
        for axis, values in ((distance, curve.ks), (level, curve.level)):
            low, high = np.quantile(values, [0.025, 0.975], axis=1)
            axis.fill_between(curve.sizes, low, high, color=color, alpha=0.15, linewidth=0)
            axis.plot(curve.sizes, values.mean(axis=1), "o-", markersize=3, color=color, label=label)
    if count is not None:
        distance.plot(count.rungs, count.distance, "s--", markersize=3, color=REFERENCE, label="half to half")
        distance.axhline(count.threshold, color=REFERENCE, linewidth=0.8, linestyle=":", label="δ/4")
        if count.recommended is not None:
            distance.axvline(count.recommended, color=REFERENCE, linewidth=0.8)
            distance.annotate(
                f"M = {count.recommended}",
                (count.recommended, 0.98),
                xycoords=("data", "axes fraction"),
                xytext=(-4, 0),
                textcoords="offset points",
                ha="right",
                va="top",
            )
    distance.set(xscale="log", yscale="log", xlabel="runs M", ylabel="KS distance", title="to the disjoint mixture")
    level.set(xscale="log", xlabel="runs M", ylabel=f"trimming level (δ = {delta:.3f})", title="trimming level")
    legend_below(distance, columns=2)
    return figure


@in_style
def ranking_figure(
    levels: Float[np.ndarray, " m"], ranking: SeedRanking, *, shown: int = 40, seeds: Sequence[str] = ()
) -> Figure:
    """Seeds in order of their level with intervals; those that tie with the best are colored.

    Of more than ``shown`` seeds the most and the least typical are shown, half each, with a gap between.
    """
    half, every = shown // 2, len(levels) <= shown
    order = ranking.order if every else np.concatenate([ranking.order[:half], ranking.order[-half:]])
    place = np.arange(1, len(order) + 1) + (0 if every else 2 * (np.arange(len(order)) >= half))
    figure, axes = new_figure(width=min(6.4, 3.4 + 0.1 * len(order)), height=3.2)
    axis = axes[0, 0]
    for ties, color, label in ((True, PALETTE[0], "ties with the best"), (False, PALETTE[1], "worse than the best")):
        chosen = ranking.ties_with_best[order] == ties
        if chosen.any():
            runs = order[chosen]
            low, high = ranking.level_low[runs], ranking.level_high[runs]
            holds = (low <= levels[runs]) & (levels[runs] <= high)  # else there is no interval to draw
            axis.errorbar(
                place[chosen],
                levels[runs],
                yerr=np.where(holds, [levels[runs] - low, high - levels[runs]], 0),
                fmt="o",
                markersize=3.5,
                elinewidth=0.9,
                color=color,
                label=label,
            )
    names = [_called(run, seeds) for run in order]
    close = sum(map(len, names)) > 24  # too many to stand upright beside each other
    axis.set_xticks(place, names, rotation=90 if close else 0, fontsize=6.5 if close else 9)
    axis.set_xlim(place[0] - 0.5, place[-1] + 0.5)
    title = f"{len(levels)} seeds" if every else f"{half} most and {half} least typical of {len(levels)} seeds"
    axis.set(xlabel="seed", ylabel="trimming level", title=title)
    legend_below(axis)
    return figure


@in_style
def pairwise_heat_map(matrix: Float[np.ndarray, "m m"], *, label: str, seeds: Sequence[str] = ()) -> Figure:
    """Matrix over pairs of runs, ordered by their mean so that outlying seeds come last."""
    order = np.argsort(matrix.mean(axis=0) + matrix.mean(axis=1))
    figure, axes = new_figure(width=4.6, height=3.8)
    axis = axes[0, 0]
    image = axis.imshow(matrix[np.ix_(order, order)], cmap="viridis", vmin=0, interpolation="nearest")
    axis.grid(False)
    ticks = np.unique(np.linspace(0, len(order) - 1, min(len(order), 10)).astype(int))
    names = [_called(order[tick], seeds) for tick in ticks]
    axis.set_xticks(ticks, names)
    axis.set_yticks(ticks, names)
    axis.set(xlabel="reference seed", ylabel="candidate seed")
    figure.colorbar(image, ax=axis, label=label)
    return figure


@in_style
def group_levels(
    levels: Mapping[str, Float[np.ndarray, " _"]], churn: Mapping[str, Float[np.ndarray, " _"]], *, delta: Real
) -> Figure:
    """Levels and mean churn of the runs of several groups (factors varied, arms, epochs), with their means."""
    figure, axes = new_figure(1, 2, width=max(3.6, 1.1 * len(levels)), height=3.0)
    jitter = np.random.default_rng(0)
    labels = (f"trimming level (δ = {delta:.3f})", "mean churn against the other runs")
    for axis, groups, label in zip(axes[0], (levels, churn), labels, strict=True):
        for place, values in enumerate(groups.values()):
            across = place + 0.22 * (jitter.random(len(values)) - 0.5)
            axis.plot([place - 0.25, place + 0.25], [values.mean()] * 2, color=REFERENCE, linewidth=1.4)
            axis.scatter(across, values, s=18, color=PALETTE[0], alpha=0.7, linewidth=0, zorder=3)
        axis.set_xticks(range(len(groups)), list(groups))
        axis.set_ylabel(label)
        axis.set_ylim(0, None)
    return figure
