"""Figures that several processes draw are those that one draws."""

import os

from matplotlib.figure import Figure

from analysis.pages.blocks import Picture
from analysis.pages.drawing import draw
from pipeline.reporting import drawing
from pipeline.reporting.drawing import drawn_together


def pictures(count: int) -> list[Picture]:
    found = []
    for place in range(count):
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot([0, 1], [place, 1], label="loss")
        found.append(Picture(figure, f"Loss {place}.", "a line"))
    return found


def test_figures_of_several_processes_are_those_of_one():
    blocks = pictures(4)
    alone = [draw(block, png=True) for block in blocks]
    together = drawn_together([*blocks, blocks[0], "no figure"], 2, png=True)
    assert [together[id(block)] for block in blocks] == alone and len(together) == 4


def test_a_figure_whose_process_dies_is_left_to_the_page(monkeypatch):
    monkeypatch.setattr(drawing, "draw", lambda block, png: os._exit(9))
    assert drawn_together(pictures(4), 2) == {}


def test_one_process_draws_nothing_ahead():
    assert drawn_together(pictures(4), 1) == {}
