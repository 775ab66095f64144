"""Report section of the surrogates: faithfulness by kernel, published targets, the order of the kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analysis.attribution.figures import confidence_scatter, interval_bars
from analysis.pages.blocks import Block, Finding, Picture, Section, Table
from analysis.pages.cells import NO_SPREAD
from analysis.surrogates.faithfulness import confidences, log_odds
from analysis.verdicts import format_estimate, run_interval_within, student_mean_interval
from pipeline.config.run import RunConfig
from pipeline.engine.build import Gathered
from pipeline.reporting.groups import grouped, keys_of
from pipeline.reporting.headlines import over_seeds
from pipeline.reporting.spoken import SHARE, over_runs
from pipeline.stages.surrogate.claims import (
    UNKNOWN,
    Target,
    chosen,
    equivalence_claims,
    order_claims,
    standing_of,
    target_claims,
)
from pipeline.stages.surrogate.measures import MEASURES, NAMED_TAUS, kind_of, values_over_runs
from pipeline.stages.surrogate.read import read_predictions, read_published

INTERVALS = "95 % intervals over seeds, which stay within the measure's range."
MOST_POINTS = 1000
"""Points of a scatter plot up to which it is drawn as SVG."""
TRUE_CLASS = "τ of the true class asks whether the machine is sure where its network is, and has no published band."
DIFFERENCES = {
    "tau_published_poison": "The published measure follows the probability of class 0, whatever class a point has",
    UNKNOWN: "The source of the published number is lost, and what it ranks with it: nothing is compared with it",
}
"""What it means that the published measure and τ of the true class differ; of the others:"""
TWO_CLOUDS = (
    "The published measure ranks the positive class over all points, so that it mostly ranks two clouds of classes "
    "against each other"
)


def section(members: list[Gathered], config: RunConfig) -> Section:
    """Tabulate faithfulness over seeds, group by group, and decide what ``report.options`` names.

    ``report.options.targets`` lists published numbers, each with the name of the measure that it is about; the mean
    over seeds is compared with the band [low, high], where there is one, for the groups that ``cells`` names.
    ``order`` lists labels of groups from the most to the least faithful, ``equivalent`` kernels that should agree.
    """
    groups = grouped(members)
    options = config.report.options
    targets: list[Target] = options.get("targets", [])
    blocks: list[Block] = [_table(groups, members), *_split_tables(groups)]
    if not config.tiny:  # no published number stands beside those of a shrunk run
        blocks += _named_table(targets, groups)
    blocks.append(_bars(groups))
    name, group = next(iter(groups.items()))
    blocks.append(_scatter(name, group[0]))
    for target in targets:
        blocks += target_claims(target, groups)
    blocks += order_claims(options, groups)
    blocks += equivalence_claims(options, groups)
    blocks += _published(groups)
    findings = [
        Finding(
            f"{label}: same decision as the network on {over_runs(found, SHARE, '%')} of {_points(group)} "
            f"(n = {len(found)}).",
            keys_of(group),
        )
        for label, group in groups.items()
        if (found := defined(values_over_runs(group, "agreement")))
    ]
    headlines = over_seeds(
        "tau",
        "Does a kernel machine rank test points as its network does?",
        "The kernel machine's ranking of test points by confidence agrees with its network's to a Kendall's τ of {}, "
        "where 1 is the same order and 0 is chance",
        groups,
        lambda member: member.artifact.metrics["tau"],
        heading="Kendall τ",
        about=f"Confidence in the true class on {_points(members)}: kernel machine against network.",
        within=(-1.0, 1.0),
    )
    return Section("Surrogates", [*findings, *blocks], headlines)


def defined(values: list[float]) -> list[float]:
    """Leave out undefined values; whoever shows the rest shows both counts."""
    return [value for value in values if math.isfinite(value)]


def estimate(values: list[float], measure: str) -> str:
    """Write mean and interval over runs, which stays within the measure's range."""
    kind = kind_of(measure)
    if math.isinf(kind.low) or math.isinf(kind.high):
        mean, _, low, high = student_mean_interval(values)
        low, high = max(low, kind.low), min(high, kind.high)
    else:
        mean, _, low, high = run_interval_within(values, kind.low, kind.high)
    return format_estimate(mean, low, high)


