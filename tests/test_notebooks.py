"""The notebooks run from top to bottom, and the pictures stored in them are those of the cells that stand there."""

import re
import warnings

import pytest

from scripts.run_notebooks import DIGEST, NOTEBOOKS, FailedCell, read_notebook, run_notebook, source_digest

LARGEST = 300 * 1024
"""Bytes of a notebook with its pictures."""


def pictures(notebook):
    shown = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    return sum("image/png" in output.get("data", {}) for output in shown)


def test_there_are_three_notebooks():
    assert [path.stem for path in NOTEBOOKS] == [
        "how_different_are_my_seeds",
        "kernels_of_a_transformer",
        "which_training_images_made_this_decision",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_pictures_are_those_of_the_cells(path):
    notebook = read_notebook(path)
    assert notebook["metadata"].get(DIGEST) == source_digest(notebook), "run `python -m scripts.run_notebooks`"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert pictures(notebook) and path.stat().st_size < LARGEST
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_a_cell_that_raises_is_named():
    cells = [{"cell_type": "code", "source": ["a = 1\n", "a / 0"], "id": "x", "metadata": {}}]
    with pytest.raises(FailedCell, match="cell 1:(?s:.*)ZeroDivisionError"):
        run_notebook({"cells": cells, "metadata": {}}, NOTEBOOKS[0].parent)


@pytest.mark.experiments
@pytest.mark.timeout(900)
def test_the_lines_of_the_readme_work(shared_store, run_here):
    text = (NOTEBOOKS[0].parents[2] / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(from pipeline import open_study\n.*?)```", text, re.S)
    run_here("experiment=quickstart", "debug=tiny", f"paths.store={shared_store}")
    lines = lines.replace(
        'open_study("quickstart")', f'open_study("quickstart", "debug=tiny", store={str(shared_store)!r})'
    )
    names = {}
    exec(f"from analysis import compare_runs\nshown = []\n{lines}", names)
    assert len(names["study"].results) > 100


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_as_many_pictures(path, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    stored = read_notebook(path)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # of libraries, as in a notebook
        assert pictures(run_notebook(stored, tmp_path)) == pictures(stored)
