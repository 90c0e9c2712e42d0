"""Repeated rows: the legacy files hold an event once more that is counted already.

The lake counts it once; a system that knows no keys counts each of these rows. Listed are further
copies within a delivery, and rows that another partition brought before. Not listed are rows of a
partition that is delivered again, nor days that another partition delivers for the greater part:
they are recognised as they are compared, and looked at no closer.

The file is written from what is found, never from what it said before: an import that is run again
finds the same copies, also when all its rows are present. (But for a copy of a lower revision that
lies on another day than the row that counts: it is found only while neither is in the lake.)
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from spanner_pipeline.events import ORIGIN, aside_columns
from spanner_pipeline.staging import Staged
from spanner_pipeline.whole import written_whole


def write_repeated(connection: duckdb.DuckDBPyConnection, staged: Staged, file: Path) -> None:
    """Write the repeated rows of an import, if it has any: rows `counted` by what is `kept`."""
    if not connection.execute("FROM counted LIMIT 1").fetchall():
        file.unlink(missing_ok=True)  # an attempt that lost its commit may have seen some
        return
    shown = (*aside_columns(staged.meter), "idempotency_key")
    columns = ", ".join(f'counted."{name}"' for name in shown)
    first = ", ".join(f"kept.{name} AS first_{name}" for name in ORIGIN)
    repeated = connection.sql(f"""
        SELECT {columns}, {first} FROM counted JOIN kept USING (idempotency_key)
        ORDER BY counted.source_file, counted.source_line""")
    with written_whole(file) as work:
        repeated.write_parquet(str(work), compression="zstd")
