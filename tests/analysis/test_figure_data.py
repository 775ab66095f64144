"""What a figure draws is a table: lines, points, bars with their names, bands, segments and matrices."""

import csv
import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figure_data import figure_csv, figure_rows


@pytest.fixture
def axes():
    return Figure().subplots()


def test_lines_have_their_names_and_axes(axes):
    axes.set(xlabel="epoch", ylabel="loss", title="Training")
    axes.plot([1, 2], [0.5, 0.25], label="mlp")
    axes.plot([1, 2], [0.4, 0.3])
    rows = figure_rows(axes.figure)
    assert [(row.series, row.x, row.y) for row in rows[:2]] == [("mlp", 1.0, 0.5), ("mlp", 2.0, 0.25)]
    assert rows[2].series == "line 1" and (rows[0].x_axis, rows[0].y_axis, rows[0].title) == (
        "epoch",
        "loss",
        "Training",
    )


def test_bars_have_their_categories_and_series(axes):
    axes.bar([0, 1], [3.0, 4.0], label="runs")
    axes.set_xticks([0, 1], ["pntk", "conjugate"])
    rows = figure_rows(axes.figure)
    assert [(row.series, row.kind, row.x, row.y, row.y_end) for row in rows] == [
        ("runs", "bar", "pntk", 0.0, 3.0),
        ("runs", "bar", "conjugate", 0.0, 4.0),
    ]


def test_points_error_bars_bands_and_matrices_are_there(axes):
    axes.scatter([0, 1], [2, 3], c=[0.1, 0.9])
    axes.errorbar([0.5], [1.0], yerr=[0.25])
    axes.fill_between([0, 1], [0, 0], [1, 2])
    axes.imshow(np.array([[1.0, 2.0], [3.0, np.nan]]))
    axes.imshow(np.zeros((4, 4, 3)))  # a photograph is no data
    rows = figure_rows(axes.figure)
    assert [(row.y, row.value) for row in rows if row.kind == "point"] == [(2.0, 0.1), (3.0, 0.9)]
    assert [(row.y, row.y_end) for row in rows if row.kind == "segment"] == [(0.75, 1.25)]
    assert {(row.x, row.y) for row in rows if row.kind == "area"} >= {(0.0, 1.0), (1.0, 2.0)}
    matrix = {(row.x, row.y): row.value for row in rows if row.kind == "matrix"}
    assert matrix[1.0, 0.0] == 2.0 and len(matrix) == 4


def test_csv_is_empty_for_a_picture_without_numbers_and_exact_otherwise(axes):
    assert figure_csv(axes.figure) == ""
    axes.plot([0.1 + 0.2], [1e-300], label="a, b")
    (row,) = csv.DictReader(io.StringIO(figure_csv(axes.figure)))
    assert (float(row["x"]), float(row["y"]), row["series"]) == (0.1 + 0.2, 1e-300, "a, b")
