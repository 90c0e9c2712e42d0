"""Bytes become lines: whatever the encoding and compression, none is lost and each is numbered."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources import lines
from spanner_pipeline_tests.sources.reading import make_source, read

TEXT = "a,b\nMüller,1\nŁódź,2\n"


def names(rows: pl.DataFrame) -> list[str]:
    return rows["raw.a"].to_list()


def zstandard(content: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(content, asbytes=True))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard])
@pytest.mark.parametrize("name", ["usage.csv.gz", "usage.csv"])
def test_compression_shows_in_the_bytes_not_in_the_name(
    tmp_path: Path, compress: Callable[[bytes], bytes], name: str
) -> None:
    found = read(tmp_path, compress(TEXT.encode()), make_source(["a", "b"]), name)
    assert names(found) == ["Müller", "Łódź"]


def test_gzip_files_written_one_after_the_other_are_read_to_the_end(tmp_path: Path) -> None:
    content = gzip.compress(b"a,b\nx,1\n") + gzip.compress(b"y,2\nz,3")
    assert names(read(tmp_path, content, make_source(["a", "b"]))) == ["x", "y", "z"]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstandard])
def test_a_compressed_file_that_is_cut_is_refused(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    content = compress(b"a,b\n" + b"".join(b"%d,1\n" % (n * 7919 % 10007) for n in range(5000)))
    with pytest.raises(SourceFileError, match="is cut off or damaged"):
        read(tmp_path, content[: len(content) // 2], make_source(["a", "b"]))


@pytest.mark.parametrize("start", ["x\x01", "x^"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_text_that_begins_like_an_archive_is_a_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str, encoding: str
) -> None:
    """It is none in the bytes of the file, wherever these are cut."""
    monkeypatch.setattr(lines, "BLOCK_SIZE", 8)
    texts = [f"{start}{number:05}" for number in range(40)]
    content = "a,b\n" + "".join(f"{text},1\n" for text in texts)
    found = read(tmp_path, content.encode(encoding), make_source(["a", "b"], encoding=encoding))
    assert names(found) == texts
    assert found["line"].to_list() == list(range(2, 42))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
def test_a_declared_encoding_is_read_exactly(tmp_path: Path, encoding: str) -> None:
    content = TEXT.replace("Łódź", "Köln").encode(encoding)
    found = read(tmp_path, content, make_source(["a", "b"], encoding=encoding))
    assert names(found) == ["Müller", "Köln"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path, encoding: str) -> None:
    mark = "" if encoding == "utf-8-sig" else "\ufeff"
    declared = {"encoding": "utf-16"} if mark else {}
    found = read(tmp_path, (mark + TEXT).encode(encoding), make_source(["a", "b"], **declared))
    assert names(found) == ["Müller", "Łódź"]


def test_line_ends_and_odd_bytes_keep_lines_whole(tmp_path: Path) -> None:
    content = b"a,b\r\nx\x00y,1\r\np\rq,2\n\xe2\x80\xa8\x0b\x0c,3\n"
    found = read(tmp_path, content, make_source(["a", "b"]))
    assert names(found) == ["x\x00y", "p\rq", "\u2028\x0b\x0c"]
    assert found["line"].to_list() == [2, 3, 4]


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize("text", ["a\n1\n2", "a\n1\n2\n", "a\r\n1\r\n2\r\n", "a\n\n\n1\n\n2\n\n"])
def test_blocks_may_end_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, block: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK_SIZE", block)
    found = read(tmp_path, text, make_source(["a"]))
    whole = text.splitlines()
    assert list(zip(found["line"], found["raw.a"], strict=True)) == [
        (whole.index(value) + 1, value) for value in ("1", "2")
    ]


@pytest.mark.parametrize(
    ("encoding", "content", "line"),
    [
        ("utf-8", b"a\n" * 3_000 + b"\xff\n", 3_001),
        ("utf-8", b"a\n" * 700_000 + b"\xc3", 700_001),
        ("cp1252", b"a\n\x81\n", 2),
        ("utf-16", "a\nb\n".encode("utf-16-le") + b"\x00\xd8\n\x00", 3),
    ],
)
def test_the_first_line_in_another_encoding_is_named(
    tmp_path: Path, encoding: str, content: bytes, line: int
) -> None:
    content = b"\xff\xfe" + content if encoding == "utf-16" else content
    with pytest.raises(SourceFileError, match=rf"file:{line}: is not {encoding} text"):
        read(tmp_path, content, make_source(["a"], encoding=encoding))
