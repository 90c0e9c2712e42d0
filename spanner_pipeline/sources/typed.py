"""Typed columns become their canonical texts, whatever typed format they were stored in.

A column that is an integer in one file and a double in the next gives the same texts, and with
them the same keys; so does one that a file lacks and another has without values.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def typed_rows(rows: pl.DataFrame, first: int, optional: Sequence[str] = ()) -> pl.DataFrame:
    """Rows of typed columns as their family gives them.

    Args:
        rows: Typed columns under the names that they have in the file.
        first: The number of the first row.
        optional: Columns that stand as nulls where the file lacks them.
    """
    absent = [name for name in optional if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
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
        return column.map_elements(text_of_bytes, return_dtype=pl.String)
    return column.cast(pl.String)


def text_of_bytes(content: bytes) -> str:
    """UTF-8, which old writers do not mark as text; other bytes in hexadecimal."""
    return content.decode("utf-8", errors="backslashreplace")
