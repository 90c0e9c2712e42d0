"""Text with columns at fixed places, as mainframes write it.

A line that ends before its last column does, or has text behind it, is malformed: a shifted line
would put one column's digits into another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from spanner_pipeline.configuration.layout import FixedWidth
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.framing import read_body


def read_rows(
    file: SourceFile, layout: FixedWidth, needed: Sequence[str]
) -> Iterator[pl.DataFrame]:
    """Yield `line`, `original`, `malformed` and a column `raw.<name>` for each column.

    That the columns hold all that is `needed` is checked when the source loads.
    """
    end = max(column.end for column in layout.columns)
    text = pl.col("original")
    fields = [
        text.str.slice(column.start - 1, column.width)
        .str.strip_chars(" ")
        .alias(f"raw.{column.name}")
        for column in layout.columns
    ]
    malformed = (text.str.len_chars() < end) | (text.str.slice(end).str.strip_chars(" ") != "")
    for lines in read_body(file, layout):
        yield lines.filter(text != "").select(
            "line", "original", malformed.alias("malformed"), *fields
        )
