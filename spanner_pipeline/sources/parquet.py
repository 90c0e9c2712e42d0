"""Parquet: typed columns become their canonical texts, so that all families look alike.

A column that is an integer in one file and a double in the next gives the same texts, and with
them the same keys. PyArrow reads, because it counts rows and checks page checksums; Polars' lazy
reader ends early and silently when one of its threads panics over a damaged page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spanner_pipeline.configuration.layout import Parquet
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.columns import check_columns
from spanner_pipeline.sources.files import SourceFile

BATCH_ROWS = 200_000
_DAMAGE = (pa.ArrowException, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def read_rows(file: SourceFile, layout: Parquet, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line` (row number), `original` (its texts as JSON), `malformed`, `raw.<name>`.

    Raises:
        SourceFileError: When the file is no whole Parquet file, or columns differ.
    """
    line = 1
    try:
        with pq.ParquetFile(file.path, page_checksum_verification=True) as rows:
            check_columns(file, rows.schema_arrow.names, needed, layout.columns)
            for batch in rows.iter_batches(BATCH_ROWS):
                yield _texts(pl.DataFrame(batch), line)
                line += batch.num_rows
            if line - 1 != rows.metadata.num_rows:
                raise pa.ArrowInvalid(f"{line - 1} of {rows.metadata.num_rows} rows are readable")
    except _DAMAGE as error:
        raise SourceFileError(
            file.name,
            f"is no readable Parquet file, or is cut off: {error}.",
            "fetch it again from the old system.",
        ) from error


def _texts(rows: pl.DataFrame, first: int) -> pl.DataFrame:
    raw = rows.rename(lambda name: f"raw.{name}")  # first: `*` and `^a$` are patterns to Polars
    texts = raw.select(as_text(name, kind).alias(name) for name, kind in raw.schema.items())
    row = pl.struct(raw.columns).struct.rename_fields(rows.columns)
    return texts.with_columns(
        pl.int_range(first, first + rows.height, dtype=pl.Int64).alias("line"),
        row.struct.json_encode().alias("original"),
        pl.lit(value=False).alias("malformed"),
    )


def as_text(name: str, kind: pl.DataType) -> pl.Expr:
    """The canonical text of a typed column; a float gives its shortest exact spelling."""
    column = pl.col(name)
    if kind.is_float():
        return column.cast(pl.String).str.strip_suffix(".0")
    if kind.is_decimal():
        text = column.cast(pl.String)
        plain = text.str.strip_chars_end("0").str.strip_suffix(".")
        return pl.when(text.str.contains(".", literal=True)).then(plain).otherwise(text)
    if isinstance(kind, pl.Datetime):
        if kind.time_zone:
            return column.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.9f")
    if isinstance(kind, pl.Duration):
        return column.dt.to_string("iso")
    if kind.is_nested():
        wrapped = pl.struct(column.alias("")).struct.json_encode()
        bare = wrapped.str.strip_prefix('{"":').str.strip_suffix("}")
        return pl.when(column.is_not_null()).then(bare)
    if isinstance(kind, pl.Binary):
        return column.map_elements(_text_of_bytes, return_dtype=pl.String)
    return column.cast(pl.String)


def _text_of_bytes(content: bytes) -> str:
    """UTF-8, which old writers do not mark as text; other bytes in hexadecimal."""
    return content.decode("utf-8", errors="backslashreplace")
