"""A page gives verdicts at the published setting only, says what holds here otherwise, and nothing under debug=tiny."""

import dataclasses
import json
import re

import pytest

from analysis.pages.blocks import Finding, Headline, Section, Table, Text
from analysis.pages.cells import summary_cells
from analysis.pages.views import number
from analysis.verdicts import HOLDS, OPEN, Claim, Decided, Setting, Standing
from pipeline.engine.artifacts import Store, open_partial
from pipeline.engine.build import Build
from pipeline.engine.graph import Graph
from pipeline.engine.schedule.work import TOGETHER
from pipeline.reporting import page
from pipeline.reporting.setting import Comparison
from tests.pipeline.reporting.test_drawing import pictures

SMALLER = Setting("other", ("3 of 5 seeds",))
CLAIMS = [
    Claim(
        "R1",
        "the machine beats the network",
        Decided(HOLDS, "factor 3.1 [2.9, 3.3] over n = 5 seeds.", 0.0001, 0.9999),
        published="a factor of 3",
        standing=Standing("published"),
    ),
    Claim("R2", "the machines are close", Decided(HOLDS, "0.1 [0.0, 0.2].", 0.04, 0.96)),
    Claim("R3", "it does not help", Decided(OPEN, "n = 3 seeds; 5 are needed.")),
]


class Answer(Comparison):
    """What a comparison with the published setting would say."""

    def __init__(self, found: Setting) -> None:
        self.found, self.tiny = found, found.kind == "tiny"

    def setting(self, fields=()) -> Setting:
        return self.found


def rendered(tmp_path, monkeypatch, found: Setting) -> tuple[str, dict]:
    graph = Graph(("experiment=ck_regression", *(["debug=tiny"] if found.kind == "tiny" else [])))
    config = graph.compose()
    monkeypatch.setattr(page, "Comparison", lambda graph, config, missing: Answer(found))
    node = dataclasses.replace(graph.resolve("prepare", config), config=config)
    headline = Headline("ratio", "Does it?", "It does, 3.1 [2.9, 3.3] (n = 5).", Table(["a"], [[1.0]], "First."))
    blocks = [Finding("A finding."), Text("Before."), *CLAIMS, Table(["a"], [[1.0]], "A table.")]
    section = Section("Regression", blocks, [headline])
    monkeypatch.setattr(page, "_section", lambda name: lambda members, config: section)
    build = Build(node, graph, Store(tmp_path), open_partial(tmp_path / "report-1"), {}, {"regression": []})
    metrics = page.report(build)
    text = (build.folder / "report.html").read_text().replace(" ", " ")
    return text, json.loads(json.dumps(metrics))


def test_a_smaller_run_says_what_holds_here_in_another_color_and_never_in_bold(tmp_path, monkeypatch):
    text, metrics = rendered(tmp_path, monkeypatch, SMALLER)
    assert [one["word"] for one in metrics["verdicts"]] == ["holds here", "holds here", "open here"]
    assert "reproduced" not in text and "<b>" not in text
    assert text.count('class="claim here"') == 3 and '<span class="chip here">holds here</span>' in text
    assert '<span class="chip here">R1: holds here</span>' in text, "the first screen names the claims"
    assert text.count("Not tested at the published setting: 3 of 5 seeds.") == 1, "claims do not repeat the page's"
    assert "Regression. Of 3 claims: holds here 2, open here 1." in metrics["findings"]
    assert metrics["answer"] == "It does, 3.1 [2.9, 3.3] (n = 5)." and metrics["answer"] in text
    assert "is a statement about these runs alone, not about the published result." in text
    assert "DEBUG" not in text and "a factor of 3" in text


def test_a_page_whose_figures_are_drawn_ahead_has_the_same_bytes(tmp_path, monkeypatch):
    sections = {name: Section(name, [Text("Before."), *pictures(5)]) for name in ("train", "regression")}
    found = {}
    for workers in ("1", "2", "3"):
        monkeypatch.setenv(TOGETHER, workers)
        graph = Graph(("experiment=ck_regression", "report.sections=[train,regression]"))
        config = graph.compose()
        monkeypatch.setattr(page, "Comparison", lambda graph, config, missing: Answer(SMALLER))
        monkeypatch.setattr(page, "_section", lambda name: lambda members, config: sections[name])
        node = dataclasses.replace(graph.resolve("prepare", config), config=config)
        folder = open_partial(tmp_path / workers / "report-1")
        page.report(Build(node, graph, Store(tmp_path), folder, {}, {"regression": [], "train": []}))
        found[workers] = {one.name: one.read_bytes() for one in folder.rglob("*") if one.is_file()}
    assert found["1"] == found["2"] == found["3"] and len(found["1"]) > 10


def test_verdicts_are_given_at_the_published_setting(tmp_path, monkeypatch):
    text, metrics = rendered(tmp_path, monkeypatch, Setting("published"))
    assert [one["word"] for one in metrics["verdicts"]] == ["reproduced", "holds here", "open here"]
    assert "these runs alone" in text, "the second and third claim are ours"
    assert '<span class="chip yes">reproduced</span>' in text and "Tested at the published setting" in text
    # raw and adjusted, over the claims that were tested
    assert "One-sided p 1.0e-04; 2.0e-04 by Holm over 2 claims of this page" in text
    assert 'href="https://arxiv.org/abs/2310.18612"' in text and "Saad Qadeer" in text


def test_what_passes_alone_but_not_among_all_is_open_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "CLAIMS", [CLAIMS[1]] * 3)
    text, metrics = rendered(tmp_path, monkeypatch, SMALLER)
    assert {one["outcome"] for one in metrics["verdicts"]} == {"open"}
    assert "By itself it holds; adjusted it is open." in text


def test_many_claims_that_nothing_decides_stand_behind_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "CLAIMS", [CLAIMS[0], *[CLAIMS[2]] * 4])
    text, metrics = rendered(tmp_path, monkeypatch, SMALLER)
    fold = text[text.index('<details class="fold">') :]
    assert "<summary>4 claims that these runs do not decide</summary>" in fold and len(metrics["verdicts"]) == 5
    assert text.count('class="claim here"') == 5 and fold.count("it does not help") == 4
    assert text.index("the machine beats the network") < text.index('class="fold"') < text.index("A table.</caption>")


def test_a_shrunk_run_is_marked_and_decides_nothing(tmp_path, monkeypatch):
    text, metrics = rendered(tmp_path, monkeypatch, Setting("tiny"))
    assert re.search(r"<title>DEBUG: ", text) and re.search(r"<h1>DEBUG: ", text)
    assert text.index('class="debug"') < text.index("<h1>") and "no number on this page is evidence" in text
    assert metrics["verdicts"] == [] and 'class="claim' not in text and 'class="chip' not in text
    assert "a factor of 3" not in text and "published setting" not in text, "no published number beside a tiny one"
    assert "A table." in text and "A finding." in text


def test_numbers_have_the_digits_that_their_interval_allows():
    n, mean, sd, interval = summary_cells([0.6641, 0.6312, 0.7055, 0.6423, 0.6771])
    assert (n, number(mean), number(sd), interval) == (5, "0.664", "0.029", "[0.628, 0.700]")
    assert mean == pytest.approx(0.66404)
    cells = summary_cells([92.0, 99.9, 84.0, 99.7, 100.0], (0, 100))
    assert [number(cell) for cell in cells] == ["5", "95", "7", "[78, 99]"]
    assert summary_cells([1.0, 1.0, 1.0])[3] == summary_cells([1.0])[3] == "–"
