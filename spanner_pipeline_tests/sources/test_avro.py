"""Avro files: exact decimals and times, nested columns by path, damage told."""

from __future__ import annotations

import io
import tracemalloc
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import avro, avro_blocks
from spanner_pipeline_tests.sources.reading import make_source, read


def stored(type_: Any, values: list[Any], codec: str = "deflate", **options: Any) -> bytes:
    """An Avro file of records `id`, `data.v`."""
    data = {"type": "record", "name": "d", "fields": [{"name": "v", "type": type_}]}
    fields = [{"name": "id", "type": "string"}, {"name": "data", "type": data}]
    schema = {"type": "record", "name": "r", "fields": fields}
    file = io.BytesIO()
    rows = [{"id": f"r{at}", "data": {"v": value}} for at, value in enumerate(values)]
    fastavro.writer(file, schema, rows, codec=codec, **options)
    return file.getvalue()


SOURCE = make_source(["id", "data.v"], family="avro")


def logical(kind: str, of: str = "long", **more: Any) -> dict[str, Any]:
    return {"type": of, "logicalType": kind, **more}


DAY = 1_704_067_200  # 2024-01-01


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (["null", "long"], None, None),
        (["null", "long"], 2**63 - 1, str(2**63 - 1)),
        ("double", 0.1, "0.1"),
        ("double", 2.0, "2"),
        ("double", float("nan"), "nan"),
        ("double", float("-inf"), "-inf"),
        ("boolean", True, "true"),
        ("string", 'a "b"\n1.50', 'a "b"\n1.50'),
        ("bytes", b"\xffx", "\\xffx"),
        (logical("date", "int"), date(2024, 1, 1), "2024-01-01"),
        (logical("timestamp-millis"), DAY * 1000 + 5, "2024-01-01T00:00:00.005000000Z"),
        (logical("timestamp-micros"), DAY * 10**6 + 5, "2024-01-01T00:00:00.000005000Z"),
        (logical("timestamp-nanos"), DAY * 10**9 + 5, "2024-01-01T00:00:00.000000005Z"),
        (logical("local-timestamp-micros"), -1, "1969-12-31T23:59:59.999999000"),
        (logical("timestamp-micros"), 2**62, str(2**62)),
        ({"type": "array", "items": "int"}, [1, 2], '["1","2"]'),
        ({"type": "enum", "name": "e", "symbols": ["A"]}, "A", "A"),
    ],
)
def test_each_type_has_one_spelling(tmp_path: Path, type_: Any, value: Any, text: Any) -> None:
    assert read(tmp_path, stored(type_, [value]), SOURCE)["raw.data.v"].to_list() == [text]


@pytest.mark.parametrize(
    ("unscaled", "text"),
    [(11, "0.11"), (-1, "-0.01"), (100, "1"), (0, "0"), (10**40 + 1, "1" + "0" * 38 + ".01")],
)
def test_decimals_are_exact_even_beyond_their_precision(
    tmp_path: Path, unscaled: int, text: str
) -> None:
    bare = logical("decimaX", "bytes", precision=4, scale=2)  # no writer takes more than 4 digits
    content = stored(["null", bare], [unscaled.to_bytes(24, "big", signed=True)])
    assert content.count(b"decimaX") == 1
    content = content.replace(b"decimaX", b"decimal")
    assert read(tmp_path, content, SOURCE)["raw.data.v"].to_list() == [text]


def test_rows_are_numbered_through_all_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(avro, "BATCH_ROWS", 2)
    content = stored("int", list(range(7)), sync_interval=12)
    found = read(tmp_path, content, SOURCE)
    assert found["line"].to_list() == list(range(1, 8))
    assert found["raw.id"].to_list() == [f"r{at}" for at in range(7)]
    assert found["original"][0] == '{"id":"r0","data":{"v":0}}'


def endless() -> bytes:
    """Records that hold themselves."""
    fields = [{"name": "id", "type": "string"}, {"name": "next", "type": ["null", "x.r"]}]
    schema = {"type": "record", "name": "r", "namespace": "x", "fields": fields}
    file = io.BytesIO()
    fastavro.writer(file, schema, [{"id": "a", "next": {"id": "b", "next": None}}])
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"id,n\na,1\n", "file: is no readable Avro file"),
        (b"Obj\x01", "file: is no readable Avro file"),
        (stored("int", [1]).replace(b"deflate", b"unknown"), "the codecs null, deflate"),
        (stored("int", [1]) + b"more", "after its record 1, or is cut off"),
        (endless(), "records `x.r` that can hold themselves"),
        (stored("int", []), "holds no rows"),
    ],
)
def test_another_file_gets_a_clear_error(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(SourceFileError, match=said):
        read(tmp_path, content, SOURCE)


def swollen(codec: str, size: int) -> bytes:
    """A file of one record whose text takes so many bytes."""
    return stored("string", ["x" * size], codec=codec)


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_a_block_is_unpacked_to_its_limit_and_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    monkeypatch.setattr(avro_blocks, "LARGEST_BLOCK", 1 << 20)
    whole = read(tmp_path, swollen(codec, 1_000_000), SOURCE)
    assert whole["raw.data.v"].str.len_bytes().to_list() == [1_000_000]
    bomb = swollen(codec, 64 << 20)
    tracemalloc.start()
    with pytest.raises(SourceFileError, match="a block takes more than 1,048,576 bytes"):
        read(tmp_path, bomb, SOURCE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_block_that_claims_more_records_than_it_has_bytes_is_refused(tmp_path: Path) -> None:
    fields = [{"name": "id", "type": "null"}]
    file = io.BytesIO()
    fastavro.writer(file, {"type": "record", "name": "r", "fields": fields}, [{"id": None}] * 9)
    with pytest.raises(SourceFileError, match="a block of 0 bytes holds 9 records"):
        read(tmp_path, file.getvalue(), make_source(["id"], family="avro"))


NOTHING = {"type": "record", "name": "n", "fields": [{"name": "z", "type": "null"}]}


@pytest.mark.parametrize("items", ["null", NOTHING, {"type": "fixed", "name": "f", "size": 0}])
def test_a_list_of_nothing_is_refused_however_long_it_says_it_is(
    tmp_path: Path, items: Any
) -> None:
    content = stored({"type": "array", "items": items}, [[]], codec="null")
    with pytest.raises(SourceFileError, match="lists of values that hold nothing"):
        read(tmp_path, content, SOURCE)


def test_others_read_avro_as_they_always_did(tmp_path: Path) -> None:
    type_ = logical("timestamp-micros")
    content = stored(type_, [DAY * 10**6])
    read(tmp_path, content, SOURCE)
    [row] = fastavro.reader(io.BytesIO(content))
    assert isinstance(row, dict)
    assert row["data"]["v"] == datetime(2024, 1, 1, tzinfo=UTC)


def test_a_path_that_no_record_has_is_told(tmp_path: Path) -> None:
    source = make_source(["id.x"], family="avro")
    with pytest.raises(SourceFileError, match="no row has id"):
        read(tmp_path, stored("int", [1]), source)


def test_damage_ends_as_an_error_or_all_rows_are_there(tmp_path: Path) -> None:
    content = stored("int", list(range(300)), codec="null", sync_interval=10_000)
    for where in range(0, len(content), len(content) // 40):
        with pytest.raises(SourceFileError):
            read(tmp_path, content[: where or 1], SOURCE)
        try:
            damaged = content[:where] + b"\x7f" * 4 + content[where + 4 :]
            assert read(tmp_path, damaged, SOURCE).height == 300
        except SourceFileError:
            continue
