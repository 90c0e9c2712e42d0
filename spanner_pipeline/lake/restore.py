"""What comes back when an import batch is taken out: the rows that it corrected or removed.

Every commit that took events out kept them (`replaced`). Of these a revert brings back what would
stand in the lake if the batch had never been imported.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from spanner_pipeline.errors import PipelineError
from spanner_pipeline.keys import PART_SEPARATOR, scope_of_key
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.records import ImportRecord
from spanner_pipeline.lake.scopes import load_last, scopes_file, standing_statements
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable


def restore(
    connection: duckdb.DuckDBPyConnection, table: EventTable, batch: str, ledger: Ledger
) -> None:
    """Make `restored`: the events that come back when a batch leaves.

    Args:
        connection: Has the keys of the batch's events as `leaving`.
        table: The lake's events.
        batch: The import batch.
        ledger: The ledger.

    Raises:
        PipelineError: When a file with events that left is missing.
    """
    _load_left(connection, table, ledger)
    columns = ", ".join(f'"{name}"' for name in table.schema().names)
    # What the batch itself set does not come back, nor what was reverted after it had left.
    stands = f"""import_batch <> {literal(batch)} AND NOT EXISTS (
        FROM reverts WHERE reverts.import_batch = gone.import_batch
        AND reverts.version >= gone.version)"""
    statements = standing_statements(ledger, table)
    own = [record for record in statements if record.batch == batch]
    if not own:
        # What a correction replaced stood there; the newest is what stood there last.
        connection.execute(f"""
            CREATE TEMP TABLE restored AS
            SELECT {columns} FROM gone SEMI JOIN leaving USING (idempotency_key) WHERE {stands}
            QUALIFY row_number() OVER (PARTITION BY idempotency_key ORDER BY version DESC) = 1""")
        return
    load_last(connection, table, [record for record in statements if record.batch != batch])
    listing = ", ".join(literal(scopes_file(table, record)) for record in own)
    depth = f"""(SELECT max(len(string_split(scope, '{PART_SEPARATOR}')))
        FROM read_parquet([{listing}]))"""
    connection.execute("CREATE TEMP TABLE own (filename VARCHAR, source VARCHAR, usage VARCHAR)")
    connection.executemany(
        "INSERT INTO own VALUES ($1, $2, $3)",
        [[str(scopes_file(table, record)), record.source, record.usage] for record in own],
    )
    connection.execute(f"""
        CREATE TEMP TABLE own_scopes AS
        SELECT DISTINCT source, usage, scope, coalesce(version, -1) AS version
        FROM read_parquet([{listing}], filename = true) JOIN own USING (filename)
        LEFT JOIN (SELECT source, usage, scope, version FROM stated) USING (source, usage, scope)
        WHERE NOT stale""")
    # The import that stated a scope before said all of it: what left since is what it said.
    others = table.select(f"import_batch <> {literal(batch)}")
    connection.execute(f"""
        CREATE TEMP TABLE restored AS
        SELECT {columns} FROM (SELECT *, {scope_of_key(depth)} AS scope FROM gone) AS gone
        JOIN (SELECT source, usage, scope, version AS stated_at FROM own_scopes)
        USING (source, usage, scope)
        ANTI JOIN (SELECT idempotency_key FROM ({others})) USING (idempotency_key)
        WHERE version > stated_at AND {stands}
        QUALIFY row_number() OVER (PARTITION BY idempotency_key ORDER BY version) = 1""")


def _load_left(connection: duckdb.DuckDBPyConnection, table: EventTable, ledger: Ledger) -> None:
    """Make `gone`, the events that left, with the `version` and `usage` of that; and `reverts`."""
    left = [
        [str(_existing(table, record.replaced, record)), record.version_after, record.usage]
        for record in ledger.imports()
        if record.replaced and record.table == table.identity
    ]
    reverted = [
        [revert.batch, revert.version_after]
        for revert in ledger.reverts(table.meter.name)
        if revert.table == table.identity
    ]
    connection.execute("CREATE TEMP TABLE files (filename VARCHAR, version BIGINT, usage VARCHAR)")
    connection.execute("CREATE TEMP TABLE reverts (import_batch VARCHAR, version BIGINT)")
    if left:
        connection.executemany("INSERT INTO files VALUES ($1, $2, $3)", left)
    if reverted:
        connection.executemany("INSERT INTO reverts VALUES ($1, $2)", reverted)
    listing = ", ".join(literal(file) for file, *_ in left)
    kept = f"FROM read_parquet([{listing}], union_by_name = true, filename = true)"
    connection.execute(f"""
        CREATE TEMP VIEW gone AS SELECT * FROM (
            SELECT *, NULL::VARCHAR AS filename FROM ({table.empty()})
            {f"UNION ALL BY NAME {kept}" if left else ""}
        ) JOIN files USING (filename)""")


def _existing(table: EventTable, name: str, record: ImportRecord) -> Path:
    path = table.path / name
    if not path.is_file():
        raise PipelineError(
            f"{path} is missing: it holds the events of meter {table.meter.name} that "
            f"{record.batch} corrected or removed, as they were before. Nothing was changed. "
            "Remedy: bring it back from a copy of the lake."
        )
    return path
