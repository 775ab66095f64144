"""``numbers.csv`` beside a report: every number of the artifacts that it gathers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.engine.build import Gathered
from pipeline.engine.inventory.record import record_of
from pipeline.results.chosen import Chosen
from pipeline.results.files import as_csv
from pipeline.results.table import tidy

NUMBERS = "numbers.csv"


def numbers_csv(members: Mapping[str, Sequence[Gathered]]) -> str:
    """Write the tidy table of gathered artifacts as CSV, of their payload alone, so that equal runs give equal bytes.

    Parameters
    ----------
    members : mapping
        Gathered artifacts by stage, with the labels of their cells.
    """
    gathered = [item for group in members.values() for item in group]
    records = [replace(record_of(item.artifact, 0.0), provenance={}) for item in gathered]
    labels = {item.artifact.key: item.labels for item in gathered}
    table = tidy(Chosen(records, {one.address: one for one in records}, labels))
    return as_csv(table.drop_columns(["made"]))
