"""A table goes to CSV, Parquet, LaTeX or the terminal, whole or not at all."""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.results import files
from pipeline.results.files import put

TABLE = pa.table(
    {
        "stage": ["train", 'a, "b"\nc_1'],
        "value": pa.array([0.1 + 0.2, None], pa.float64()),
        "row": pa.array([None, 3], pa.int64()),
    }
)


def test_csv_keeps_every_digit_and_every_mark(tmp_path):
    put(TABLE, str(tmp_path / "new folder" / "out.csv"))
    with open(tmp_path / "new folder" / "out.csv", newline="", encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    assert float(found[0]["value"]) == 0.1 + 0.2 and found[1]["stage"] == 'a, "b"\nc_1'
    assert (found[0]["row"], found[1]["row"], found[1]["value"]) == ("", "3", "")
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["out.csv"]


def test_parquet_keeps_types(tmp_path):
    put(TABLE, str(tmp_path / "out.parquet"))
    assert pq.read_table(tmp_path / "out.parquet").equals(TABLE)


def test_latex_escapes_what_latex_reads(tmp_path):
    put(TABLE, str(tmp_path / "out.tex"))
    text = (tmp_path / "out.tex").read_text()
    assert "train & 0.3 &  \\\\" in text and 'a, "b" c\\_1 &  & 3 \\\\' in text and "{lrr}" in text


def test_the_terminal_shows_rows_and_says_how_to_get_the_others(capsys, monkeypatch):
    monkeypatch.setattr(files, "_ON_SCREEN", 1)
    put(TABLE, None)
    assert len(capsys.readouterr().out.splitlines()) == 4  # a pipe gets all; the line break in a cell is shown as such
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    put(TABLE, None)
    assert "and 1 more rows: out=FILE.csv writes all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("numbers.xlsx", "out=numbers.xlsx does not say how to write a table: end it with .csv, .parquet or .tex."),
        ("numbers", "out=numbers does not say how"),
        ("taken.csv/in/it.csv", r"^out=taken.csv/in/it.csv cannot be written \(.*\): name a file in a folder"),
    ],
)
def test_an_output_that_cannot_be_is_one_sentence(tmp_path, monkeypatch, out, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.csv").write_text("mine")
    with pytest.raises(UserError, match=words):
        put(TABLE, out)
    assert (tmp_path / "taken.csv").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
