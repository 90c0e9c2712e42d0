"""Parquet: typed columns become their canonical texts, so that all families look alike.

A column that is an integer in one file and a double in the next gives the same texts, and with
them the same keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from spanner_pipeline.configuration.source import Format
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.delimited import check_columns
from spanner_pipeline.sources.files import SourceFile

BATCH_ROWS = 200_000


def read_rows(file: SourceFile, layout: Format, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line` (row number), `original` (the row as JSON), `malformed`, `raw.<name>`.

    Raises:
        SourceFileError: When the file is no whole Parquet file, or columns differ.
    """
    try:
        schema = pl.scan_parquet(file.path, glob=False).collect_schema()
        check_columns(file, schema.names(), layout, needed)
        rows = (
            pl.scan_parquet(file.path, glob=False)
            .with_row_index("line", offset=1)
            .select(
                pl.col("line").cast(pl.Int64),
                pl.struct(schema.names()).struct.json_encode().alias("original"),
                pl.lit(value=False).alias("malformed"),
                *(as_text(name, kind).alias(f"raw.{name}") for name, kind in schema.items()),
            )
        )
        yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
    except (pl.exceptions.ComputeError, OSError) as error:
        raise SourceFileError(
            file.name,
            f"is no readable Parquet file, or is cut off: {error}.",
            "fetch it again from the old system.",
        ) from error


def as_text(name: str, kind: pl.DataType) -> pl.Expr:
    """The canonical text of a typed column; a float gives its shortest exact spelling."""
    column = pl.col(name)
    if kind.is_float():
        return column.cast(pl.String).str.strip_suffix(".0")
    if isinstance(kind, pl.Datetime):
        if kind.time_zone:
            return column.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")
        return column.dt.strftime("%Y-%m-%dT%H:%M:%S%.9f")
    if kind.is_nested():
        return column.struct.json_encode() if isinstance(kind, pl.Struct) else pl.lit(None)
    return column.cast(pl.String)
