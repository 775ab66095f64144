"""A report has nothing void, dead or out of range in it: the checks that experiments' reports pass find what is."""

from pathlib import Path

import pytest

from tests.whole_report import LARGEST, faults

GOOD = """<div class="answer">They disagree on 6 % [5, 7]. <small>(<a href="../../train/a/">a</a>)</small></div>
<table><tr><th>group</th><th>accuracy %</th></tr><tr><th>mlp</th><td>90 [88, 92]</td></tr></table>
<figure><a href="#s">x</a><a href="figures/1.csv">Data</a></figure><p id="s">Follows <a href="#s">it</a>.</p>"""


def report(folder: Path, text: str) -> Path:
    made = folder / "report" / "r"
    (made / "figures").mkdir(parents=True)
    (folder / "train" / "a").mkdir(parents=True)
    (made / "figures" / "1.csv").write_text("x\n1\n")
    (made / "report.html").write_text(text, encoding="utf-8")
    return made


def test_a_whole_report_has_no_fault(tmp_path):
    assert faults(report(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("was", "becomes", "fault"),
    [
        ("<tr><th>mlp</th><td>90 [88, 92]</td></tr>", "", "a table without rows: ['group', 'accuracy %']"),
        ("90 [88, 92]", "–", "an empty column: accuracy %"),
        ("[88, 92]", "[88, 101]", "out of range: accuracy % 90 [88, 101]"),
        ("6 % [5, 7]", "6 % [-1, 7]", "out of range: % [-1, 7]"),
        ("figures/1.csv", "figures/2.csv", "no file figures/2.csv"),
        ("<a href=\"figures/1.csv\">Data</a>", "", "a figure without its numbers: ['#s']"),
        ("../../train/a/", "../../train/b/", "no file ../../train/b/"),
        ("<small>(<a href=\"../../train/a/\">a</a>)</small>", "", "no artifact behind: They disagree on 6 % [5, 7]."),
        ("Follows", "The paper reports 4;", "a paper is spoken of in a study that follows none"),
        ("</table>", "</table><p id='s'>", "id s is there twice"),
        ("Follows", "<img src='https://example.org/a.png'>", "https://example.org/a.png is loaded"),
        ("Follows", "x" * LARGEST, f"the page has {len(GOOD) - 7 + LARGEST:,} bytes"),
    ],
)  # fmt: skip
def test_each_fault_is_found(tmp_path, was, becomes, fault):
    assert was in GOOD
    assert fault in faults(report(tmp_path, GOOD.replace(was, becomes)))