def _rows(name: str, measures: list[str], group: list[Gathered], prefix: str = "") -> list[list[Any]]:
    rows: list[list[Any]] = []
    for measure in measures:
        values = values_over_runs(group, prefix + measure)
        found = defined(values)
        count = f"{len(found)}" if len(found) == len(values) else f"{len(found)} of {len(values)} (others undefined)"
        sd = float(np.std(found, ddof=1)) if len(found) > 1 else None
        rows.append([name, kind_of(measure).heading, count, estimate(found, measure), sd])
    return rows


def _table(groups: dict[str, list[Gathered]], members: list[Gathered]) -> Table:
    fits = [member.artifact.metrics["fit"] for member in members if member.artifact.metrics.get("fit")]
    converged = sum(bool(fit["converged"]) for fit in fits)
    note = f" {converged} of {len(fits)} iterative fits converged to their tolerance." if fits else ""
    return Table(
        ["group", "runs", *(MEASURES[measure].heading for measure in MEASURES)],
        [[name, len(group), *(_mean_cell(group, measure) for measure in MEASURES)] for name, group in groups.items()],
        f"Surrogates against their networks on {_points(members)}. All accuracies here, also the network's, are on "
        "these points alone, so that both are judged by the same rows; the section on training has the network's "
        "accuracy on all test rows. TAD is the surrogate's accuracy minus the network's, in points; τ ranks the "
        "log-odds of the true class; R_miss is the share of the network's errors that the surrogate repeats. "
        f"{_spread(groups)}{note}",
        keys=keys_of(members),
        command=members[0].command,
    )


def _spread(groups: dict[str, list[Gathered]]) -> str:
    """Explain the intervals, where there are any."""
    return INTERVALS if any(len(group) > 1 for group in groups.values()) else NO_SPREAD


def _mean_cell(group: list[Gathered], measure: str) -> str:
    values = values_over_runs(group, measure)
    found = defined(values)
    if not found:
        return "–"
    return estimate(found, measure).removesuffix(" (no interval)") + (
        f" (of {len(found)} runs)" if len(found) < len(values) else ""
    )


def _points(members: list[Gathered]) -> str:
    """Say how many test points the kernels have, on which the network's accuracy is measured here, too."""
    counts = {int(next(iter(member.artifact.metrics["n_test"].values()))) for member in members}
    return f"the kernel's {' or '.join(f'{count:,}' for count in sorted(counts))} test points"


def _split_tables(groups: dict[str, list[Gathered]]) -> list[Table]:
    """Tabulate the further test splits (triggered, shifted) apart."""
    rows, keys = [], []
    first = next(iter(groups.values()))[0]
    shown = ["network_accuracy", "surrogate_accuracy", "tad", "tau"]
    for name, group in groups.items():
        for split in list(group[0].artifact.metrics["n_test"])[1:]:
            rows += [[row[0], split, *row[1:]] for row in _rows(name, shown, group, f"{split}_")]
            keys += keys_of(group)
    if not rows:
        return []
    columns = ["group", "split", "measure", "runs", "mean, 95 % interval", "sd"]
    return [Table(columns, rows, f"The same on further test splits. {INTERVALS}", keys=keys, command=first.command)]


