"""Sections of the page on a comparison of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.comparison.measures import INTERVALS, MEASURES, estimate
from analysis.comparison.run_figure import run_figure
from analysis.comparison.run_numbers import RunNumbers
from analysis.pages.blocks import Block, Picture, Section, Table, Text

if TYPE_CHECKING:
    import pandas as pd

PAIRS_UP_TO = 200
"""Pairs of runs up to which the page lists them."""


def run_sections(result: RunNumbers) -> list[Section]:
    """Put a comparison into blocks: the figure, the numbers with their intervals, every run, every pair."""
    named = {(row["measure"], row["of"]): row for row in result.rows}
    runs, examples = result.outputs.logits.shape[:2]
    lead = [
        f"Mean accuracy {estimate(named['accuracy', 'mean run'])}; the ensemble's is "
        f"{estimate(named['accuracy', 'ensemble'])}.",
        f"Two runs disagree on a share of {estimate(named['churn', 'between two runs'])} of the examples; on "
        f"{result.growth[-1]:.3g} the {runs} runs do not all agree.",
    ]
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
    return [Section("Runs", blocks, lead), Section("Run by run", details)]


def _listed(table: pd.DataFrame, caption: str) -> Table:
    columns = [name.replace("_", " ") for name in table.columns]
    return Table(columns, [list(row) for row in table.itertuples(index=False, name=None)], caption)
