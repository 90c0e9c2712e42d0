"""DuckDB as every stage opens it: UTC, a bound on memory, and a folder to spill to.

Below all floors that compute; nothing here knows what is computed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

_MEMORY = 256
"""What one import or report may hold in DuckDB, in MB; beyond it DuckDB goes to disk."""

_MEMORY_BESIDE_POLARS = 128
_UNSPILLABLE_OF_ROW = 20
_BATCH_ROWS = 200_000


@contextmanager
def open_duckdb(spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB in memory of the caller's own.

    Args:
        spill: Where it may write what does not fit; a temporary folder when None.
    """
    with ExitStack() as stack:
        folder = spill or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {
            "TimeZone": "UTC",
            "memory_limit": f"{_MEMORY}MB",
            "temp_directory": str(folder),
            # To keep the order of files DuckDB holds them in memory; ours comes from ORDER BY.
            "preserve_insertion_order": False,
            # Files are read once; a cache of them would only take the memory that joins need.
            "enable_external_file_cache": False,
            # It would be drawn into what commands print.
            "enable_progress_bar": False,
        }
        connection = stack.enter_context(duckdb.connect())
        for name, value in settings.items():
            connection.execute(f"SET {name} = $1", [value])
        yield connection


def through_duckdb(
    frames: Iterator[pl.DataFrame], sql: str, spill: Path, **tables: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    """Stream frames of one schema through a query.

    Args:
        frames: The rows of the table `rows`, which the query may read once.
        sql: The query.
        spill: Where DuckDB may write what does not fit into memory.
        tables: Small tables of the query, by name.
    """
    first = next(frames, None)
    if first is None:
        return
    schema = first.to_arrow().schema
    failure: list[Exception] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for frame in chain([first], frames):
                yield from frame.to_arrow().cast(schema).to_batches()
        except Exception as error:  # DuckDB would wrap it and lose its type
            failure.append(error)
            raise

    with open_duckdb(spill) as connection:
        for name, table in tables.items():
            connection.register(name, table.to_arrow())
        connection.register("rows", pa.RecordBatchReader.from_batches(schema, batches()))
        try:
            for batch in connection.sql(sql).to_arrow_reader(_BATCH_ROWS):
                yield pl.DataFrame(batch)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise (failure[0] if failure else error) from None


def allow_rows(connection: duckdb.DuckDBPyConnection, rows: int) -> None:
    """Give DuckDB what it cannot spill of joins between so many whole rows."""
    connection.execute(f"SET memory_limit = '{_MEMORY + rows * _UNSPILLABLE_OF_ROW // 10**6}MB'")


def make_room(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave memory and cores to Polars, which sorts and writes what DuckDB selects from here on."""
    connection.execute("SET threads = 1")
    with suppress(duckdb.OutOfMemoryException):  # what it cannot spill may be more
        connection.execute(f"SET memory_limit = '{_MEMORY_BESIDE_POLARS}MB'")
