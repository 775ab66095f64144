"""Figures that several processes draw are those that one draws."""

import os
import time

from matplotlib.figure import Figure

from analysis.pages.blocks import Picture
from analysis.pages.drawing import draw
from pipeline.reporting import drawing
from pipeline.reporting.drawing import Ahead, drawn_together


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


def test_figures_that_are_drawn_ahead_are_those_of_one_process():
    first, second = pictures(3), pictures(6)
    alone = [draw(block) for block in (*first, *second)]
    with Ahead(2) as ahead:
        ahead.add([*first, "no figure"])
        ahead.add(second[:1])  # the one process is busy, or has just ended
        found = ahead.finish([*first, *second, first[0]])
    assert [found.get(id(block), draw(block)) for block in (*first, *second)] == alone and len(found) >= 8


def test_a_process_ahead_that_dies_leaves_its_figures_and_none_stays_behind(monkeypatch):
    monkeypatch.setattr(drawing, "draw", lambda block, png: os._exit(9))
    with Ahead(2) as ahead:
        ahead.add(pictures(2))
        (child, _, _) = ahead._busy[0]
        assert ahead.finish([]) == {} and not child.is_alive()
    with Ahead(1) as ahead:
        ahead.add(pictures(2))
        assert not ahead._busy and ahead.finish([]) == {}
    monkeypatch.setattr(drawing, "draw", lambda block, png: time.sleep(60))
    with Ahead(2) as ahead:
        ahead.add(pictures(1))
        (child, _, _) = ahead._busy[0]
    assert not child.is_alive(), "a page that is refused waits for no figure"
