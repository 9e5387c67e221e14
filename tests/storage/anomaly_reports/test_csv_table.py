"""A plant's file is read as it is, hand edits included, or refused with the line that is wrong."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import ArtefactCorrupt, DataFileInvalid
from storage.anomaly_reports.csv_dialect import format_line, read_dialect
from storage.anomaly_reports.csv_table import read_table

COLUMNS = ("a", "b", "c")

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
ROWS = st.lists(st.tuples(TEXT, TEXT, TEXT.map(lambda text: text or "x")), max_size=8)


def write(tmp_path, content, name="a.csv"):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def rows(table):
    return list(zip(*table.columns, strict=True))


def test_cells_come_back_by_column(tmp_path):
    table = read_table(write(tmp_path, "a,b,c\n1,2,3\n4,5,6\n"), COLUMNS)
    assert table.column("b") == ("2", "5")
    assert len(table) == 2


@pytest.mark.parametrize("name", ["absent.csv", "empty.csv"])
def test_nothing_there_is_none(tmp_path, name):
    write(tmp_path, "", "empty.csv")
    assert read_table(tmp_path / name, COLUMNS) is None


ACCEPTED = {
    "byte order mark": "\ufeffa,b,c\n1,2,3\n",
    "windows line ends": "a,b,c\r\n1,2,3\r\n",
    "no end of the last line": "a,b,c\n1,2,3",
    "blank lines": "a,b,c\n\n1,2,3\n\n\n",
    "semicolons": "a;b;c\n1;2;3\n",
    "tabulators": "a\tb\tc\n1\t2\t3\n",
    "Excel's CSV UTF-8 in France": "\ufeffa;b;c\r\n1;2;3\r\n",
    "names in capitals": "A,B,C\n1,2,3\n",
    "names with accents and blanks": "à , b,ç\n1,2,3\n",
    "everything quoted": '"a","b","c"\n"1","2","3"\n',
    "other order and more columns": "c,mine,b,a\n3,x,2,1\n",
}


@pytest.mark.parametrize("content", ACCEPTED.values(), ids=ACCEPTED)
def test_what_editors_make_of_a_file_is_accepted(tmp_path, content):
    table = read_table(write(tmp_path, content), COLUMNS)
    assert [table.column(name) for name in COLUMNS] == [("1",), ("2",), ("3",)]


REFUSED = {
    "a missing column": (b"a,b\n1,2\n", "line 1: the columns ['c'] are missing"),
    "semicolons, and a line with commas": (
        b"\xef\xbb\xbfa;b;c\n1;2;3\n1,2,3\n",
        "line 3: 1 cells instead of 3, with ';' between them",
    ),
    "a column twice": (b"a,b,c,a\n1,2,3,4\n", "line 1: a column name occurs twice"),
    "too few cells": (b"a,b,c\n1,2,3\n1,2\n", "line 3: 2 cells instead of 3"),
    "too many cells": (b"a,b,c\n1,2,3,4\n", "line 2: 4 cells instead of 3"),
    "a wrong record after one of three lines": (b'a,b,c\n"1\n\n",2,3\n1\n', "line 5: 1 cells"),
    "NUL": (b"a,b,c\n1,2,3\n1,\0,3\n", "line 3: it holds a NUL"),
    "not UTF-8": (
        b"a,b,c\n1,2,3\n\xe9,2,3\n\xe9,2,3\n",
        "line 3: it is not UTF-8 text (it looks like Windows-1252 or Latin-1, as Excel writes “CSV”); save",
    ),
    "UTF-16": ("a,b,c\n1,2,3\n".encode("utf-16"), "line 1: it is not UTF-8 text (it looks like UTF-16)"),
    "a quote never closed": (b'a,b,c\n1,2,3\n1,"2,3\n4,5,6\n', "line 3: unexpected end of data"),
    "a cut-off last line": (b"a,b,c\n1,2,3\n4,5,", "line 3: the last line is incomplete"),
    "a cut-off last line, earlier": (b"a,b,c\n1,2,3\n4,", "line 3: 2 cells"),
    "old Mac line ends": (b"a,b,c\r1,2,3\r", "line 1"),
    "a cell of a megabyte": (
        b"a,b,c\n" + b"x" * 1_000_000 + b",2,3\n",
        "line 2: field larger than field limit",
    ),
    "blank lines only": (b"\n\n", "line 1"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_with_its_line(tmp_path, content, message):
    with pytest.raises(DataFileInvalid) as refusal:
        read_table(write(tmp_path, content), COLUMNS)
    assert f"a.csv, {message}" in refusal.value.message


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link.csv").symlink_to(write(tmp_path, "a,b,c\n1,2,3\n"))
    with pytest.raises(ArtefactCorrupt):
        read_table(tmp_path / "link.csv", COLUMNS)


@given(rows_=ROWS, ending=st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_what_is_read_here_and_by_any_reader(tmp_path_factory, rows_, ending):
    folder = tmp_path_factory.mktemp("csv", numbered=True)
    text = "".join(format_line(row, ending) for row in [COLUMNS, *rows_])
    assert rows(read_table(write(folder, text), COLUMNS)) == rows_
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [list(row) for row in rows_]


@given(rows_=ROWS, gone=st.sets(st.integers(0, 7)), ending=st.sampled_from(["\n", "\r\n"]))
def test_taking_records_out_leaves_the_other_bytes_alone(tmp_path_factory, rows_, gone, ending):
    folder = tmp_path_factory.mktemp("csv", numbered=True)
    lines = [format_line(row, ending).encode() for row in [COLUMNS, *rows_]]
    table = read_table(write(folder, b"".join(lines)), COLUMNS)
    gone = {number for number in gone if number < len(rows_)}
    left = [line for number, line in enumerate(lines, start=-1) if number not in gone]
    assert table.without(gone) == b"".join(left)


def test_taking_the_last_record_out_leaves_the_end_of_the_line_before(tmp_path):
    table = read_table(write(tmp_path, "a,b,c\r\n1,2,3\r\n4,5,6"), COLUMNS)
    assert table.without([1]) == b"a,b,c\r\n1,2,3\r\n"


# Files that are the same but for the last column


@given(
    rows_=ROWS,
    last=st.lists(st.sampled_from(["1", "2.5", "", '"3"', "é"]), min_size=8, max_size=8),
    data=st.data(),
)
def test_a_file_like_another_is_read_as_if_alone(tmp_path_factory, rows_, last, data):
    folder = tmp_path_factory.mktemp("csv", numbered=True)
    heads = [format_line(row[:2], "") for row in rows_]
    one = write(folder, "".join(["a,b,c\n", *(f"{head},7\n" for head in heads)]), "one.csv")
    changed = data.draw(st.booleans())
    other = "".join(["a,b,d\n", *(f"{head},{cell}\n" for head, cell in zip(heads, last, strict=False))])
    other = other.replace("x", "y", 1) if changed else other
    other = write(folder, other, "other.csv")
    alone = read_table(other, ("a", "b", "d"))
    beside = read_table(other, ("a", "b", "d"), read_table(one, COLUMNS))
    assert (alone.header, alone.columns, list(alone.ends)) == (
        beside.header,
        beside.columns,
        list(beside.ends),
    )


def test_a_file_like_another_shares_its_columns(tmp_path):
    one = read_table(write(tmp_path, 'a,b,c\n"x,\ny",2,1\n', "one.csv"), COLUMNS)
    other = read_table(write(tmp_path, 'a,b,d\n"x,\ny",2,5\n', "other.csv"), ("a", "b", "d"), one)
    assert other.columns[0] is one.columns[0]
    assert other.column("d") == ("5",)


# How to append


def test_an_append_to_semicolons_is_semicolons(tmp_path):
    before = "\ufeffC;mine;b;a\r\n3;x;2;1"
    file = write(tmp_path, before)
    text = read_dialect(file, COLUMNS).format([{"a": "4", "b": "5,5", "c": "6;7"}])
    assert text == '\r\n"6;7";;5,5;4\r\n'
    write(tmp_path, before + text)
    assert read_table(file, COLUMNS).column("c") == ("3", "6;7")


@given(rows_=ROWS)
def test_semicolons_come_back_as_commas_do(tmp_path_factory, rows_):
    folder = tmp_path_factory.mktemp("csv", numbered=True)
    text = "".join(format_line(row, "\n", ";") for row in [COLUMNS, *rows_])
    table = read_table(write(folder, text), COLUMNS)
    assert rows(table) == rows_
    assert table.without(range(len(rows_))) == b"a;b;c\n"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("closed", [True, False])
def test_an_append_keeps_the_dialect_of_the_file(tmp_path, ending, bom, closed):
    before = f"{bom}c,mine,b,a{ending}3,x,2,1{ending if closed else ''}"
    file = write(tmp_path, before)
    dialect = read_dialect(file, COLUMNS)
    text = dialect.format([{"a": "4", "b": "5,5", "c": "6"}])
    assert dialect.size == len(before.encode())
    assert text == ("" if closed else ending) + f'6,,"5,5",4{ending}'
    write(tmp_path, before + text)
    assert read_table(file, COLUMNS).column("b") == ("2", "5,5")


def test_a_new_file_begins_with_its_header(tmp_path):
    dialect = read_dialect(tmp_path / "new.csv", COLUMNS)
    assert (dialect.size, dialect.format([{"a": "1"}])) == (0, "a,b,c\n1,,\n")


def test_nothing_to_append_is_no_text_not_even_a_header(tmp_path):
    assert read_dialect(tmp_path / "new.csv", COLUMNS).format([]) == ""
    assert read_dialect(write(tmp_path, "a,b,c\n1,2,3"), COLUMNS).format([]) == ""


def test_rows_that_end_in_cells_that_are_none_share_nothing(tmp_path):
    text = "a,b,c\n1,2,3,\n4,5,6,\n"
    like = read_table(write(tmp_path, text), COLUMNS)
    assert read_table(write(tmp_path, text, "b.csv"), COLUMNS, like).column("c") == ("3", "6")
