"""Nothing void reaches a page: blocks refuse or leave out what has nothing to show."""

import pytest

from analysis.pages import Gallery, Headline, Picture, Table
from analysis.pages.views import Views
from analysis.panels import panel_svgs, void_panels
from analysis.seed_dots import seed_dots
from analysis.style import in_style, new_figure, of_seed, svg_bytes


def test_a_table_without_rows_or_entries_is_refused():
    for rows in ([], [[None, float("nan"), "–"]]):
        with pytest.raises(ValueError, match="A table without any entry is not shown"):
            Table(["a", "b", "c"], rows, "Empty.")
    with pytest.raises(ValueError, match="A row of 1 cells stands under 2 columns"):
        Table(["a", "b"], [[1]], "Short.")
    with pytest.raises(ValueError, match="gallery without images"):
        Gallery([], "None.")


def test_a_column_without_entries_is_left_out():
    table = Table(["a", "sd", "b"], [["x", "–", 0], ["y", float("nan"), 0]], "Zeros count.")
    assert list(table.columns) == ["a", "b"] and table.rows == [["x", 0], ["y", 0]]


def test_a_first_screen_holds_four_rows():
    long = Table(["a"], [[i] for i in range(28)], "All.")
    with pytest.raises(ValueError, match="use Table.first"):
        Headline("h", "", "", long)
    assert Headline("h", "", "", long.first()).table.caption == "All. 24 more rows are below."


TITLE = {"label": "outliers", "title": "Outliers"}


@in_style
def two_panels(left, right):
    figure, axes = new_figure(1, 2, sharey=True)
    for axis, values, title in zip(axes[0], (left, right), ("left", "right"), strict=True):
        (line,) = axis.plot(values, label="one")
        of_seed(line, 3)
        axis.axhline(1.0)
        axis.set_title(title)
    axes[0, 0].set_ylabel("level")
    figure.legend(loc="outside lower center")
    return figure


def test_a_panel_of_zeros_is_not_drawn_and_the_caption_says_so():
    shown = Views(files="figures").one(Picture(two_panels([0, 0], [0, 2]), "Levels.", "a"), "1").shown
    assert len(shown["panels"]) == 1 and shown["caption"] == "Levels. Not drawn, since every value is 0: “left”."
    empty = Views(files="figures").one(Picture(two_panels([0, 0], [0, 0]), "Levels.", "a"), "1").shown
    assert empty["kind"] == "text" and "“left”, “right”" in empty["text"]


def test_dots_that_are_all_zero_are_no_panel_and_others_are_one():
    none = (float("nan"), float("nan"))
    for value, void in ((0.0, ["Outliers"]), (2.0, [])):
        figure = seed_dots({"a": {"0": value}, "b": {"0": 0.0}}, {"a": (value, *none), "b": (0.0, *none)}, **TITLE)
        assert void_panels(figure) == void


def test_panels_stand_alone_with_the_legend_that_they_share_and_the_figure_stays_as_it_was():
    figure = two_panels([0, 1], [0, 2])
    before = svg_bytes(figure)
    panels, legend = panel_svgs(figure)
    assert len(panels) == 2 and legend.count(b"<path") > 0
    widths = [float(panel.split(b'width="')[1].split(b"pt")[0]) for panel in (*panels, before)]
    assert max(widths[:2]) < 0.6 * widths[2]
    assert all(axis.get_visible() for axis in figure.axes) and figure.legends[0].get_visible()
    assert figure.axes[1].get_ylabel() == "", "a figure that was shown is as it was"
    assert before.count(b'data-seed="3"') == 2 and panels[0].count(b'data-seed="3"') == 1


def test_figures_of_a_page_share_letters_and_nothing_else():
    views = Views(files="figures")
    shown = [views.one(Picture(two_panels([0, 1], [0, 2]), "c", "a"), name).shown for name in ("1", "2")]
    text = "".join(str(panel) for one in shown for panel in one["panels"])
    assert "DejaVuSans" in views.inline.glyphs and '<path id="DejaVuSans' not in text
    ids = [part.split('"')[0] for part in text.split(' id="')[1:]]
    assert len(ids) == len(set(ids)), "an id is on the page once"
    assert "var(--hue-0, #0072b2)" in text and "#ffffff" not in text, "colors are the page's, the ground is clear"
