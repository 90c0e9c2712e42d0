"""Arrow IPC files and streams: the same texts as Parquet, and no row lost in silence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import arrow
from spanner_pipeline_tests.sources.reading import make_source, read
from spanner_pipeline_tests.sources.test_parquet import MIDNIGHT, written

FRAME = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "n": [1.0, -2.5, float("nan"), None],
        "big": [2**63 - 1, 1, 2, 3],
        "exact": pl.Series(["1.10", "2", "3", None]).cast(pl.Decimal(38, 15)),
        "at": [MIDNIGHT] * 4,
        "tags": [{"a": [1]}, None, {"a": []}, {"a": None}],
        "kind": pl.Series(["x", "y", "x", None], dtype=pl.Categorical),
    }
)
SOURCE = make_source(FRAME.columns, family="arrow")


def as_ipc(kind: str, table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    new = {"file": pa.ipc.new_file, "stream": pa.ipc.new_stream}[kind]
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write_batch(batch)
    return sink.getvalue()


def feather() -> bytes:
    sink = io.BytesIO()
    pyarrow.feather.write_feather(FRAME.to_arrow(), sink, compression="zstd")
    return sink.getvalue()


STORED = {
    "file": as_ipc("file", FRAME.to_arrow()),
    "stream": as_ipc("stream", FRAME.to_arrow()),
    "stream, compressed": as_ipc("stream", FRAME.to_arrow(), compression="lz4"),
    "feather": feather(),
}


@pytest.mark.parametrize("kind", STORED)
def test_rows_read_as_they_do_from_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(arrow, "BATCH_ROWS", 3)
    found = read(tmp_path, STORED[kind], SOURCE)
    same = read(tmp_path, written(FRAME), make_source(FRAME.columns, family="parquet"))
    assert found.equals(same)
    assert found["line"].to_list() == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", STORED)
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    content = STORED[kind]
    ends = range(1, len(content), 24 if kind.startswith("stream") else 97)
    for end in [*ends, len(content) - 1]:
        with pytest.raises(SourceFileError, match="file: is no readable Arrow file or stream"):
            read(tmp_path, content[:end], SOURCE)


@pytest.mark.parametrize("kind", STORED)
def test_damage_ends_as_an_error_or_all_rows_are_there(tmp_path: Path, kind: str) -> None:
    content = STORED[kind]
    for where in range(0, len(content) - 8, max(8, len(content) // 30)):
        for filler in (b"\x00", b"\x7f", b"\xff"):
            damaged = content[:where] + filler * 8 + content[where + 8 :]
            try:
                assert read(tmp_path, damaged, SOURCE).height == FRAME.height
            except SourceFileError:
                continue


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_offsets_that_point_elsewhere_are_refused(tmp_path: Path, kind: str) -> None:
    content = as_ipc(kind, pa.table({"id": ["ab", "cd"]}))
    offsets = b"\0\0\0\0\x02\0\0\0\x04\0\0\0"
    assert content.count(offsets) == 1
    astray = content.replace(offsets, offsets[:8] + (2**30).to_bytes(4, "little"))
    with pytest.raises(SourceFileError, match="no readable Arrow"):
        read(tmp_path, astray, make_source(["id"], family="arrow"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"FEA1" + b"\0" * 60, "Feather of version 1"),
        (b"ARROW1\0\0", "is no readable Arrow file"),
        (b"id,n\na,1\n", "is no readable Arrow file"),
        (STORED["file"] + b"x", "is no readable Arrow file"),
        (STORED["stream"] + b"more", "the mark that ends a stream"),
        (as_ipc("stream", pa.table({"other": [1]})), "it misses id"),
        (as_ipc("file", pa.table({"id": pa.array([], pa.string())})), "holds no rows"),
    ],
)
def test_another_file_gets_a_clear_error(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(SourceFileError, match=said) as error:
        read(tmp_path, content, make_source(["id"], family="arrow"))
    assert "file" in str(error.value)
    assert "Remedy" in str(error.value)


def test_an_optional_column_may_be_absent(tmp_path: Path) -> None:
    source = make_source(["id", "region"], family="arrow", optional=["region"])
    found = read(tmp_path, as_ipc("file", pa.table({"id": ["a"]})), source)
    assert found["raw.region"].to_list() == [None]
