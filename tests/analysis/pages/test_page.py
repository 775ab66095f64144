"""A page of one's own: whole, equal, escaped, and without verdicts."""

import pytest

from analysis.pages import Finding, Headline, Picture, Section, Table, Text, write_page
from analysis.pages.views import Views, number
from analysis.style import new_figure
from analysis.verdicts import OPEN, Claim, Decided


def drawn(values=(1.0, 2.0)):
    figure, axes = new_figure()
    axes[0, 0].plot(values)
    return figure


def test_a_page_shows_its_blocks_and_begins_with_its_answer(tmp_path):
    blocks = [
        Finding("It is so."),
        Text("a < b"),
        Table(["x"], [[1234.0], [0]], "Numbers."),
        Picture(drawn(), "Seen.", "A line"),
    ]
    headline = Headline("h", "Is it so?", "It is, 5 [4, 6] (n = 3).", Table(["y"], [[5]], "Short."))
    sections = [Section("S", blocks, [headline])]
    made = write_page(tmp_path / "page.html", "T", sections, question="Why?")
    text = made.read_text(encoding="utf-8")
    assert "(n = 3)" in text, "numbers are not broken"
    text = text.replace(" ", " ")
    assert "a &lt; b" in text and "1,234" in text and "Enlarge: A line" in text
    assert text.index("It is, 5 [4, 6] (n = 3).") < text.index("<h2>S</h2>") < text.index("It is so.")
    assert "Why?" in text and "Is it so?" not in text
    assert "Is it so?" in write_page(tmp_path / "other.html", "T", sections).read_text(encoding="utf-8")
    assert 'id="sources"' not in text and "Setting" not in text
    assert made == write_page(tmp_path / "page.html", "T", sections, question="Why?")
    assert made.read_text(encoding="utf-8").replace(" ", " ") == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.html", "page.html"]


def test_a_verdict_needs_an_experiment(tmp_path):
    claim = Claim("L1", "so it is", Decided(OPEN, "n = 2."))
    with pytest.raises(ValueError, match="its verdict depends on an experiment's setting"):
        write_page(tmp_path / "page.html", "T", [Section("S", [claim])])
    assert not list(tmp_path.iterdir())


def test_a_dense_plot_is_a_png_in_the_page_and_as_a_file():
    found = Views(files="figures").one(Picture(drawn(), "c", "a", raster=True), "1-0")
    assert found.shown["panels"] == [] and found.files["1-0.png"] == found.png and found.png.startswith(b"\x89PNG")
    assert found.shown["file"] == "figures/1-0.png" and found.shown["csv"] == "figures/1-0.csv"


def test_cells_are_written_as_numbers():
    assert [number(cell) for cell in (1.23456, 12345, 4321.9, None, float("nan"), "x", True)] == [
        "1.23", "12,345", "4,322", "–", "–", "x", "True",
    ]  # fmt: skip
