"""Figures are the same bytes every time and carry no date."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis.seed_dots import seed_dots
from analysis.style import PALETTE, legend_below, new_figure, png_bytes, svg_bytes, undrawn_names


def figure():
    made, axes = new_figure(1, 2, sharey=True)
    for axis in axes[0]:
        axis.plot(np.arange(5), np.arange(5) ** 2, label="square")
    legend_below(axes[0, 0])
    return made, axes


def test_bytes_repeat_and_carry_no_date():
    for render in (svg_bytes, png_bytes):
        assert render(figure()[0]) == render(figure()[0])
    assert b"<dc:date>" not in svg_bytes(figure()[0])


def test_panels_share_their_axis_and_take_the_palette():
    _, axes = figure()
    assert axes.shape == (1, 2)
    assert axes[0, 0].get_ylim() == axes[0, 1].get_ylim()
    assert axes[0, 0].get_lines()[0].get_color() == PALETTE[0]
    assert not axes[0, 0].spines["top"].get_visible()


@pytest.mark.parametrize(("groups", "seeds"), [(1, 200), (1, 3), (4, 3)])
def test_seeds_are_named_below_the_label_of_an_axis_of_any_height(groups, seeds):
    runs = {f"group {i}": {str(seed): float(i + seed % 5) for seed in range(seeds)} for i in range(groups)}
    means = {name: (2.0, 1.0, 3.0) for name in runs}
    made = seed_dots(runs, means, label="test images decided otherwise, %", title="How far runs differ")
    canvas = FigureCanvasAgg(made)
    canvas.draw()
    (axis,) = made.axes
    names = [text.get_window_extent(canvas.get_renderer()) for text in axis.get_legend().get_texts()]
    assert max(name.y1 for name in names) < axis.xaxis.label.get_window_extent(canvas.get_renderer()).y0


def test_names_from_data_are_no_formulas():
    names = ["US$ and CA$", r"$\frac{1$", "\x1b[2J"]
    made, axes = new_figure(1, 3)
    axes[0, 0].bar(names, [1, 2, 3])
    axes[0, 1].set_xticks([0, 1, 2], names)
    axes[0, 1].set(title=names[0], xlabel=names[1], yscale="log", ylim=(1, 100))
    axes[0, 2].plot([0, 1], label=names[1])
    axes[0, 2].legend()
    axes[0, 2].text(0, 0, names[0])
    svg = svg_bytes(made).decode()
    assert svg.count("US$ and CA$") == svg_bytes(made).decode().count("US$ and CA$") >= 4, "escaped once"
    assert "\x1b" not in svg
    assert "mathdefault{10^{1}}" in svg, "powers of a logarithmic axis stay formulas"
    assert png_bytes(made)


def test_a_name_that_begins_with_an_underscore_is_in_the_legend():
    made, axes = new_figure()
    axis = axes[0, 0]
    axis.plot([0, 1], label="_hidden")
    axis.plot([1, 0])
    axis.bar([0], [1], label="_bars")
    axis.scatter([0], [1], label="shown")
    assert " _hidden" in axis.get_legend_handles_labels()[1]
    legend_below(axis)
    assert [text.get_text().strip() for text in axis.get_legend().get_texts()] == ["_hidden", "shown", "_bars"]


def test_names_that_the_font_lacks_are_numbered_and_listed_on_every_machine():
    made, axes = new_figure(1, 2)
    axes[0, 0].bar(["猫", "chat", "prüfung – é", "犬 の"], [1, 2, 3, 4], label="👩‍🚀")
    axes[0, 0].set(title="猫 and 犬", xlabel="naïve 🦊")
    axes[0, 1].set_xticks([0, 1], ["猫", "plain"])
    axes[0, 0].legend()
    svg = svg_bytes(made)  # a warning about a missing glyph would be an error
    listed = undrawn_names(made)
    assert set(listed.values()) == {"猫", "犬", "の", "👩‍🚀", "🦊"} and len(listed) == 5
    mark = {name: mark for mark, name in listed.items()}
    text = svg.decode()
    assert f"{mark['猫']} and {mark['犬']}" in text and "prüfung – é" in text and f"naïve {mark['🦊']}" in text
    assert png_bytes(made) and undrawn_names(made) == listed
    plain, _ = figure()
    svg_bytes(plain)
    assert undrawn_names(plain) == {}
