"""The format of a file is found by its bytes, and read as an import would read it."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.profiling.examine import Profile, examine
from spanner_pipeline.sources.lines import BLOCK_SIZE
from spanner_pipeline_tests.profiling.choosing import write

ROWS = [("Zoë, Inc.", "7", "2024-01-02T03:04:05Z"), ('The "Hub"', "8", "2024-01-02T03:04:06Z")]


def delimited(separator: str, quote: str) -> str:
    lines = [separator.join(("customer", "units", "at"))]
    for row in ROWS:
        cells = (c.replace(quote, quote * 2) if quote else c.replace(",", "") for c in row)
        lines.append(separator.join(f"{quote}{cell}{quote}" for cell in cells))
    return "\n".join(lines) + "\n"


def layout(profile: Profile) -> dict[str, object]:
    """What differs from the family's defaults."""
    return profile.stored.layout.model_dump(exclude_defaults=True)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quote", ['"', "'"])
def test_separator_and_quote(tmp_path: Path, separator: str, quote: str) -> None:
    found = examine(write(tmp_path / "f", delimited(separator, quote)))
    assert found.stored.names == ("customer", "units", "at")
    assert (found.stored.rows, found.stored.malformed) == (2, 0)
    expected = {"separator": separator} if separator != "," else {}
    expected |= {"quote": quote} if quote != '"' else {}
    assert layout(found) == {"family": "delimited", **expected}
    assert found.columns[0].examples == tuple(name for name, _, _ in ROWS)


def test_a_lone_quote_is_text_where_quotes_enclose_nothing(tmp_path: Path) -> None:
    lines = [f'{n},5" disk,2024-01-0{n}' for n in range(1, 6)]
    found = examine(write(tmp_path / "f", "\n".join(["id,what,day", *lines]) + "\n"))
    assert layout(found) == {"family": "delimited", "quote": ""}
    assert found.stored.rows == 5


def test_line_breaks_inside_quotes_end_no_row(tmp_path: Path) -> None:
    found = examine(write(tmp_path / "f", 'id,note\n1,"two\nlines"\n2,"one"\n'))
    assert (found.stored.rows, found.stored.malformed) == (2, 0)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8-sig", None), ("cp1252", "cp1252"), ("utf-16", "utf-16")],
)
def test_encodings(tmp_path: Path, encoding: str, declared: str | None) -> None:
    text = delimited(";", '"').replace("Inc.", "Inc. €")
    found = examine(write(tmp_path / "f", text.encode(encoding)))
    assert layout(found).get("encoding") == declared
    assert found.columns[0].examples[0] == "Zoë, Inc. €"


def test_an_odd_byte_late_in_the_file_decides_on_the_encoding(tmp_path: Path) -> None:
    rows = "".join(f"{n},{'a' * 150}\n" for n in range(BLOCK_SIZE // 140))
    content = ("id,name\n" + rows).encode() + b"-1,M\xfcller\n"
    found = examine(write(tmp_path / "f", content))
    assert layout(found)["encoding"] == "cp1252"
    assert found.stored.rows == found.columns[0].distinct == BLOCK_SIZE // 140 + 1


@pytest.mark.parametrize(
    "packed",
    [gzip.compress, bz2.compress, lambda b: pa.compress(b, codec="zstd", asbytes=True)],
    ids=["gzip", "bz2", "zstd"],
)
def test_compression_shows_in_the_bytes_not_in_the_name(tmp_path: Path, packed: object) -> None:
    assert callable(packed)
    found = examine(write(tmp_path / "f.csv", packed(delimited(";", '"').encode())))
    assert found.stored.rows == 2


def test_parquet_of_any_name(tmp_path: Path) -> None:
    pl.DataFrame({"Id": [1, 2], "ID": [1.5, 2.0]}).write_parquet(tmp_path / "export.bin")
    found = examine(tmp_path / "export.bin")
    assert layout(found) == {"family": "parquet"}
    assert [(c.name, c.examples) for c in found.columns] == [
        ("Id", ("1", "2")),
        ("ID", ("1.5", "2")),
    ]


def test_json_lines_with_the_paths_of_all_rows(tmp_path: Path) -> None:
    lines = '{"id": "a", "data": {"n": 1.10}}\n\n{"id": "b", "late": true, "h.ost": {"x": 1}}\n'
    found = examine(write(tmp_path / "f", lines))
    assert layout(found) == {"family": "json_lines"}
    assert found.stored.names == ("id", "data.n", "late")
    assert found.columns[1].examples == ("1.10",)
    assert found.stored.unreachable == ("h.ost.x",)


@pytest.mark.parametrize(
    ("document", "rows"),
    [
        ([{"id": "a", "n": 1.1}, {"id": "b"}], ""),
        ({"Tags": ["x"], "Records": [{"id": "a", "n": 1.1}, {"id": "b"}]}, "Records"),
        ({"meta": [{}], "usage": {"v1.0": [{"id": "a", "n": 1.1}, {"id": "b"}]}}, None),
    ],
    ids=["array", "envelope", "dots"],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_json_documents_with_the_path_of_their_rows(
    tmp_path: Path, document: object, rows: str | None, indent: int | None
) -> None:
    found = examine(write(tmp_path / "f", json.dumps(document, indent=indent)))
    assert found.stored.layout.family == "json"
    assert found.stored.layout.rows == ('["usage"]["v1.0"]' if rows is None else rows)
    assert (found.stored.rows, found.stored.names) == (2, ("id", "n"))


LINE = '10.0.0.1 - ann [10/Oct/2026:13:55:36 +0200] "GET / HTTP/1.1" 200 15'


@pytest.mark.parametrize(("end", "name"), [("", "common"), (' "-" "curl/8"', "combined")])
def test_access_logs(tmp_path: Path, end: str, name: str) -> None:
    found = examine(write(tmp_path / "f", f"{LINE}{end}\n{LINE}{end}\nrubbish\n"))
    assert found.stored.layout.family == "access_log"
    assert found.stored.layout.layout == name
    assert (found.stored.rows, found.stored.malformed, found.stored.first_malformed) == (2, 1, 3)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"[1,\n 2]\n", "is JSON, but neither one object a line nor a document"),
        (b"just a letter\nto nobody\n", "is in no format that is known"),
        (b"id,id\n1,2\n", "has twice id"),
        (gzip.compress(b"a,b\n" + bytes(range(256)) * 64)[:-30], "is cut off or damaged"),
        (b"PAR1 and no more", "is no readable Parquet file"),
    ],
    ids=["empty", "array", "prose", "twice", "cut", "parquet"],
)
def test_what_cannot_be_read_is_named_with_a_remedy(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = write(tmp_path / "f", content)
    with pytest.raises(SourceFileError, match=problem) as error:
        examine(path)
    assert str(path) in str(error.value)
    assert "Remedy: " in str(error.value)


def test_a_file_without_names_is_told(tmp_path: Path) -> None:
    assert examine(write(tmp_path / "f", "1,2024-01-01\n2,2024-01-02\n")).seems_headless
    assert not examine(write(tmp_path / "g", "id,day\n2,2024-01-02\n")).seems_headless
