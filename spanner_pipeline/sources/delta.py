"""Delta tables: the rows of one partition, at the version at which it was digested.

PyArrow reads the data files, as it does Parquet's; the log says which, which rows of them are
deleted, and what the partition columns hold. A column that a data file lacks is null in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from spanner_pipeline.configuration.layout import Delta
from spanner_pipeline.configuration.locations import is_url
from spanner_pipeline.errors import SourceFileError
from spanner_pipeline.sources.columns import check_columns
from spanner_pipeline.sources.delta_log import DataFile, DeltaLog, digest_of
from spanner_pipeline.sources.files import SourceFile
from spanner_pipeline.sources.tables import delta_files
from spanner_pipeline.sources.typed import typed_rows

BATCH_ROWS = 200_000
_DAMAGE = (pa.ArrowException, OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def read_rows(file: SourceFile, layout: Delta, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Yield `line` (row number), `original` (its texts as JSON), `malformed`, `raw.<name>`.

    Raises:
        SourceFileError: When a data file is missing or no whole Parquet file, or columns differ.
    """
    log = DeltaLog(file.name, _location(file), int(file.version))
    check_columns(file, list(log.columns), needed, layout.columns, optional=layout.optional)
    chosen = delta_files(log, layout, file.name)
    if digest_of(chosen) != file.digest:
        raise SourceFileError(
            file.name, "changed between digest and reading.", "import the partition again."
        )
    line = 1
    for data in chosen:
        try:
            for rows in _rows(log, data):
                yield typed_rows(rows, line, layout.optional)
                line += rows.height
        except _DAMAGE as error:
            raise SourceFileError(
                file.name,
                f"its data file {data.path} is missing, no Parquet file, or cut off: {error}.",
                "restore it; was it vacuumed while it was read?",
            ) from error


def _location(file: SourceFile) -> str:
    location = file.name.rpartition("#")[0]
    return location if is_url(location) else str(file.path)


def _rows(log: DeltaLog, data: DataFile) -> Iterator[pl.DataFrame]:
    columns, at = log.columns, 0
    with (
        log.open(data) as stored,
        pq.ParquetFile(
            stored, page_checksum_verification=True, coerce_int96_timestamp_unit="us"
        ) as rows,
    ):
        for batch in rows.iter_batches(BATCH_ROWS):
            found = pl.DataFrame(batch)
            if data.kept is not None:
                found = found.filter(_kept(data.kept, at, found.height))
            at += batch.num_rows
            yield pl.DataFrame(list(_as_declared(found, data, columns)))
        if at != rows.metadata.num_rows:
            raise pa.ArrowInvalid(f"{at} of {rows.metadata.num_rows} rows are readable")


def _kept(kept: pl.Series, at: int, height: int) -> pl.Series:
    """Which rows stay; a deletion vector may end before its file does, and all beyond it stay."""
    part = kept.slice(at, height)
    return pl.concat([part, pl.Series(kept.name, [True] * (height - part.len()), pl.Boolean)])


def _as_declared(
    found: pl.DataFrame, data: DataFile, columns: Mapping[str, str]
) -> Iterator[pl.Series]:
    """The table's columns, whatever the data file has of them."""
    for name, kind in columns.items():
        if name in data.values or name not in found.columns:
            value = data.values.get(name)
            yield pl.Series(name, [value], dtype=pl.String).new_from_index(0, found.height)
            continue
        column = found.get_column(name)
        naive = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None
        if kind == "timestamp" and naive:
            column = column.dt.replace_time_zone("UTC")  # Spark's INT96 says no zone
        yield column
