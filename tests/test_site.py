"""The site shows what the project has: every exported name, every study by its data, and nothing from elsewhere."""

import doctest
import importlib
import itertools
import json
import random
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from scripts import site, study_cards, study_results

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "site"
STUDIES = study_results.read_studies()
EXPORTED = [
    "models",
    "kernels",
    *(f"analysis.{path.parent.name}" for path in sorted((ROOT / "analysis").glob("*/__init__.py"))),
]


def built_last() -> bool:
    """Whether the site is there and newer than its pages."""
    inventory = SITE / "objects.inv"
    changed = max(path.stat().st_mtime for path in (ROOT / "docs").rglob("*") if path.is_file())
    return inventory.exists() and inventory.stat().st_mtime > changed


built = pytest.mark.skipif(not built_last(), reason="no site, or one older than its pages: `make docs` builds it")


@pytest.mark.parametrize("module", [site, study_cards, study_results], ids=lambda module: module.__name__)
def test_examples_of_the_scripts_run(module):
    tested = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert tested.attempted and not tested.failed


def test_there_are_eight_studies():
    assert [study["study"] for study in STUDIES] == list(range(1, 9))
    assert {study["page"] for study in STUDIES} == {page.stem for page in study_cards.STUDIES.glob("*.md")} - {"index"}
    for study in STUDIES:
        known = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
        for pattern in study["experiments"]:
            assert any(re.fullmatch(pattern.replace("*", ".*"), name) for name in known), pattern


def test_cards_table_gallery_and_figures_are_those_of_the_data():
    for path, content in study_cards.pages().items():
        assert path.read_bytes() == content, f"{path.relative_to(ROOT)}: run `python -m scripts.study_cards`"
        assert path.suffix != ".svg" or len(content) < 60_000, path.name


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study["page"])
def test_numbers_of_a_figure_stand_on_the_page_of_their_study(study):
    pages = [study["page"], "trimming"] if study["page"] == "closeness" else [study["page"]]
    text = "".join((study_cards.STUDIES / f"{page}.md").read_text().partition(study_cards.CARD[1])[2] for page in pages)
    printed = study_cards.numbers_in(text)
    for panel in study["panels"].values():
        for row in panel["rows"]:
            shown = [row[name] for name in ("value", "low", "high", "sd", "published") if row.get(name) is not None]
            assert not {abs(float(value)) for value in shown} - printed - {0.0}, row["label"]


def finished_report(folder: Path, setting: str = "not tested at the published setting: 3 of 5 seeds") -> Path:
    folder.mkdir(parents=True)
    verdict = {
        "name": "T1",
        "statement": "s",
        "word": "holds here",
        "evidence": "n = 5",
        "published": "",
        "standing": "",
    }
    (folder / "metrics.json").write_text(json.dumps({"setting": setting, "verdicts": [verdict]}))
    command = "python run.py experiment=toy paths.store=elsewhere stage=report"
    provenance = {"command": command, "commit": "0123456789", "ended": "2026-11-30T00:00:00"}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    (folder / "manifest.json").write_text(json.dumps({"key": "0123456789ab"}))
    (folder / "report.html").write_text("<p>page</p>")
    return folder


def study_of_one_claim() -> dict:
    claim = {"name": "T1", "statement": "s", "where": "abstract", "standing": "published", "said": []}
    return {"runs": {}, "claims": [claim], "panels": {}}


def test_a_finished_report_is_entered_with_its_words_and_its_page(tmp_path):
    study = study_results.enter_report(study_of_one_claim(), finished_report(tmp_path / "toy-01"), tmp_path / "kept")
    run = study["runs"]["toy"]
    assert run["share"] == ["3 of 5 seeds"] and run["keys"] == ["0123456789ab"] and run["commit"] == "0123456"
    assert run["command"] == "python run.py experiment=toy"
    assert study["claims"][0]["said"] == [{"run": "toy", "word": "holds here", "evidence": "n = 5"}]
    assert (tmp_path / "kept" / run["report"]).read_text() == "<p>page</p>"
    assert not study_results.find_problem(study)
    study["runs"]["ours"] = study["runs"].pop("toy") | {"title": "a title of ours", "seeds": 5}
    study["claims"][0]["said"][0]["run"] = "ours"
    again = study_results.enter_report(study, tmp_path / "toy-01", tmp_path / "kept")
    assert [one["run"] for one in again["claims"][0]["said"]] == ["ours"], "a run by the same command is replaced"
    assert list(again["runs"]) == ["ours"] and again["runs"]["ours"]["title"] == "a title of ours"


def test_a_claim_of_another_study_is_left_to_it(tmp_path):
    folder = finished_report(tmp_path / "toy-01")
    found = study_results.enter_report(study_of_one_claim() | {"claims": []}, folder, tmp_path, others=["T1"])
    assert found["claims"] == []
    found = study_results.enter_report(study_of_one_claim() | {"claims": []}, folder, tmp_path, others=["T10"])
    assert [claim["name"] for claim in found["claims"]] == ["T1"]


