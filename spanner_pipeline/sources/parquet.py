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

from spanner_pipeline.configuration.layout import Typed
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.columns import check_columns
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.typed import typed_rows

BATCH_ROWS = 200_000
_DAMAGE = (pa.ArrowException, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def read_rows(file: SourceFile, layout: Typed, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line` (row number), `original` (its texts as JSON), `malformed`, `raw.<name>`.

    Raises:
        SourceFileError: When the file is no whole Parquet file, or columns differ.
    """
    line = 1
    try:
        with pq.ParquetFile(file.path, page_checksum_verification=True) as rows:
            names = rows.schema_arrow.names
            check_columns(file, names, needed, layout.columns, optional=layout.optional)
            for batch in rows.iter_batches(BATCH_ROWS):
                yield typed_rows(pl.DataFrame(batch), line, layout.optional)
                line += batch.num_rows
            if line - 1 != rows.metadata.num_rows:
                raise pa.ArrowInvalid(f"{line - 1} of {rows.metadata.num_rows} rows are readable")
    except _DAMAGE as error:
        raise SourceFileError(
            file.name,
            f"is no readable Parquet file, or is cut off: {error}.",
            "fetch it again from the old system.",
        ) from error
