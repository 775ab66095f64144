"""Which headline answers a report's question."""

import pytest

from analysis.pages.blocks import Headline, Section, Table
from pipeline.errors import UserError
from pipeline.reporting.first_screen import answering


def test_few_runs_are_answered_by_the_first_headline_and_a_slip_is_refused() -> None:
    table = Table(["group", "churn"], [["mlp", "6.6 %"]], "Of two runs.")
    churn = Headline("churn", "How far do runs differ?", "By 6.6 %.", table, None)
    sections = {"statistics": Section("Seeds", [], headlines=[churn])}
    assert answering(sections, "statistics.seed_count") == ("statistics", churn)
    with pytest.raises(UserError, match="report.answers=statistics.chrun names no headline"):
        answering(sections, "statistics.chrun")