def test_what_is_no_finished_report_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="is no finished report"):
        study_results.enter_report(study_of_one_claim(), tmp_path, tmp_path / "kept")
    with pytest.raises(SystemExit, match="debug=tiny and says nothing"):
        folder = finished_report(tmp_path / "toy-02", "debug=tiny: nothing is tested")
        study_results.enter_report(study_of_one_claim(), folder, tmp_path / "kept")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda study: study["runs"]["small"].update(setting="huge"), "has the setting 'huge'"),
        (lambda study: study["runs"]["small"].update(share=[]), "does not say what differs"),
        (lambda study: study["claims"][0].update(standing="rumor"), "has the standing 'rumor'"),
        (lambda study: study["claims"][0]["said"][0].update(run="large"), "names the run large"),
        (lambda study: study["claims"][0]["said"][0].update(word="proved"), "is called 'proved'"),
        (lambda study: study["claims"][0]["said"][0].update(word="reproduced"), "not at the published setting"),
        (lambda study: study["panels"]["a"]["rows"][0].update(run="large"), "names the run large"),
        (lambda study: study["panels"]["a"]["rows"][0].update(value=9), "outside its interval"),
    ],
    ids=["setting", "share", "standing", "run", "word", "verdict", "number of no run", "interval"],
)
def test_data_that_cannot_be_are_refused(change, problem):
    study = study_of_one_claim()
    study["runs"]["small"] = {"setting": "other", "share": ["3 of 5 seeds"]}
    study["claims"][0]["said"] = [{"run": "small", "word": "open here", "evidence": "n = 3"}]
    study["panels"]["a"] = {"rows": [{"label": "x", "run": "small", "value": 1, "low": 0, "high": 2}]}
    assert not study_results.find_problem(study)
    change(study)
    assert problem in study_results.find_problem(study)


def test_the_python_of_the_tutorial_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), re.S)
    (network,) = (block for block in blocks if "class MyNet" in block)
    (kernel,) = (block for block in blocks if "kernel_matrix" in block)
    scope: dict = {}
    exec(network, scope)
    assert scope["MyNet"](in_channels=1, num_classes=10)(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    exec(kernel, scope)
    assert scope["gram"].matrix.shape == (10, 10)


class Addresses(HTMLParser):
    """What a page loads, and the pages of the site that it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.marks: set[str] = set()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.marks |= {found.get("id"), found.get("name")} - {None}
        if tag in ("script", "img", "source", "iframe"):
            self.loaded.append(found.get("src") or "")
        elif tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon"):
            self.loaded.append(found.get("href") or "")
        elif tag == "a":
            self.linked.append(found.get("href") or "")


@built
def test_the_reference_has_every_exported_name():
    lines = zlib.decompress((SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode().splitlines()
    known = {line.split(" ", 1)[0] for line in lines}
    wanted = {f"{module}.{name}" for module in EXPORTED for name in importlib.import_module(module).__all__}
    assert not wanted - known


@pytest.fixture(scope="module")
def addresses() -> dict[Path, Addresses]:
    """What every page of the site loads, links to, and can be led to."""
    found = {}
    for page in sorted(SITE.rglob("*.html")):
        found[page.resolve()] = Addresses()
        found[page.resolve()].feed(page.read_text(encoding="utf-8"))
    return found


@built
def test_no_link_of_the_site_is_dead(addresses):
    dead = []
    for page, own in addresses.items():
        for link in own.linked:
            path, _, mark = unquote(link).partition("#")
            target = (page.parent / path).resolve() if path else page
            if re.match(r"\w+:", link) or path.startswith("?"):
                continue
            target = target / "index.html" if target.is_dir() else target
            if not target.exists() or (mark and target in addresses and mark not in addresses[target].marks):
                dead.append((page.relative_to(SITE).as_posix(), link))
    assert not dead


@built
def test_nothing_is_loaded_from_elsewhere_and_kept_reports_are_there(addresses):
    for page, own in addresses.items():
        assert not [one for one in own.loaded if re.match(r"(https?:)?//", one)], page.name
    kept = {run["report"] for study in STUDIES for run in study["runs"].values() if run["report"]}
    assert kept == {page.name for page in (SITE / "reports").glob("*.html")}
    elsewhere = re.compile(r"url\(['\"]?(?:https?:)?//|@import ['\"]?http")
    assert not [style.name for style in SITE.rglob("*.css") if elsewhere.search(style.read_text(encoding="utf-8"))]


def test_kept_reports_are_those_of_the_data_and_small():
    kept = {run["report"] for study in STUDIES for run in study["runs"].values() if run["report"]}
    assert kept == {page.name for page in study_results.REPORTS.iterdir()}
    for page in study_results.REPORTS.iterdir():
        text = page.read_text(encoding="utf-8")
        assert len(text) <= study_results.LARGEST_REPORT and "<title>DEBUG" not in text, page.name
        assert text == study_results.page_alone(text.replace(study_results.KEPT, "")), page.name


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/studies/torchntk.md"])
def test_addresses_of_other_sites_are_well_formed(page):
    links = re.findall(r"\]\((\w+:[^)\s]*)\)", (ROOT / page).read_text())
    assert links and all(re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./~%-]*)?(#[\w-]+)?", link) for link in links)


def test_a_kept_page_draws_its_lines_where_the_report_does():
    rng = random.Random(0)
    whole = [0.0, 10.5, 20.3, 0.5, 100.0, -0.04]
    for count in range(1, 200):
        points = [[rng.choice([*whole, rng.uniform(-300, 300)]) for _ in range(2)] for _ in range(1 + count % 9)]
        path = study_results.shorter_path("M " + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points))
        numbers = [float(one) for one in re.findall(r"-?(?:\d+\.?\d?|\.\d)", path.replace("l", " "))]
        steps = list(zip(numbers[::2], numbers[1::2], strict=True))
        drawn = list(itertools.accumulate(steps, lambda a, b: (a[0] + b[0], a[1] + b[1])))
        for (x, y), (a, b) in zip(points, drawn, strict=True):
            assert abs(x - a) < 0.0501 and abs(y - b) < 0.0501, path
