"""DuckDB as every stage opens it: UTC, a bound on memory, and a folder to spill to.

Below all floors that compute; nothing here knows what is computed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

MEMORY_LIMIT = "256MB"
"""What one import or report may hold in DuckDB; beyond it DuckDB goes to disk."""

_MEMORY_BESIDE_POLARS = "128MB"


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
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(folder),
            # Files are read once; a cache of them would only take the memory that joins need.
            "enable_external_file_cache": False,
        }
        connection = stack.enter_context(duckdb.connect())
        for name, value in settings.items():
            connection.execute(f"SET {name} = $1", [value])
        yield connection


def make_room(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave memory and cores to Polars, which sorts and writes what DuckDB selects from here on."""
    connection.execute(f"SET threads = 1; SET memory_limit = '{_MEMORY_BESIDE_POLARS}'")
