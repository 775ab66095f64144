"""A panel is told in words: what is drawn against what, by name, from its first value to its last."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.pages.blocks import Picture
from analysis.pages.drawing import draw
from analysis.panel_words import panel_words
from analysis.seed_dots import seed_dots
from analysis.style import new_figure, of_seed


@pytest.fixture
def axes():
    return Figure().subplots()


def test_dots_of_a_group_are_told_by_its_name_and_a_marked_value_is_no_dot():
    runs = {"mlp": {"0": 6.1, "1": 6.9}, "resnet18, width 8": {"0": 13.0, "1": 14.8}}
    means = {"mlp": (6.5, 5.2, 7.9), "resnet18, width 8": (13.9, 10.4, 17.8)}
    (words,) = panel_words(seed_dots(runs, means, label="disagreement, %", title="Seeds", reference=3.0))
    assert words == "Seeds, disagreement, %: mlp 5.2 to 7.9; resnet18, width 8 10.4 to 17.8"


def test_lines_of_seeds_are_told_together():
    figure, panels = new_figure(1, 2)
    for seed in range(3):
        of_seed(panels[0, 0].plot([1, 2, 4], [2.0 - seed / 10, 1.0, 0.5 + seed / 10]), seed)
    panels[0, 0].set(title="mlp", xlabel="epoch", ylabel="loss")
    figure.colorbar(panels[0, 1].imshow([[0.0, 1.0], [1.0, 0.5]]), ax=panels[0, 1], label="CKA")
    first, second = panel_words(figure)
    assert first == "mlp, loss against epoch: 3 lines, 1.8 to 2 at 1 and 0.5 to 0.7 at 4"
    assert second == "4 values, 0 to 1", "the bar of colors is none"


def test_named_series_are_told_and_a_panel_of_zeros_is_not():
    figure, panels = new_figure(1, 2)
    panels[0, 0].plot([1, 2], [0.0, 0.0])
    for place in range(8):
        panels[0, 1].plot([1, 10], [place, 2000.0 * place], label=f"kernel {place}")
    (words,) = panel_words(figure)
    assert words.startswith("kernel 0 from 0 at 1 to 0 at 10; kernel 1 from 1 at 1 to 2,000 at 10")
    assert words.endswith("; and 2 more")


def test_categories_bars_clouds_and_what_has_no_value(axes):
    axes.bar([0, 1], [3.0, 4.0])
    axes.set_xticks([0, 1], ["pntk", "conjugate"])
    assert panel_words(axes.figure) == ["pntk 3; conjugate 4"]
    other = Figure().subplots()
    other.scatter([1.0, 2.0], [0.5, 0.75], label="points")
    other.plot([1.0], [np.nan], label="nothing")
    assert panel_words(other.figure) == ["nothing has no value; points 2 from 0.5 to 0.75"]


def test_a_page_tells_names_on_axes_in_words_and_in_the_numbers_of_a_figure(axes):
    axes.plot([0, 1], [0.5, 0.75])
    axes.set_xticks([0, 1], ["conv1", "fc"])
    drawn = draw(Picture(axes.figure, "Two layers.", "Two layers"))
    assert drawn.words == ("conv1 0.5; fc 0.75",) and "line,conv1,0.5" in drawn.csv
