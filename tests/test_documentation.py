"""What documentation and docstrings name exists: files, modules, functions, links and words of the glossary."""

import importlib
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from pipeline.reporting.papers import PAPERS
from scripts import study_cards

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "RESULTS.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = sorted(
    path
    for folder in ("analysis", "benchmarks", "conf", "kernels", "models", "pipeline", "scripts", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml", ".sh")
)
PACKAGES = ("models", "kernels", "analysis", "pipeline", "benchmarks", "scripts")
TO_BE_WRITTEN = {
    "conf/hardware/mycluster.yaml",
    "kernels/never_written.py",
    "models/mine.py",
    "mynet.py",
    "pipeline/new.py",
    "runs.html",
}
"""Files that the reader is told to write, and files that a test makes up."""


@cache
def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    names = listed.stdout.split()
    return {"/".join(parts[start:]) for name in names for parts in [name.split("/")] for start in range(len(parts))}


def files_named(text: str) -> set[str]:
    """Paths of our kinds of files in a text; patterns and placeholders are left out."""
    found = re.findall(r"(?<![\w*<>{}/.-])((?:[\w-]+/)*[\w-]+\.(?:py|yaml|html))(?![\w*<>{}-])", text)
    return set(found) - TO_BE_WRITTEN


@cache
def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or can be reached from one."""
    parts = dotted.split(".")
    for stop in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:stop])
        if not (place.with_suffix(".py").exists() or (place / "__init__.py").exists()):
            continue
        value = importlib.import_module(".".join(parts[:stop]))
        for position, name in enumerate(parts[stop:]):
            fields = getattr(value, "__dataclass_fields__", {}) | getattr(value, "__annotations__", {})
            if name in fields and position == len(parts[stop:]) - 1:
                return True
            if not hasattr(value, name):
                return False
            value = getattr(value, name)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_names_of_a_page_exist(page):
    text = page.read_text()
    absent = {name for name in files_named(text) if name not in tracked()}
    dotted = re.findall(rf"(?<![\w/.-])((?:{'|'.join(PACKAGES)})(?:\.\w+)+)", text)
    absent |= {name for name in dotted if name.rpartition(".")[2] not in ("py", "md") and not exists(name)}
    assert not absent, f"{page.relative_to(ROOT)} names what does not exist"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_column_of_a_table_has_a_heading(page):
    heads = re.findall(r"^\|(.*)\|[ ]*\n\|[ :|-]+\|$", page.read_text(), re.M)
    assert not [head for head in heads if any(not cell.strip() for cell in re.split(r"(?<!\\)\|", head))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+?)(?:#[\w-]*)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_files_and_names_in_docstrings_and_comments_exist():
    absent = []
    for path in CODE:
        text = path.read_text()
        rooted = {name for name in files_named(text) if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
        absent += [(path.name, name) for name in rooted if name not in tracked()]
        for name in re.findall(r":(?:mod|class|func|data|meth|attr):`~?([\w.]+)`", text):
            if name.split(".")[0] in PACKAGES and not exists(name):
                absent.append((path.name, name))
    assert not absent


def test_the_readme_leads_to_every_page():
    reached, new = set(), {ROOT / "README.md"}
    while new:
        page = new.pop()
        reached.add(page)
        links = re.findall(r"\]\(([^)#:]+\.md)", page.read_text())
        new |= {(page.parent / link).resolve() for link in links} - reached
    assert not set(PAGES) - reached


def test_the_glossary_explains_the_words_that_only_this_project_uses():
    rows = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.M)
    words = "cell gather slug role cotangent form operand side standing view key VERSION stream churn".split()
    assert not {*words, "trimming level"} - set(rows)


def test_no_page_gives_a_verdict_without_its_published_setting():
    """Verdict words are quoted where they are explained or withdrawn; as verdicts they stand beside scale=published.

    Cards and tables are made from results, whose verdicts are checked as they are read (``test_site.py``).
    """
    for page in [ROOT / "README.md", *sorted((ROOT / "docs" / "studies").glob("*.md"))]:
        by_hand = page.read_text()
        for begin, end in (study_cards.CARD, study_cards.TABLE):
            by_hand = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", "", by_hand, flags=re.S)
        unquoted = re.sub(r'"[^"]*"', "", by_hand.replace("\n", " \n"), flags=re.S)
        given = re.findall(r"^.*\b(?:reproduced|undecided)\b.*$", unquoted, re.M)
        assert not [line for line in given if "scale=published" not in line], page.name


def test_a_page_names_its_papers_by_title_authors_and_link():
    for page in sorted({*(ROOT / "docs" / "studies").glob("*.md")} - {ROOT / "docs" / "studies" / "index.md"}):
        text = " ".join(page.read_text().split())
        numbers = set(re.findall(r"\d{4}\.\d{5}", text)) & set(PAPERS)
        assert numbers, page.name
        for paper in (PAPERS[number] for number in numbers):
            assert paper.title in text and paper.link in text, f"{page.name}: {paper.title}"
            surnames = [author.split()[-1] for author in paper.authors.split(", ")]
            assert all(surname in text for surname in surnames), page.name
