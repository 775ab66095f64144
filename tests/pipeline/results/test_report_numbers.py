"""``numbers.csv`` of a report holds every number of its members and nothing that differs between equal runs."""

import csv
import io

from pipeline.engine.artifacts import Artifact
from pipeline.engine.build import Gathered
from pipeline.results.report_numbers import numbers_csv


def test_each_number_of_each_member_has_a_row_with_its_labels_and_no_time(study):
    store, target = study
    members = [
        Gathered(one.labels, one.node.config, Artifact(store.folder(*one.node.address)), one.node.portably())
        for one in target.members["square"]
    ]
    rows = list(csv.DictReader(io.StringIO(numbers_csv({"square": members}))))
    assert [(row["seed"], row["quantity"]) for row in rows] == [(str(seed), "sum") for seed in range(3)]
    assert [float(row["value"]) for row in rows] == [one.artifact.metrics["sum"] for one in members]
    assert "made" not in rows[0] and rows[0]["key"] == members[0].artifact.key


def test_a_report_without_members_has_the_heading_alone():
    assert numbers_csv({"regression": []}).splitlines() == ["stage,table,row,entry,quantity,value,key"]
