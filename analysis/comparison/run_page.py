"""Sections of the page on a comparison of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.comparison.measures import INTERVALS, MEASURES, Row, estimate
from analysis.comparison.run_figure import accuracy_figure, run_figure
from analysis.comparison.run_numbers import RunNumbers
from analysis.pages.blocks import Block, Finding, Headline, Picture, Section, Table, Text
from analysis.verdicts import format_estimate

if TYPE_CHECKING:
    import pandas as pd

PAIRS_UP_TO = 200
"""Pairs of runs up to which the page lists them."""


def run_sections(result: RunNumbers) -> list[Section]:
    """Put a comparison into blocks: the figure, the numbers with their intervals, every run, every pair."""
    named = {(row["measure"], row["of"]): row for row in result.rows}
    runs, examples = result.outputs.logits.shape[:2]
    accuracy, ensemble, churn = (
        _percent(named[key])
        for key in (("accuracy", "mean run"), ("accuracy", "ensemble"), ("churn", "between two runs"))
    )
    lead = f"Mean accuracy {accuracy}; the ensemble's is {ensemble}."
    short = Table(
        ["measure", "estimate, 95 % interval over runs"],
        [
            ["accuracy of a run", accuracy],
            ["accuracy of their ensemble", ensemble],
            ["two runs decide differently", churn],
            ["not all runs agree", f"{100 * result.growth[-1]:.3g} %"],
        ],
        f"{runs} runs on the same {examples:,} examples.",
    )
    headline = Headline(
        "churn",
        "",
        f"Two of these runs disagree on {churn} of the {examples:,} examples (n = {runs} runs).",
        short,
        Picture(
            accuracy_figure(result),
            "Accuracy of every run, their mean and their ensemble, with 95 % intervals over runs.",
            "Accuracy of every run with their mean and ensemble",
        ),
    )
    figure = Picture(
        run_figure(result),
        "Accuracy of every run and of the ensemble; churn of every pair; trimming level of every run against the "
        f"three references; share of examples on which so many runs do not all agree. {examples:,} examples.",
        "Accuracy, churn, trimming levels and ambiguity of the runs",
    )
    numbers = Table(
        ["measure", "of", "estimate [95 %]", "runs"],
        [[MEASURES[row["measure"]].heading, row["of"], estimate(row), row["runs"]] for row in result.rows],
        f"{INTERVALS} Churn is the share of examples on which two runs decide differently; ambiguity the share on "
        "which runs do not all agree, discrepancy the largest churn against a baseline, over all subsets of so many "
        "runs; the agreement of errors is Cohen's κ of who errs where; the trimming level the share of a run's "
        "outputs that must be left out to make them typical of the others.",
    )
    blocks: list[Block] = [figure, numbers, *(Text(note) for note in result.notes)]
    details: list[Block] = [
        _listed(result.runs, "Every run: scores, mean churn and agreement with the others, levels.")
    ]
    if len(result.pairs) <= PAIRS_UP_TO:
        details.append(_listed(result.pairs, "Every pair of runs."))
    return [Section("Runs", [Finding(lead), *blocks], [headline]), Section("Run by run", details)]


def _percent(row: Row) -> str:
    shown, _, interval = format_estimate(*(100 * row[end] for end in ("value", "low", "high"))).partition(" ")
    return f"{shown} % {interval}".removesuffix(" (no interval)")


def _listed(table: pd.DataFrame, caption: str) -> Table:
    columns = [name.replace("_", " ") for name in table.columns]
    return Table(columns, [list(row) for row in table.itertuples(index=False, name=None)], caption)
