"""The page holds every artifact, finished or not, and groups over seeds with the project's own intervals."""

import dataclasses
import json
import re

import pytest

from analysis.verdicts import student_mean_interval
from pipeline.browse.contents import contents_of
from pipeline.browse.groups import groups_of, interval
from pipeline.browse.page import render
from pipeline.browse.rows import rows_of
from tests.pipeline.browse.browse_store import HOSTILE


@pytest.fixture(scope="module")
def contents(store):
    return contents_of(rows_of(store), store.root, store.root / "browse.html")


def test_finished_failed_and_stopped_artifacts_have_a_row(contents):
    rows, states = contents["main"]["rows"], contents["main"]["states"]
    found = [states[state] for state in rows["state"]]
    assert found.count("done") == 16 and found.count("failed") == 1 and found.count("stopped") == 1
    assert contents["main"]["notes"][str(found.index("failed"))] == HOSTILE
    assert contents["main"]["notes"][str(found.index("stopped"))] == "epoch 3/10"
    assert rows["studies"] == ["toy"]


def test_a_group_is_everything_but_the_seed_with_the_interval_of_the_project(contents):
    main = contents["main"]
    square = main["stages"].index("square")
    groups = [group for group in main["groups"] if group["stage"] == square]
    assert sorted(group["words"]["training.lr"] for group in groups) == ["0.1", "0.2"]
    own = main["numbers"][square]
    for group in groups:
        values = [own["columns"][0][own["rows"].index(row)] for row in group["rows"]]
        n, *found, why = group["summary"]["0"]
        assert (n, why) == (4, "") and found == pytest.approx(student_mean_interval(values), rel=1e-6)


def test_seeds_that_are_crossed_and_single_runs_have_no_interval():
    assert interval("loss", [1.0, 2.0, 3.0], True)[-1] == "crossed seeds"
    assert interval("loss", [1.0], False)[-1] == "one run" and interval("loss", [1.0, 1.0], False)[-1] == "equal values"
    assert interval("loss", [0.0, 0.1], False)[3] == 0 and interval("test_accuracy", [0.99, 1.0], False)[4] <= 1


def test_the_curve_of_a_training_that_is_not_finished_is_there(contents):
    (curve,) = contents["curves"]["curves"]
    assert curve["epochs"] == [1, 2] and curve["values"] == {"train_loss": [0.5, 0.25]}


def test_text_from_data_ends_no_element_and_nothing_is_loaded(contents):
    page = render(contents)
    assert "onerror=alert" in page and "<img" not in page and page.count("</script>") == 4
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    found = re.search(r'<script type="application/json" id="data-main">(.*?)</script>', page)
    assert json.loads(found[1])["rows"] == contents["main"]["rows"]


def test_groups_that_only_a_stages_version_sets_apart_say_it(store):
    rows = rows_of(store)
    described = {record.address: {"model": "mlp"} for record in rows.records}
    assert all("version" not in group.words for group in groups_of(rows, described))
    rows.chosen.records[:] = [dataclasses.replace(one, version=1 + i % 2) for i, one in enumerate(rows.records)]
    told = [group.words for group in groups_of(rows, described)]
    assert {"model": "mlp", "version": "1"} in told and {"model": "mlp", "version": "2"} in told
