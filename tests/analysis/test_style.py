"""Figures are the same bytes every time and carry no date."""

import numpy as np

from analysis.style import PALETTE, legend_below, new_figure, png_bytes, svg_bytes


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
