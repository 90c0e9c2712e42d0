"""What each snapshot stated of its scopes, kept beside the table for as long as the ledger.

One Parquet file an import, below `_scopes/` in the table's folder, where Delta and its readers do
not look. The commit and the ledger name it. The last import that states a scope and still stands
says what the lake must hold of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from spanner_pipeline.control import Replacement, Total
from spanner_pipeline.errors import PipelineError
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.records import ImportRecord
from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable

SCOPES = "_scopes"
MEASURES = tuple(f.name for f in fields(Replacement) if f.name not in ("scopes", "stale"))

_SCHEMA = pa.schema(
    [
        ("scope", pa.string()),
        ("revision", pa.int64()),
        ("stale", pa.bool_()),
        *((f"{name}_rows", pa.int64()) for name in MEASURES),
        *((f"{name}_quantity", pa.string()) for name in MEASURES),  # exact
    ]
)
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class ScopeResult:
    """What a snapshot states of one scope.

    Attributes:
        scope: The scope, as keys spell it.
        revision: The revision of what is stated; None where the source declares no order.
        done: What that did to it.
    """

    scope: str
    revision: int | None
    done: Replacement


def write_scopes(table: EventTable, results: Iterable[ScopeResult]) -> str:
    """Write what an import states; gives the file's name, as the ledger has it."""
    name = f"{SCOPES}/{uuid.uuid4().hex}.parquet"
    path = table.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, object]] = []
        for result in results:
            rows.append(_row(result))
            if len(rows) == _BATCH_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
    return name


def _row(result: ScopeResult) -> dict[str, object]:
    row: dict[str, object] = {"scope": result.scope, "revision": result.revision}
    row["stale"] = bool(result.done.stale)
    for name in MEASURES:
        total: Total = getattr(result.done, name)
        row |= {f"{name}_rows": total.rows, f"{name}_quantity": str(total.quantity)}
    return row


def read_scopes(table: EventTable, record: ImportRecord) -> Iterator[ScopeResult]:
    """What an import stated, scope by scope in order.

    Args:
        table: The table of its meter.
        record: The import; it states nothing where its source has no snapshots.

    Raises:
        PipelineError: When the file is missing.
    """
    if record.scopes is None:
        return
    frame = pq.read_table(scopes_file(table, record)).sort_by("scope")
    for batch in frame.to_batches(_BATCH_ROWS):
        for row in batch.to_pylist():
            totals = {
                name: Total(row[f"{name}_rows"], Decimal(row[f"{name}_quantity"]))
                for name in MEASURES
            }
            done = Replacement(1, int(row["stale"]), **totals)
            yield ScopeResult(row["scope"], row["revision"], done)


def changed_scopes(table: EventTable, record: ImportRecord) -> Iterator[ScopeResult]:
    """The scopes that an import changed."""
    for scope in read_scopes(table, record):
        if scope.done.added.rows or scope.done.changed.rows or scope.done.removed.rows:
            yield scope


def scopes_file(table: EventTable, record: ImportRecord) -> Path:
    """Where the file of an import is.

    Raises:
        PipelineError: When it is missing.
    """
    path = table.path / str(record.scopes)
    if not path.is_file():
        raise PipelineError(
            f"{path} is missing: it holds what {record.batch} stated of its scopes in meter "
            f"{table.meter.name}. Nothing was changed. Remedy: bring it back from a copy of the "
            "lake."
        )
    return path


def standing_statements(ledger: Ledger, table: EventTable) -> list[ImportRecord]:
    """The imports of snapshots that the table still holds, oldest first."""
    return sorted(
        (
            record
            for record in ledger.standing()
            if record.scopes is not None
            and record.meter == table.meter.name
            and record.table in (None, table.identity)
            and (record.version_after or 0) <= (table.version or 0)
        ),
        key=lambda record: record.order,
    )


def load_last(
    connection: duckdb.DuckDBPyConnection, table: EventTable, records: Sequence[ImportRecord]
) -> None:
    """Make `stated`: who stated each scope last.

    Its columns are `source`, `usage`, `scope`, `revision`, `import_batch`, `partition` and
    `version`, that of the table after it.

    Args:
        connection: Where the table is made.
        table: The table.
        records: Imports of snapshots into it, oldest first.
    """
    connection.execute("""
        CREATE TEMP TABLE statements (
            filename VARCHAR, source VARCHAR, usage VARCHAR, import_batch VARCHAR,
            "partition" VARCHAR, version BIGINT, place BIGINT)""")
    files = [str(scopes_file(table, record)) for record in records]
    for place, (file, record) in enumerate(zip(files, records, strict=True)):
        said = (file, record.source, record.usage, record.batch, record.partition)
        values = [*said, record.version_after or 0, place]
        connection.execute("INSERT INTO statements VALUES ($1, $2, $3, $4, $5, $6, $7)", values)
    nothing = "SELECT ''::VARCHAR AS scope, 0::BIGINT AS revision, '' AS filename WHERE false"
    listing = ", ".join(map(literal, files))
    read = f"""SELECT scope, revision, filename
        FROM read_parquet([{listing}], filename = true) WHERE NOT stale"""
    connection.execute(f"""
        CREATE TEMP TABLE stated AS
        SELECT source, usage, scope, revision, import_batch, "partition", version
        FROM ({read if files else nothing}) JOIN statements USING (filename)
        QUALIFY row_number() OVER (
            PARTITION BY source, usage, scope ORDER BY place DESC) = 1""")
