"""A page of one's own: whole, equal, escaped, and without verdicts."""

import pytest

from analysis.pages import Picture, Section, Table, Text, write_page
from analysis.pages.views import number, view
from analysis.style import new_figure
from analysis.verdicts import OPEN, Claim, Decided


def test_a_page_shows_its_blocks_and_lifts_findings(tmp_path):
    figure, _ = new_figure()
    blocks = [Text("a < b"), Table(["x"], [[1234.0], [None]], "Numbers."), Picture(figure, "Seen.", "An empty plot")]
    made = write_page(tmp_path / "page.html", "T", [Section("S", blocks, ["It is so."])], question="Why?")
    text = made.read_text(encoding="utf-8")
    assert "a &lt; b" in text and "1,234" in text and 'aria-label="An empty plot"' in text
    assert text.index("It is so.") < text.index("<h2>S</h2>") and "Why?" in text
    assert 'id="sources"' not in text and "Setting" not in text
    assert made == write_page(tmp_path / "page.html", "T", [Section("S", blocks, ["It is so."])], question="Why?")
    assert made.read_text(encoding="utf-8") == text and [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_verdict_needs_an_experiment(tmp_path):
    claim = Claim("L1", "so it is", Decided(OPEN, "n = 2."))
    with pytest.raises(ValueError, match="its verdict depends on an experiment's setting"):
        write_page(tmp_path / "page.html", "T", [Section("S", [claim])])
    assert not list(tmp_path.iterdir())


def test_a_gallery_is_a_png_in_the_page_and_as_a_file():
    figure, _ = new_figure()
    found = view(Picture(figure, "c", "a", raster=True), "1-0")
    assert found.shown["svg"] == "" and found.files == {"1-0.png": found.png} and found.png.startswith(b"\x89PNG")


def test_cells_are_written_as_numbers():
    assert [number(cell) for cell in (1.23456, 12345, 4321.9, None, float("nan"), "x", True)] == [
        "1.23", "12,345", "4,322", "–", "–", "x", "True",
    ]  # fmt: skip
