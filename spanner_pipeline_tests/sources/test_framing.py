"""What stands above and below the rows is no row, and lines keep their numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import lines
from spanner_pipeline_tests.sources.reading import make_source, read

COLUMNS = ["a", "b"]
TEXT = 'Usage of "May\n\na,b\n1,"x\n\ny"\n2,\nTotal Corp,5\n\nTotal,7\n"made, by\n'
FRAME: dict[str, Any] = {"preamble": 2, "footer": {"lines": 2, "starts_with": "Total,"}}


@pytest.mark.parametrize("block", [1, 9, 1000])
@pytest.mark.parametrize("tail", ["", "\n\n", " \t\n,,\n,\x1a", "\x1a"])
@pytest.mark.parametrize("footer", [FRAME["footer"], "2"])
def test_rows_between_preamble_and_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, tail: str, footer: Any
) -> None:
    monkeypatch.setattr(lines, "BLOCK_SIZE", block)
    tail = tail.replace(",\x1a", ",\n\x1a")
    found = read(tmp_path, TEXT + tail, make_source(COLUMNS, preamble="2", footer=footer))
    assert found.select("line", "raw.a", "raw.b").rows() == [
        (4, "1", "x\n\ny"),
        (7, "2", None),
        (8, "Total Corp", "5"),
    ]
    assert not found["malformed"].any()


@pytest.mark.parametrize("tail", ["", ",\n,\n\n", "\n \n"])
def test_a_blank_tail_needs_no_declaration(tmp_path: Path, tail: str) -> None:
    found = read(tmp_path, "a,b\n1,2\n,\n3,4\n" + tail, make_source(COLUMNS))
    assert found["line"].to_list() == [2, 3, 4]


def test_without_a_header_columns_are_declared(tmp_path: Path) -> None:
    source = make_source(["b", "a"], header="false", columns=["a", "b"])
    found = read(tmp_path, "1,2\n3,4,5\n", source)
    assert found.select("line", "raw.a", "raw.b", "malformed").rows()[0] == (1, "1", "2", False)
    assert found["malformed"].to_list() == [False, True]


@pytest.mark.parametrize(
    ("text", "format_", "said"),
    [
        (TEXT.replace("a,b", "a,c"), FRAME, r"file:3 \(column b\): .* it misses b"),
        (TEXT.replace("2,\n", '2,"\n'), FRAME, "file:7: opens a quote"),
        (TEXT.replace("Total,7\n", ""), FRAME, "file:8: ends without its footer: its last 2 lines"),
        ("x\n\na,b\n", FRAME, "file:3: ends without its footer"),
        (
            "x\n",
            {"footer": {"starts_with": ["T", "S"]}},
            "its last line does not start with `T` or `S`",
        ),
        ("a,b\n1,2\nSum", {"footer": 3}, "holds no rows"),
        ("a\nb\n", {"preamble": 9}, "holds no rows"),
    ],
)
def test_a_file_with_another_frame_says_where_and_what_to_do(
    tmp_path: Path, text: str, format_: dict[str, Any], said: str
) -> None:
    with pytest.raises(SourceFileError, match=said):
        read(tmp_path, text, make_source(COLUMNS, **format_))


@pytest.mark.parametrize(
    ("format_", "said"),
    [
        ({"header": "false"}, "needs `columns`"),
        ({"header": "false", "columns": ["a", "b", "a"]}, "`columns` names a twice"),
        ({"header": "false", "columns": ["a"]}, "gives no column b"),
        ({"preamble": "-1"}, "greater than or equal to 0"),
        ({"footer": "Total"}, "valid integer"),
        ({"footer": {"lines": 0, "starts_with": "Total"}}, "has no lines"),
    ],
)
def test_a_frame_that_cannot_be_is_refused_on_load(format_: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make_source(COLUMNS, **format_)
