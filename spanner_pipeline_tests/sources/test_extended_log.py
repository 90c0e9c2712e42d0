"""W3C extended logs: columns by `#Fields:`, which may change inside a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.configuration.source import Source
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import lines
from spanner_pipeline_tests.sources.reading import make_source, read

HEAD = "#Version: 1.0\n#Fields: date time cs(User-Agent) sc-bytes\n"
COLUMNS = ["date", "sc-bytes", "cs(User-Agent)"]


def source(columns: list[str] = COLUMNS, **changed: Any) -> Source:
    return make_source(columns, family="extended_log", **changed)


def test_fields_are_found_by_name_a_dash_is_null_and_escapes_stay(tmp_path: Path) -> None:
    text = HEAD + "2026-01-01\t00:00:01\tMozilla/5.0%20(X11)+x\t12\n2026-01-01\t00:00:02\t-\t-\n"
    found = read(tmp_path, text, source())
    assert found.select("^raw.*$").rows()[0][:3] == ("2026-01-01", "12", "Mozilla/5.0%20(X11)+x")
    assert found.select("^raw.*$").rows()[1][:3] == ("2026-01-01", None, None)
    assert found["line"].to_list() == [3, 4]
    assert not found["malformed"].any()


@pytest.mark.parametrize("block", [1, 25, 1000])
def test_columns_may_change_inside_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK_SIZE", block)
    text = (
        "#Fields: date bytes\r\n2026-01-01 1\r\n"
        "#Date: 2026-01-02\r\n#Fields: bytes host date\r\n2 a 2026-01-02\r\n\r\n"
        "#Fields: date bytes\r\n2026-01-03 3\r\n"
    )
    wanted = source(["date", "bytes"], separator=" ", identity="multiset")
    found = read(tmp_path, text, wanted)
    assert found.select("raw.date", "raw.bytes", "line").rows() == [
        ("2026-01-01", "1", 2),
        ("2026-01-02", "2", 5),
        ("2026-01-03", "3", 8),
    ]
    # The key of a row must not depend on what stands below it.
    alone = read(tmp_path, "\n".join(text.split("\r\n")[:2]) + "\n", wanted)
    assert alone["content"].to_list() == found["content"].to_list()[:1]
    assert found["content"].n_unique() == 3


def test_quoted_fields_hold_separators(tmp_path: Path) -> None:
    text = '#Fields: date agent\n2026-01-01 "a ""b"" c"\n'
    found = read(tmp_path, text, source(["date", "agent"], separator=" "))
    assert found["raw.agent"].to_list() == ['a "b" c']


@pytest.mark.parametrize(
    "row",
    ["2026-01-01\t00:00:01\tx", "2026-01-01\t00:00:01\tx\t1\t2", "a b c d", '2026\t"x\t\t1', "\0"],
)
def test_a_row_with_another_number_of_fields_is_malformed_alone(tmp_path: Path, row: str) -> None:
    found = read(tmp_path, f"{HEAD}{row}\n2026-01-01\t00:00:01\tx\t1\n", source())
    assert found["malformed"].to_list() == [True, False]
    assert found["original"][0] == row


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("2026-01-01\t1\n" + HEAD, 1, "row above its first `#Fields:`"),
        (HEAD + "a\tb\tc\t1\n#Fields: date time\n", 4, "misses sc-bytes"),
        (HEAD.replace(" time", " date"), 2, "has twice date"),
        (HEAD, None, "holds no rows"),
        ("#Version: 1.0\n", None, "holds no rows"),
        (HEAD + "2026-01-01\t00:0", 3, "ends inside a row"),
    ],
)
def test_what_is_no_such_log_says_where_and_what_to_do(
    tmp_path: Path, text: str, line: int | None, said: str
) -> None:
    with pytest.raises(SourceFileError, match=said) as caught:
        read(tmp_path, text, source())
    where = "legacy/file" if line is None else f"legacy/file:{line}"
    assert str(caught.value).replace(" ", ":").startswith(f"{where}:")
