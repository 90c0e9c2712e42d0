"""Physical lines of a text file, with their numbers, in batches.

Polars keeps blank lines, NUL bytes and lone carriage returns where DuckDB's CSV reader drops or
splits them, so that line numbers stay true and no byte is lost.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from typing import IO, cast

import polars as pl

from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.files import SourceFile

BATCH_LINES = 200_000
_BLOCK_CHARACTERS = 8 << 20
_GZIP_MAGIC = b"\x1f\x8b"


def read_lines(file: SourceFile, encoding: str) -> Iterator[pl.DataFrame]:
    """Yield frames of `line` (1-based) and `original` (text without its line end).

    Raises:
        SourceFileError: When the file is cut off or not in the declared encoding.
    """
    try:
        batches = _utf8_lines(file) if encoding == "utf-8" else _decoded_lines(file, encoding)
        for batch in batches:
            if batch.height and batch["line"][0] == 1:
                batch = batch.with_columns(pl.col("original").str.strip_prefix("\ufeff"))
            yield batch
    except (OSError, EOFError) as error:
        raise SourceFileError(
            file.name,
            f"is cut off or damaged: {error}.",
            "fetch it again from the old system.",
        ) from error
    except (pl.exceptions.ComputeError, UnicodeError) as error:
        line = _first_undecodable_line(file, encoding)
        raise SourceFileError(
            file.name,
            f"is not {encoding} text.",
            "declare its `encoding` under `format`, or convert the file.",
            line=line,
        ) from error


def lacks_final_newline(file: SourceFile) -> bool:
    """Whether a plain text file ends inside a line; compressed files tell when they are cut."""
    with file.path.open("rb") as stream:
        if stream.read(2) == _GZIP_MAGIC:
            return False
        stream.seek(-1, io.SEEK_END)
        return stream.read(1) != b"\n"


def _utf8_lines(file: SourceFile) -> Iterator[pl.DataFrame]:
    lines = pl.scan_lines(
        file.path, name="original", row_index_name="line", row_index_offset=1, glob=False
    ).with_columns(pl.col("line").cast(pl.Int64))
    yield from lines.collect_batches(chunk_size=BATCH_LINES, maintain_order=True)


def _decoded_lines(file: SourceFile, encoding: str) -> Iterator[pl.DataFrame]:
    first = 1
    with _open(file) as binary, io.TextIOWrapper(binary, encoding, newline="\n") as text:
        while block := text.read(_BLOCK_CHARACTERS):
            block += text.readline()
            batch = pl.read_lines(io.BytesIO(block.encode()), name="original")
            numbers = pl.int_range(first, first + batch.height, dtype=pl.Int64, eager=True)
            yield batch.select(numbers.alias("line"), "original")
            first += batch.height


def _open(file: SourceFile) -> IO[bytes]:
    with file.path.open("rb") as stream:
        compressed = stream.read(2) == _GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(file.path) if compressed else file.path.open("rb"))


def _first_undecodable_line(file: SourceFile, encoding: str) -> int | None:
    with _open(file) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeError:
                return number
    return None
