"""Parquet: types are spelled one way, so that a re-export with other types gives the same texts."""

from __future__ import annotations

import io
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.configuration.layout import Parquet
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import parquet
from spanner_pipeline_tests.sources.reading import make_source, read


def written(frame: pl.DataFrame, **options: Any) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file, row_group_size=500, **options)
    return file.getvalue()


def spelled(folder: Path, values: pl.Series) -> list[str | None]:
    content = written(pl.DataFrame({"v": values}))
    found = read(folder, content, make_source(["v"], family="parquet", nulls=[]))
    texts: list[str | None] = found["raw.v"].to_list()
    return texts


MIDNIGHT = datetime(2024, 1, 1)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pl.Series([1, None]), ["1", None]),
        (pl.Series([1.0, -2.5, None]), ["1", "-2.5", None]),
        (pl.Series([0.1, 123456789.123, 1e-7, -0.0]), ["0.1", "123456789.123", "1e-7", "-0"]),
        (pl.Series([float("nan"), float("inf")]), ["NaN", "inf"]),
        (pl.Series([0.1, 2.0], dtype=pl.Float32), ["0.1", "2"]),
        (pl.Series([Decimal("1.10"), Decimal("100.00")]), ["1.1", "100"]),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), [str(2**64 - 1)]),
        (pl.Series([True, False]), ["true", "false"]),
        (pl.Series(["1.0", " x"]), ["1.0", " x"]),
        (pl.Series([b"text", b"\xff\x00"]), ["text", "\\xff\x00"]),
        (pl.Series(["a"], dtype=pl.Categorical), ["a"]),
        (pl.Series([None], dtype=pl.Null), [None]),
        (pl.Series([date(2024, 1, 1)]), ["2024-01-01"]),
        (pl.Series([time(10, 1, 2)]), ["10:01:02"]),
        (pl.Series([timedelta(seconds=90)]), ["PT1M30S"]),
        (pl.Series([MIDNIGHT], dtype=pl.Datetime("ms")), ["2024-01-01T00:00:00.000000000"]),
        (pl.Series([MIDNIGHT], dtype=pl.Datetime("ns")), ["2024-01-01T00:00:00.000000000"]),
        (
            pl.Series([MIDNIGHT]).dt.replace_time_zone("America/New_York"),
            ["2024-01-01T05:00:00.000000000Z"],
        ),
        (pl.Series([[1, 2], None]), ["[1,2]", None]),
        (pl.Series([{"a": 1.5}]), ['{"a":1.5}']),
    ],
)
def test_each_type_has_one_spelling(
    tmp_path: Path, values: pl.Series, texts: list[str | None]
) -> None:
    assert spelled(tmp_path, values) == texts


def test_a_row_keeps_what_it_held_and_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "BATCH_ROWS", 2)
    frame = pl.DataFrame({"line": ["a", "b", "c"], "n": [1.0, float("nan"), None]})
    found = read(tmp_path, written(frame), make_source(["line", "n"], family="parquet"))
    assert found["line"].to_list() == [1, 2, 3]
    assert found["original"].to_list() == [
        '{"line":"a","n":"1"}',
        '{"line":"b","n":"NaN"}',
        '{"line":"c","n":null}',
    ]


@pytest.mark.parametrize("name", ["line", "original", "malformed", "content", "a.b c", "^x$", "*"])
def test_a_column_may_have_any_name(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({name: ["1"], "other": ["2"]})
    source = make_source([name], "multiset", family="parquet")
    assert read(tmp_path, written(frame), source)[f"raw.{name}"].to_list() == ["1"]


@pytest.mark.parametrize("filler", [None, b"\x00", b"\x7f"])
def test_no_row_of_a_damaged_file_goes_missing_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filler: bytes | None
) -> None:
    """Damage that no checksum shows may change values, but rows are all read, or the file refused.

    Times far out of range make Polars panic; its lazy reader then ended early without an error.
    """
    monkeypatch.setattr(parquet, "BATCH_ROWS", 500)
    rows, damage = 5000, 400
    frame = pl.DataFrame({"id": range(rows), "at": [MIDNIGHT] * rows, "n": [0.1] * rows})
    frame = frame.with_columns(pl.col("at") + pl.duration(seconds=pl.col("id") * 7919 % 10007))
    content = written(frame, compression="uncompressed")
    source = make_source(["id"], family="parquet")
    refused = 0
    for where in range(4, len(content) - damage, len(content) // 23):
        rest = b"" if filler is None else filler * damage + content[where + damage :]
        try:
            assert read(tmp_path, content[:where] + rest, source).height == rows
        except SourceFileError as error:
            assert "is no readable Parquet file" in str(error)
            refused += 1
    assert refused > 1


def make_any(**values: Any) -> bytes:
    return written(pl.DataFrame(values))


def test_the_same_rows_with_other_types_have_the_same_content(tmp_path: Path) -> None:
    source = make_source(["id"], "multiset", family="parquet")
    one = read(tmp_path, make_any(id=[1, 2], n=[1, None], at=[MIDNIGHT] * 2), source)
    at = pl.Series([MIDNIGHT] * 2, dtype=pl.Datetime("ns"))
    two = read(tmp_path, make_any(at=at, n=[1.0, None], id=[1.0, 2.0]), source)
    assert one["content"].to_list() == two["content"].to_list()


def test_a_column_that_some_files_lack_is_null_there(tmp_path: Path) -> None:
    source = make_source(["id", "region"], "multiset", family="parquet", optional=["region"])
    old = read(tmp_path, make_any(id=["a", "b"]), source)
    new = read(tmp_path, make_any(region=[None, "eu"], id=["a", "b"]), source)
    assert old["raw.region"].to_list() == [None, None]
    assert new["raw.region"].to_list() == [None, "eu"]
    assert old["content"][0] == new["content"][0]  # one row, whichever export it stands in
    assert old["content"][1] != new["content"][1]


@pytest.mark.parametrize(
    ("columns", "optional", "found", "said"),
    [
        ([], [], ["id"], "it misses region"),
        ([], ["other"], ["id"], "it misses region"),
        (["id"], ["region"], ["id", "region", "new"], "it also has new"),
        (["id"], ["region"], ["region"], "it misses id"),
    ],
)
def test_only_what_is_declared_optional_may_be_absent(
    tmp_path: Path, columns: list[str], optional: list[str], found: list[str], said: str
) -> None:
    layout = Parquet(family="parquet", columns=tuple(columns), optional=tuple(optional))
    source = make_source(["id", "region"]).model_copy(update={"format": layout})
    with pytest.raises(SourceFileError, match=said):
        read(tmp_path, make_any(**{name: ["x"] for name in found}), source)
