"""Delimited text reads to the same rows wherever its batches end."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline.sources import lines
from spanner_pipeline_tests.sources.reading import make_source, read

COLUMNS = ["a", "b", "c"]


def fields(rows: pl.DataFrame, *names: str) -> list[tuple[str | None, ...]]:
    return rows.select(f"raw.{name}" for name in names or COLUMNS).rows()


FIELD = st.text(st.sampled_from('x,"\n\r é\t'), max_size=6)
ROWS = st.lists(st.lists(FIELD, min_size=3, max_size=3).filter(any), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    rows=ROWS,
    block=st.integers(1, 40),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_any_csv_reads_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    block: int,
    line_end: str,
    quoting: Literal[0, 1],
) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # Python leaves a carriage return bare, like a line end's
        rows = [[field.replace("\r", "x") for field in row] for row in rows]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator=line_end, quoting=quoting)
    writer.writerows([COLUMNS, *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_SIZE", block)
        found = read(tmp_path_factory.mktemp("csv"), written.getvalue(), make_source(COLUMNS))
    # A line end inside quotes loses its carriage return, as line ends do everywhere.
    expected = [tuple(f.replace("\r\n", "\n") or None for f in row) for row in rows]
    assert fields(found) == expected
    assert not found["malformed"].any()


@pytest.mark.parametrize("block", [1, 7, 20, 1000])
def test_line_numbers_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK_SIZE", block)
    text = 'a,b,c\n1,x,y\n\n\r\n2,"x\n\ny",z\n\n3,x,y'
    found = read(tmp_path, text, make_source(COLUMNS))
    assert found["line"].to_list() == [2, 5, 9]
    assert found["original"].to_list() == ["1,x,y", '2,"x\n\ny",z', "3,x,y"]
    assert fields(found)[1] == ("2", "x\n\ny", "z")


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    found = read(tmp_path, "c,extra,a,b\n3,?,1,2\n", make_source(COLUMNS))
    assert fields(found) == [("1", "2", "3")]


def test_names_may_hold_dots_spaces_quotes_and_slashes(tmp_path: Path) -> None:
    names = ["Month/Year", "usage.total", "Trips Per Day", 'the "unit"', "it's"]
    text = io.StringIO()
    csv.writer(text).writerows([[f" {names[0]} ", *names[1:]], ["1", "2", "3", "4", "5"]])
    found = read(tmp_path, text.getvalue(), make_source(names))
    assert fields(found, *names) == [("1", "2", "3", "4", "5")]


@pytest.mark.parametrize("separator", [",", "\t", ";", "|", "^", "-", " "])
def test_any_separator_works_with_and_without_quotes(tmp_path: Path, separator: str) -> None:
    text = "\n".join(
        separator.join(row) for row in (COLUMNS, ["1", "2", "3"], ["4", f'"5{separator}"', ""])
    )
    found = read(tmp_path, text, make_source(COLUMNS, separator=separator))
    assert fields(found) == [("1", "2", "3"), ("4", f"5{separator}", None)]


@pytest.mark.parametrize("quote", ["'", "|", "^"])
def test_another_quote_leaves_double_quotes_alone(tmp_path: Path, quote: str) -> None:
    text = f'a,b,c\n{quote}1,{quote}{quote}{quote},"2",3\n'
    found = read(tmp_path, text, make_source(COLUMNS, quote=quote))
    assert fields(found) == [(f"1,{quote}", '"2"', "3")]


def test_without_a_quote_character_quotes_are_text(tmp_path: Path) -> None:
    found = read(tmp_path, 'a,b,c\n5" pipe,",2"\n', make_source(COLUMNS, quote=""))
    assert fields(found) == [('5" pipe', '"', '2"')]


def test_a_stray_quote_spoils_its_own_row_only(tmp_path: Path) -> None:
    found = read(tmp_path, 'a,b,c\n1,5" and 6",x\n2,y,z\n', make_source(COLUMNS))
    assert found["malformed"].to_list() == [True, False]


def test_one_column_needs_no_separator(tmp_path: Path) -> None:
    found = read(tmp_path, 'a\n1\n"2"\n', make_source(["a"]))
    assert fields(found, "a") == [("1",), ("2",)]


def test_declared_nulls_are_null_and_others_are_not(tmp_path: Path) -> None:
    found = read(tmp_path, "a,b,c\n1,NULL,\n", make_source(COLUMNS, nulls=["NULL"]))
    assert fields(found) == [("1", None, "")]
    found = read(tmp_path, "a,b,c\n1,NULL,\n", make_source(COLUMNS, nulls=[]))
    assert fields(found) == [("1", "NULL", "")]


def test_content_tells_rows_apart_and_does_not_depend_on_the_order_of_columns(
    tmp_path: Path,
) -> None:
    source = make_source(COLUMNS, identity="multiset")
    one = read(tmp_path, "a,b,c\n1,12,3\n11,2,3\n1,12,3\n", source)["content"]
    other = read(tmp_path, "c,a,b\n3,1,12\n3,11,2\n3,1,12\n", source)["content"]
    assert one.to_list() == other.to_list()
    assert one.n_unique() == 2
