"""Conflicts: a key that came again with another payload, and nothing that says which is right.

One Parquet file an import, below `quarantine/`; all of them together are one table.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl

from spanner_pipeline.events import ORIGIN, payload_columns
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.root import DataRoot
from spanner_pipeline.staging import Staged
from spanner_pipeline.whole import written_whole

KEEP_FIRST = "keep the first"
HIGHER_REVISION = "the higher revision wins; equal revisions keep the first"


def write_conflicts(connection: duckdb.DuckDBPyConnection, staged: Staged, file: Path) -> None:
    """Write the conflicts of an import, if it has any: rows `refused` against what is `kept`."""
    if not connection.execute("FROM refused LIMIT 1").fetchall():
        file.unlink(missing_ok=True)  # an attempt that lost its commit may have seen some
        return
    shown = (*payload_columns(staged.meter), "revision", "import_batch", *ORIGIN)
    both = ", ".join(
        f'kept."{name}" AS "kept_{name}", refused."{name}" AS "refused_{name}"' for name in shown
    )
    differing = ", ".join(
        f'CASE WHEN refused."{name}" IS DISTINCT FROM kept."{name}" THEN \'{name}\' END'
        for name in payload_columns(staged.meter)
    )
    rule = HIGHER_REVISION if staged.source.corrections is not None else KEEP_FIRST
    conflicts = connection.sql(f"""
        SELECT refused.idempotency_key, {literal(staged.meter.name)} AS meter,
            list_filter([{differing}], lambda field: field IS NOT NULL) AS fields_that_differ,
            {both}, '{rule}' AS rule
        FROM refused JOIN kept USING (idempotency_key) ORDER BY ALL""")
    with written_whole(file) as work:
        conflicts.write_parquet(str(work))


def read_conflicts(root: DataRoot) -> pl.LazyFrame:
    """All conflicts of a data root, one row a refused row.

    Returns:
        `idempotency_key`, `meter`, `fields_that_differ`, the payload, revision, import batch, file
        and line of both sides as `kept_*` and `refused_*`, and the `rule` that decided. A dimension
        that only other meters have is null.
    """
    files = sorted(root.quarantine.glob("*/*/*.conflicts.parquet"))
    frames = [pl.scan_parquet(file) for file in files]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.LazyFrame()
