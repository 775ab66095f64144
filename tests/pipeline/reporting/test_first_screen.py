"""Which headline answers a report's question."""

import pytest

from analysis.pages.blocks import Headline, Section, Table
from pipeline.checks.general import check
from pipeline.config.run import ReportConfig, RunConfig
from pipeline.engine.stages import STAGES
from pipeline.errors import UserError
from pipeline.reporting.first_screen import answering


def test_few_runs_are_answered_by_the_stages_first_headline():
    table = Table(["group", "churn"], [["mlp", "6.6 %"]], "Of two runs.")
    churn = Headline("churn", "How far do runs differ?", "By 6.6 %.", table, None)
    sections = {"train": Section("Runs", []), "statistics": Section("Seeds", [], headlines=[churn])}
    assert answering(sections, "statistics") == answering(sections, "") == ("statistics", churn)
    stage, few = answering(sections, "statistics.seed_count")
    assert stage == "statistics" and few is not None and few.name == "churn"
    assert few.answer == "These runs are too few to answer it. By 6.6 %."
    assert answering({"statistics": Section("Seeds", [])}, "statistics") == ("statistics", None)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (
            "statistics.chrun",
            "report.answers=statistics.chrun names no headline of stage statistics. Those: statistics.churn, "
            "statistics.contrast, statistics.seed_count.",
        ),
        ("statistik", "report.answers=statistik names no stage that can answer. Those: train, snapshots, "),
    ],
)
def test_a_slip_is_refused_before_anything_is_made(answers, message):
    with pytest.raises(UserError) as refused:
        check(RunConfig(report=ReportConfig(answers=answers)))
    assert message in str(refused.value)


def test_every_stage_that_a_report_shows_can_answer():
    for stage in STAGES.values():
        assert stage.report is None or stage.headlines, stage.name
