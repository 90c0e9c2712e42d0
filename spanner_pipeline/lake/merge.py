"""The merge: laws 1, 3 and 4, in one commit a meter.

The story: read the delivery (`incoming`); find what the lake holds under its keys, on any day
(`existing`). A key that the lake does not hold and the delivery has once is new, and needs no more
thought. For the others (`contested`), number the copies, decide which payload each key keeps
(`kept`) and give each row its outcome (`settled`). Check that all rows are accounted for; write;
commit only if nobody else did meanwhile, else begin again with what they wrote.

Outcomes of a row:
  new          its key was unknown; it is the copy that enters
  corrected    it replaces the lake's payload: corrections are declared, its revision is higher
  present      the kept payload says the same, or is of a higher revision
  conflicting  the kept payload differs; both are kept in quarantine, the lake's stays
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from deltalake.exceptions import CommitFailedError

from spanner_pipeline.control import EXACT, Total
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import ConservationError, LakeBusyError
from spanner_pipeline.events import ORIGIN, event_columns, payload_columns
from spanner_pipeline.lake.table import DAY, EventTable, literal
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot
from spanner_pipeline.staging import ACCEPTED, Staged
from spanner_pipeline.whole import written_whole

OUTCOMES = ("new", "present", "corrected", "conflicting")
KEEP_FIRST = "keep the first"
HIGHER_REVISION = "the higher revision wins; equal revisions keep the first"

_ATTEMPTS = 50
_LOWEST_REVISION = "(-9223372036854775808)::BIGINT"


@dataclass(frozen=True)
class MergeResult:
    """What a merge did.

    Attributes:
        outcomes: Rows and quantity by source file and outcome.
        version_before: The table's Delta version before, None when there was no table.
        version_after: The version after; the same where nothing changed.
    """

    outcomes: dict[tuple[str, str], Total]
    version_before: int | None
    version_after: int | None


def merge(
    root: DataRoot,
    staged: Staged,
    conflicts_file: Path,
    *,
    corrections: bool,
    before_commit: Callable[[MergeResult], None],
) -> MergeResult:
    """Merge staged events into the table of their meter.

    Args:
        root: The data root.
        staged: The validated events.
        conflicts_file: Where conflicts go, as Parquet; written only if there are any.
        corrections: Whether the source declares corrections.
        before_commit: Called with what is about to be committed; raises to stop it.

    Raises:
        ConservationError: When rows are not accounted for. Nothing was committed.
        LakeBusyError: When other processes won every commit.
    """
    for attempt in range(_ATTEMPTS):
        table = EventTable(root, staged.meter)
        with open_duckdb(staged.folder / "spill") as connection:
            _classify(connection, table, staged, corrections)
            result = MergeResult(
                _outcomes(connection, staged.meter.decimals), table.version, table.version
            )
            _check(staged, result)
            before_commit(result)
            _write_conflicts(connection, staged.meter, result, conflicts_file, corrections)
            try:
                version = _commit(connection, table, staged, result)
                return MergeResult(result.outcomes, result.version_before, version)
            except CommitFailedError:
                time.sleep(random.uniform(0.01, 0.05) * (attempt + 1))  # noqa: S311
    raise LakeBusyError(
        f"other imports into meter {staged.meter.name} won {_ATTEMPTS} commits in a row. "
        "Nothing was lost; run this import again."
    )


def _classify(
    connection: duckdb.DuckDBPyConnection, table: EventTable, staged: Staged, corrections: bool
) -> None:
    meter = staged.meter
    columns = ", ".join(f'"{name}"' for name in event_columns(meter))
    parts = staged.parts(ACCEPTED)
    listing = ", ".join(literal(part) for part in parts)
    rows = f"read_parquet([{listing}])" if parts else f"({table.empty()})"
    connection.execute(f"""
        CREATE TEMP VIEW incoming AS
        SELECT {columns}, CAST("timestamp" AS DATE) AS {DAY} FROM {rows}""")
    connection.execute(f"""
        CREATE TEMP TABLE existing AS
        SELECT * FROM ({table.select()}) SEMI JOIN incoming USING (idempotency_key)""")
    connection.execute("""
        CREATE TEMP TABLE contested_keys AS
        SELECT idempotency_key FROM existing UNION
        SELECT idempotency_key FROM incoming GROUP BY idempotency_key HAVING count(*) > 1""")
    connection.execute("""
        CREATE TEMP TABLE contested AS
        SELECT *, row_number() OVER (
            PARTITION BY idempotency_key
            ORDER BY revision DESC NULLS LAST, source_file, source_line
        ) AS copy
        FROM incoming SEMI JOIN contested_keys USING (idempotency_key)""")
    higher = f"contested.revision > coalesce(existing.revision, {_LOWEST_REVISION})"
    chosen = ", ".join(
        f'CASE WHEN entry IS NULL THEN existing."{name}" ELSE contested."{name}" END AS "{name}"'
        for name in (*payload_columns(meter), "revision", "import_batch", *ORIGIN)
    )
    connection.execute(f"""
        CREATE TEMP TABLE kept AS
        SELECT contested.idempotency_key, entry, existing.{DAY} AS day_before, {chosen}
        FROM (SELECT * FROM contested WHERE copy = 1) AS contested
        LEFT JOIN existing USING (idempotency_key)
        CROSS JOIN LATERAL (SELECT CASE
            WHEN existing.idempotency_key IS NULL THEN 'new'
            WHEN {str(corrections).lower()} AND {higher} THEN 'corrected'
        END AS entry)""")
    same = _same(meter, "contested", "kept")
    connection.execute(f"""
        CREATE TEMP TABLE settled AS
        SELECT contested.* EXCLUDE (copy), kept.day_before, CASE
            WHEN copy = 1 AND kept.entry IS NOT NULL THEN kept.entry
            WHEN {same} OR coalesce(contested.revision < kept.revision, false) THEN 'present'
            ELSE 'conflicting'
        END AS outcome
        FROM contested JOIN kept USING (idempotency_key)""")
    connection.execute("""
        CREATE TEMP VIEW classified AS
        SELECT * FROM settled UNION ALL BY NAME
        SELECT *, 'new' AS outcome FROM incoming ANTI JOIN contested_keys USING (idempotency_key)
    """)


def _same(meter: Meter, left: str, right: str) -> str:
    """SQL: whether two rows have the same payload."""
    return (
        "("
        + " AND ".join(
            f'{left}."{name}" IS NOT DISTINCT FROM {right}."{name}"'
            for name in payload_columns(meter)
        )
        + ")"
    )


def _outcomes(connection: duckdb.DuckDBPyConnection, decimals: int) -> dict[tuple[str, str], Total]:
    try:
        rows = _sums(connection, "sum(quantity)")
    except duckdb.OutOfRangeException:  # more than a decimal column holds; whole numbers go on
        rows = _sums(connection, "sum(replace(quantity::VARCHAR, '.', '')::BIGNUM)")
        rows = [(*row, EXACT.scaleb(Decimal(units), -decimals)) for *row, units in rows]
    return {(file, outcome): Total(count, quantity) for file, outcome, count, quantity in rows}


def _sums(connection: duckdb.DuckDBPyConnection, quantity: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = connection.execute(f"""
        SELECT source_file, outcome, count(*), {quantity} FROM classified GROUP BY ALL
    """).fetchall()
    return rows


def _check(staged: Staged, result: MergeResult) -> None:
    """Every accepted row must have exactly one outcome."""
    for file, accepted in staged.accepted.items():
        total = Total()
        for outcome in OUTCOMES:
            total += result.outcomes.get((file, outcome), Total())
        if total != accepted:
            raise ConservationError(
                f"{file}: {accepted} was accepted for meter {staged.meter.name}, but the merge "
                f"accounts for {total}. Nothing was committed. This is a defect; please report it."
            )


def _commit(
    connection: duckdb.DuckDBPyConnection, table: EventTable, staged: Staged, result: MergeResult
) -> int | None:
    entering = sum(t.rows for (_, o), t in result.outcomes.items() if o in ("new", "corrected"))
    if entering == 0:
        return table.version
    columns = ", ".join(f'"{name}"' for name in table.schema().names)
    order = f"ORDER BY {DAY}, subject, timestamp, idempotency_key"
    connection.execute(f"""
        CREATE TEMP VIEW entering AS
        {table.empty()} UNION ALL BY NAME
        SELECT * EXCLUDE (day_before, outcome) FROM classified
        WHERE outcome IN ('new', 'corrected')""")
    properties = {"import_batch": staged.batch, "usage": staged.usage.name}
    corrected = any(outcome == "corrected" for _, outcome in result.outcomes)
    if not corrected:
        events = connection.sql(f"SELECT {columns} FROM entering {order}").to_arrow_reader()
        return table.append(events, properties)
    days = [
        str(day)
        for (day,) in connection.execute(f"""
            SELECT DISTINCT unnest([{DAY}, coalesce(day_before, {DAY})]) AS day
            FROM classified WHERE outcome IN ('new', 'corrected') ORDER BY day""").fetchall()
    ]
    touched = ", ".join(f"DATE '{day}'" for day in days)
    connection.execute(f"""
        CREATE TEMP TABLE result AS
        SELECT * FROM ({table.select(f"{DAY} IN ({touched})")})
        ANTI JOIN (SELECT * FROM settled WHERE outcome = 'corrected') USING (idempotency_key)
        UNION ALL BY NAME SELECT * FROM entering""")
    _check_result(connection, table, touched)
    events = connection.sql(f"SELECT {columns} FROM result {order}").to_arrow_reader()
    return table.replace_days(days, events, properties)


def _check_result(connection: duckdb.DuckDBPyConnection, table: EventTable, touched: str) -> None:
    """The days that are rewritten hold what they held, plus what is new, every key once."""
    (counts,) = connection.execute(f"""
        SELECT (SELECT count(*) FROM result),
            (SELECT count(DISTINCT idempotency_key) FROM result),
            (SELECT count(*) FROM ({table.select(f"{DAY} IN ({touched})")}))
                + (SELECT count(*) FROM classified WHERE outcome = 'new')
    """).fetchall()
    if len(set(counts)) != 1:
        raise ConservationError(
            f"meter {table.meter.name}: the rewritten days would hold {counts} rows, keys and "
            "expected rows. Nothing was committed. This is a defect; please report it."
        )


def _write_conflicts(
    connection: duckdb.DuckDBPyConnection,
    meter: Meter,
    result: MergeResult,
    file: Path,
    corrections: bool,
) -> None:
    if all(outcome != "conflicting" for _, outcome in result.outcomes):
        file.unlink(missing_ok=True)  # an attempt that lost its commit may have seen some
        return
    shown = (*payload_columns(meter), "revision", "import_batch", *ORIGIN)
    both = ", ".join(
        f'kept."{name}" AS "kept_{name}", settled."{name}" AS "refused_{name}"' for name in shown
    )
    differing = ", ".join(
        f'CASE WHEN settled."{name}" IS DISTINCT FROM kept."{name}" THEN \'{name}\' END'
        for name in payload_columns(meter)
    )
    rule = HIGHER_REVISION if corrections else KEEP_FIRST
    relation = connection.sql(f"""
        SELECT settled.idempotency_key, {literal(meter.name)} AS meter,
            list_filter([{differing}], lambda field: field IS NOT NULL) AS fields_that_differ,
            {both}, '{rule}' AS rule
        FROM settled JOIN kept USING (idempotency_key)
        WHERE outcome = 'conflicting' ORDER BY ALL""")
    with written_whole(file) as work:
        relation.write_parquet(str(work))