def _named_table(targets: list[Target], groups: dict[str, list[Gathered]]) -> list[Table]:
    """Show each published τ beside the measure that it is about, and τ of the true class beside both."""
    rows: list[list[Any]] = []
    shown: dict[str, str] = {}
    keys: list[str] = []
    for target in targets:
        measure = str(target["measure"])
        base = next((name for name in NAMED_TAUS if measure.endswith(name)), None)
        if base is None and measure != UNKNOWN:
            continue
        for name, group in chosen(target, groups).items():
            prefix = "" if base is None else measure.removesuffix(base)
            named = "definition unknown" if base is None else _counted(group, measure)
            rows.append([name, measure, str(target["published"]), str(standing_of(target)), named])
            rows[-1] += [_counted(group, f"{prefix}tau"), str(target.get("note", ""))]
            keys += keys_of(group)
            shown[base or UNKNOWN] = NAMED_TAUS.get(base or UNKNOWN, "")
    if not rows:
        return []
    rules = "; ".join(f"{name}: {rule}" for name, rule in shown.items() if rule)
    differences = "; ".join(dict.fromkeys(DIFFERENCES.get(name, TWO_CLOUDS) for name in shown))
    return [
        Table(
            ["group", "measure", "published", "standing", "the same measure here", "τ of the true class here", "note"],
            rows,
            f"Published τ and the same measure of these runs. {rules + '. ' if rules else ''}{differences}; "
            f"{TRUE_CLASS} {INTERVALS}",
            keys=list(dict.fromkeys(keys)),
            command=next(iter(groups.values()))[0].command,
        )
    ]


def _counted(group: list[Gathered], measure: str) -> str:
    values = values_over_runs(group, measure)
    found = defined(values)
    if not found:
        return f"undefined in all {len(values)} runs"
    return f"{estimate(found, measure)}, n = {len(found)}" + ("" if len(found) == len(values) else f" of {len(values)}")


def _bars(groups: dict[str, list[Gathered]]) -> Picture:
    bars = {}
    for name, group in groups.items():
        found = defined(values_over_runs(group, "tau"))
        mean, _, low, high = run_interval_within(found, -1.0, 1.0)
        bars[name] = (mean, mean if math.isnan(low) else low, mean if math.isnan(high) else high)
    return Picture(
        interval_bars(bars, label="Kendall τ, log-odds of the true class", title="Faithfulness by group"),
        f"Mean τ over seeds. {_spread(groups)}",
        "Mean Kendall τ: " + ", ".join(f"{name} {bar[0]:.3f}" for name, bar in bars.items()),
    )


def _scatter(name: str, member: Gathered) -> Picture:
    arrays = read_predictions(member.artifact)
    split = next(iter(member.artifact.metrics["n_test"]))
    labels = arrays[f"{split}.labels"]
    odds = [log_odds(arrays[f"{split}.{side}"].astype(np.float64)) for side in ("network", "surrogate")]
    network, surrogate = (values[:, 0] for values in confidences(odds[0], odds[1], labels, "correct"))
    right = arrays[f"{split}.network"].argmax(1) == labels
    tau = member.artifact.metrics["tau"]
    return Picture(
        confidence_scatter(network, surrogate, right, tau=float("nan") if tau is None else tau),
        f"{name}, first run: log-odds of the true class, the surrogate's against the network's, of every {split} "
        "point.",
        "Scatter of the surrogate's log-odds of the true class against the network's; errors of the network apart",
        raster=len(network) > MOST_POINTS,
    )


def _published(groups: dict[str, list[Gathered]]) -> list[Table]:
    """Show the published code's numbers beside the corrected ones, averaged over seeds."""
    rows: list[list[Any]] = []
    keys: list[str] = []
    command = ""
    for name, group in groups.items():
        found = {member.artifact.key: read_published(member.artifact) for member in group}
        found = {key: numbers for key, numbers in found.items() if numbers}
        if not found:
            continue
        keys += found
        command = command or next(member.command for member in group if member.artifact.key in found)
        pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for numbers in found.values():
            for row in numbers:
                if row["corrected"] is not None and row["published"] is not None:
                    pairs.setdefault((row["defect"], row["quantity"]), []).append((row["corrected"], row["published"]))
        for (defect, quantity), values in pairs.items():
            corrected, published = (np.array(column) for column in zip(*values, strict=True))
            spread = f"{published.min():.4g} to {published.max():.4g}"
            rows.append([name, defect, quantity, len(values), float(corrected.mean()), float(published.mean()), spread])
    if not rows:
        return []
    return [
        Table(
            ["group", "defect", "quantity", "values", "corrected", "published protocol", "its range"],
            rows,
            "Defects of the published code, each repeated alone beside the corrected number (mean over runs; the "
            "solver's rows also over refits with different seeds, which unseeded published fits differ by).",
            keys=keys,
            command=command,
        )
    ]
