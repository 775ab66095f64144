"""Every line of a table is a row, or the file is refused with the line."""

import csv

import pytest

from pipeline.data.errors import DataError
from pipeline.data.sources.tables import decode_lines, parse_table


def parse(content, columns=None, **options):
    options = {"encoding": "utf-8", "delimiter": ",", "name": "t.csv", **options}
    return parse_table(content, columns, **options)


def test_wrong_encoding_is_reported_with_its_line():
    assert decode_lines(b"a\0b\n", "utf-8", "t") == ["a\0b"]
    content = "fine\ncaf\u00e9\n".encode("latin-1")
    assert decode_lines(content, "latin-1", "t") == ["fine", "caf\u00e9"]
    with pytest.raises(DataError, match="t, line 2: not valid utf-8"):
        decode_lines(content, "utf-8", "t")


def test_tables_with_and_without_header():
    table = parse(b'label,text\n1,"a, b"\n0,c\n')
    assert table.columns == {"label": ["1", "0"], "text": ["a, b", "c"]} and table.lines == [2, 3]
    tabbed = b'x\t1\t\tHe said "no\n'
    assert parse(tabbed, ["s", "l", "m", "t"], delimiter="\t", quotes=False).columns["t"] == ['He said "no']


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbftext,label\na,0\n", b"text,label\r\na,0\r\n", b"text,label\na,0", b"text,label\na,0\n\n\n"],
    ids=["byte-order-mark", "windows", "no-last-line-end", "blank-last-lines"],
)
def test_marks_and_line_ends_are_no_content(content):
    assert parse(content).columns == {"text": ["a"], "label": ["0"]}


@pytest.mark.parametrize(
    "content,message",
    [
        (b"", "t.csv is empty"),
        (b"text,text,label\na,b,0\n", "more than one column of the name 'text'"),
        (b"text,label\na,0\nb\n", "line 3: 1 field where 2"),
        (b"text,label\na,0\n\nb,1\n", "line 3: a blank line where 2"),
        (b"text,label\na,0,\n", "line 2: 3 fields where 2"),
        (b"text;label\na;0\n", "is one column; with data.path.delimiter=semicolon it is 2"),
        (b"text\tlabel\na\t0\n", "is one column; with data.path.delimiter=tab it is 2"),
        (b"text,label\rhello,0\rworld,1\r", "carriage returns alone"),
        (b"text,label\nhello\rthere,0\n", "line 2: a carriage return inside the line"),
        (b'text,label\na,0\n"oops,0\n' + b"more words,1\n" * 20_000, "line 3: a quotation mark .* is never closed"),
        (b'text,label\n"a"b,0\n', "line 2: .*stray quotation mark"),
        ("text,label\na,0\n".encode("utf-16"), "line 1: every other byte is zero, as in UTF-16"),
        ("text,label\na,0\n".encode("utf-16-le"), "line 1: every other byte is zero"),
    ],
)
def test_lines_that_are_no_rows_are_refused(content, message):
    with pytest.raises(DataError, match=message):
        parse(content)


def test_a_stray_quotation_mark_does_not_swallow_rows():
    joined = b'text,label\na,0\n"oh no,1\nbad thing,0\ngood thing,1\nwell",0\n'
    with pytest.raises(DataError, match="t.csv, line 3: a quoted cell goes on for 4 lines, which look like rows"):
        parse(joined, whole=["label"])
    told = b'text,label\n"Dear Sir,\nthank you, again\nyours",1\n'
    assert parse(told, whole=["label"]).columns["text"] == ["Dear Sir,\nthank you, again\nyours"]
    with pytest.raises(DataError, match="goes on for 3 lines; a quotation mark is stray"):
        parse(told, one_line=True)


def test_a_cell_may_be_longer_than_131_072_characters():
    before = csv.field_size_limit()
    assert parse(b"text,label\n" + b"a" * 200_000 + b",0\n").columns["text"] == ["a" * 200_000]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("labels", [("no", "yes"), ("0", "1"), ("0.0", "1.0")])
def test_a_quoted_cell_with_lines_like_rows_is_refused_whatever_the_labels(labels):
    no, yes = labels
    content = f'text,label\n"a,{no}\nb,{yes}\nc",{no}\nd,{yes}\n'.encode()
    with pytest.raises(DataError, match="line 2: a quoted cell goes on for 3 lines, which look like rows"):
        parse(content, whole=["label"])
    kept = parse(b'text,label\n"a, b\nc, d",no\ne,yes\n', whole=["label"])
    assert kept.columns["text"] == ["a, b\nc, d", "e"]
