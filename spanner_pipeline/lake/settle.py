"""What becomes of each row of a delivery, given what the lake holds: laws 3 and 4, in SQL.

Belongs here: the outcome of rows. Not here: writing and committing (`change`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from spanner_pipeline.control import Total
from spanner_pipeline.day_files import SORT_ON_DISK
from spanner_pipeline.engine import allow_rows
from spanner_pipeline.events import payload_columns
from spanner_pipeline.lake.incoming import Incoming, WholeDay
from spanner_pipeline.lake.search import find_existing, number_texts
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.lake.table import EventTable, by_day
from spanner_pipeline.lake.writing import DAY
from spanner_pipeline.meters import Meter

OUTCOMES = ("new", "present", "corrected", "conflicting")
ENTERS = "outcome IN ('new', 'corrected')"
_FEW = 10_000
"""So few rows of a day are looked up one by one, so that what they repeat is known row by row."""
_HASHES_AT_ONCE = 8_000_000
"""How many are sorted in memory: 64 MB."""
_LOWEST_REVISION = "(-9223372036854775808)::BIGINT"


@dataclass(frozen=True)
class Settlement:
    """What becomes of a delivery.

    Beside it stand, in the same connection: `existing` (the lake's rows under the unsettled keys),
    `settled` (contested rows with their `outcome`), `refused` (those in conflict), `counted` (those
    whose event another row counts already), `kept` (the payload that each key of these two keeps),
    and `replaced` (the places in the lake of what is corrected).

    Attributes:
        present: Rows and quantity that the lake had on their day, by source file.
        fresh: Rows and quantity that are new without contest, by day and source file.
        settled: Rows and quantity of contested keys, by day, source file and outcome.
        builds_on: The import batches whose rows it met in the lake.
        compared: The days of which `differing` has what is unsettled.
    """

    present: dict[str, Total]
    fresh: dict[tuple[date, str], Total]
    settled: dict[tuple[date, str, str], Total]
    builds_on: set[str]
    compared: set[date]

    @property
    def outcomes(self) -> dict[tuple[str, str], Total]:
        """Rows and quantity by source file and outcome."""
        outcomes: dict[tuple[str, str], Total] = defaultdict(Total)
        for file, total in self.present.items():
            outcomes[file, "present"] += total
        for (_, file), total in self.fresh.items():
            outcomes[file, "new"] += total
        for (_, file, outcome), total in self.settled.items():
            outcomes[file, outcome] += total
        return dict(outcomes)

    @property
    def entering(self) -> dict[tuple[date, str], Total]:
        """Rows and quantity that enter the lake, by day and source file."""
        entering: dict[tuple[date, str], Total] = defaultdict(Total, self.fresh)
        for (day, file, outcome), total in self.settled.items():
            if outcome in ("new", "corrected"):
                entering[day, file] += total
        return dict(entering)

    def entering_on(self, incoming: Incoming, day: date) -> str | WholeDay:
        """The rows that enter the lake on a day: SQL that selects them, or all that was delivered.

        So many rows that they are sorted on disk are selected in any case.
        """
        of_day = f"WHERE {DAY} = DATE '{day}'"
        settled = f"""SELECT * EXCLUDE (first, place, outcome), {incoming.constants}
            FROM settled {of_day} AND {ENTERS}"""
        if all(of != day for of, _ in self.fresh):
            return settled
        contested = any(of == day for of, *_ in self.settled)
        if day not in self.compared and not contested and incoming.days[day] <= SORT_ON_DISK:
            return incoming.whole(day)
        fresh = f"FROM differing {of_day}" if day in self.compared else incoming.select([day])
        if not contested:
            return fresh
        return f"""SELECT * FROM ({fresh})
            ANTI JOIN (FROM settled {of_day}) USING (idempotency_key)
            UNION ALL BY NAME {settled}"""


def settle(
    connection: duckdb.DuckDBPyConnection, table: EventTable, incoming: Incoming
) -> Settlement:
    """Decide what becomes of each row of a delivery.

    Args:
        connection: Where the tables are made.
        table: The lake's events.
        incoming: The delivery.
    """
    decimals, by_file = table.meter.decimals, (DAY, "source_file")
    compared, met = _compare(connection, table, incoming)
    others = incoming.select([day for day in incoming.days if day not in compared])
    connection.execute(f"CREATE TEMP VIEW unsettled AS {others} UNION ALL FROM differing")

    def on(day: date) -> str:
        of_day = f"FROM differing WHERE {DAY} = DATE '{day}'"
        return of_day if day in compared else incoming.select([day])

    number_texts(connection, "delivered_file", {file for _, file in incoming.totals})
    connection.execute("""
        CREATE TEMP VIEW delivered AS SELECT * EXCLUDE (source, import_batch)
        REPLACE (source_file::delivered_file AS source_file) FROM unsettled""")
    unsettled = {key: total for key, total in incoming.totals.items() if key[0] not in compared}
    unsettled |= totals_by(connection, "FROM differing", by_file, decimals)
    rows_of: dict[date, int] = defaultdict(int)
    for (day, _), total in unsettled.items():
        rows_of[day] += total.rows
    find_existing(connection, table, {day: (on(day), rows) for day, rows in rows_of.items()})
    repeated = _find_repeated(connection, sum(rows_of.values()))
    found = _batches(connection, "FROM existing")
    if repeated or found or incoming.source.snapshot is not None:
        _decide(connection, table.meter, incoming, found)
        settled = totals_by(connection, "FROM settled", (*by_file, "outcome"), decimals)
    else:
        _decide_nothing(connection)
        settled = {}
    # Counted, not what is left when the others are taken away: else no lost outcome would show.
    fresh = """FROM unsettled ANTI JOIN existing USING (idempotency_key)
        ANTI JOIN repeated USING (idempotency_key)"""
    present: dict[str, Total] = defaultdict(Total)
    for (day, file), total in incoming.totals.items():
        present[file] += total - unsettled.get((day, file), Total())
    return Settlement(
        dict(present),
        totals_by(connection, fresh, by_file, decimals) if settled else unsettled,
        settled,
        met | found,
        compared,
    )


def _compare(
    connection: duckdb.DuckDBPyConnection, table: EventTable, incoming: Incoming
) -> tuple[set[date], set[str]]:
    """Put into `differing` the rows of a delivery that their day of the lake does not hold.

    Only of days that are delivered for the greater part; of others it is cheaper to look for the
    keys alone. With them go the rows whose key the delivery has more than once, so that a replay
    finds again which of its rows are repeated.

    Returns:
        The days that were compared, and the import batches whose rows were found.
    """
    held = by_day(table.files())
    connection.execute(f"CREATE TEMP TABLE differing AS {incoming.select([])}")
    compared_columns = payload_columns(table.meter)
    if not incoming.source.across_subjects:
        compared_columns.remove("subject")  # the key says it already
    same = _same(compared_columns, "held", "delivered")
    if incoming.source.snapshot is None:  # else what says the same stays as it is
        same += f" AND NOT {_HIGHER}"
    compared, met = set(), set()
    for day, rows in incoming.days.items():
        files = held.get(day, [])
        standing = sum(file.rows or 0 for file in files)
        if not files or 2 * rows < standing or rows < _FEW:
            continue
        compared.add(day)
        delivered, there = incoming.select([day]), table.select(files=files)
        # Keys alone: DuckDB might hold the whole width of the delivery in memory otherwise.
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE differing_keys AS
            SELECT delivered.idempotency_key FROM ({delivered}) AS delivered
            FULL JOIN ({there}) AS held
            ON held.idempotency_key = delivered.idempotency_key AND {same}
            WHERE delivered.idempotency_key IS NULL OR held.idempotency_key IS NULL""")
        [[alone, unmet]] = connection.execute("""
            SELECT count(idempotency_key), count(*) - count(idempotency_key)
            FROM differing_keys""").fetchall()
        if rows - alone > standing - unmet:  # more rows were found than there are keys for them
            connection.execute(f"""
                INSERT INTO differing_keys SELECT idempotency_key FROM ({delivered})
                SEMI JOIN (SELECT hash(idempotency_key) AS h FROM ({delivered})
                    GROUP BY h HAVING count(*) > 1) ON h = hash(idempotency_key)""")
        [[differing]] = connection.execute(f"""
            INSERT INTO differing FROM ({delivered})
            SEMI JOIN differing_keys USING (idempotency_key)""").fetchall()
        batches = _batches(connection, there) if differing < rows else set()
        if len(batches) > 1:
            found = f"FROM ({there}) SEMI JOIN ({delivered}) USING (idempotency_key)"
            batches = _batches(connection, found)
        met |= batches
    return compared, met


_HIGHER = f"""(coalesce(delivered.revision, {_LOWEST_REVISION})
    > coalesce(held.revision, {_LOWEST_REVISION}))"""


def _batches(connection: duckdb.DuckDBPyConnection, events: str) -> set[str]:
    rows = connection.execute(f"SELECT DISTINCT import_batch FROM ({events})").fetchall()
    return {batch for (batch,) in rows}


def _find_repeated(connection: duckdb.DuckDBPyConnection, rows: int) -> bool:
    """Put into `repeated` the unsettled keys that the delivery has more than once, if any.

    Nearly all deliveries have none, which is seen soonest where equal hashes are sorted side by
    side: a third of what it costs to group them.
    """
    connection.execute("""
        CREATE TEMP TABLE hashes AS SELECT hash(idempotency_key) AS h FROM unsettled""")
    connection.execute("CREATE TEMP TABLE suspects (h UBIGINT)")
    connection.execute("CREATE TEMP TABLE repeated (idempotency_key VARCHAR)")
    suspected = False
    pieces = -(-rows // _HASHES_AT_ONCE)
    for piece in range(pieces):
        of_piece = f"SELECT h FROM hashes WHERE h % {pieces} = {piece}"
        hashes = connection.sql(of_piece).pl()["h"].sort()
        if not (twice := hashes.filter(hashes == hashes.shift())).is_empty():
            connection.register("twice", twice.unique().to_frame().to_arrow())
            connection.execute("INSERT INTO suspects FROM twice")
            suspected = True
    connection.execute("DROP TABLE hashes")
    if not suspected:
        return False
    [[keys]] = connection.execute("""
        INSERT INTO repeated SELECT idempotency_key
        FROM unsettled SEMI JOIN suspects ON h = hash(idempotency_key)
        GROUP BY idempotency_key HAVING count(*) > 1""").fetchall()
    return bool(keys)


def _decide_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what `_decide` makes and others ask for, empty: no key is contested."""
    connection.execute(f"""
        CREATE TEMP VIEW replaced AS
        SELECT idempotency_key, {DAY}, source_file, quantity, lake_file, lake_row FROM existing""")
    for name in ("refused", "counted"):
        connection.execute(f"CREATE TEMP VIEW {name} AS FROM existing")


def _decide(
    connection: duckdb.DuckDBPyConnection, meter: Meter, incoming: Incoming, found: set[str]
) -> None:
    """Decide which payload each contested key keeps, and what becomes of each of its rows.

    Args:
        connection: Has `existing`, `delivered` and `repeated`.
        meter: The meter.
        incoming: The delivery.
        found: The import batches of `existing`.
    """
    outcome = f"""CASE
            WHEN held.idempotency_key IS NULL THEN 'new'
            WHEN {_replaces(meter, incoming)} THEN 'corrected'
            WHEN {_says_the_same(meter, "held")} THEN 'present'
            ELSE 'conflicting'
        END"""
    place = f"""{{'{DAY}': held.{DAY}, 'source_file': held.source_file, 'quantity': held.quantity,
            'lake_file': held.lake_file, 'lake_row': held.lake_row}}"""
    [[rows]] = connection.execute("SELECT count(*) FROM existing").fetchall()
    allow_rows(connection, rows)
    connection.execute("""
        CREATE TEMP TABLE copies AS
        SELECT *, row_number() OVER (
            PARTITION BY idempotency_key
            ORDER BY revision DESC NULLS LAST, source_file, source_line
        ) AS copy
        FROM delivered SEMI JOIN repeated USING (idempotency_key)""")
    connection.execute(f"""
        CREATE TEMP TABLE settled AS
        SELECT delivered.*, true AS first, {place} AS place, {outcome} AS outcome
        FROM (FROM delivered ANTI JOIN repeated USING (idempotency_key)) AS delivered
        JOIN existing AS held USING (idempotency_key)""")
    # Of the large tables only what belongs to few keys is joined from here on.
    connection.execute(f"""
        INSERT INTO settled
        SELECT delivered.* EXCLUDE (copy), true, {place}, {outcome}
        FROM (FROM copies WHERE copy = 1) AS delivered
        LEFT JOIN (FROM existing SEMI JOIN repeated USING (idempotency_key)) AS held
        USING (idempotency_key)""")
    connection.execute(f"""
        INSERT INTO settled
        SELECT delivered.* EXCLUDE (copy), false, NULL,
            CASE WHEN {_says_the_same(meter, "kept")} THEN 'present' ELSE 'conflicting' END
        FROM (FROM copies WHERE copy > 1) AS delivered
        JOIN ({_kept(meter, incoming, "repeated")}) AS kept USING (idempotency_key)""")
    connection.execute(f"""
        CREATE TEMP VIEW refused AS
        SELECT * REPLACE (source_file::VARCHAR AS source_file), {incoming.constants}
        FROM settled WHERE outcome = 'conflicting'""")
    # An event counts by the first of its rows that is no conflict, unless another partition brought
    # it. (The same partition delivered again repeats nothing; its earlier batch is only older.)
    others = [literal(b) for b in found if _partition(b) != _partition(incoming.batch)]
    others = [] if incoming.source.snapshot is not None else others  # all of it is told again
    elsewhere = f"""(SELECT idempotency_key FROM existing
        WHERE {f"import_batch::VARCHAR IN ({', '.join(others)})" if others else "false"})"""
    connection.execute(f"""
        CREATE TEMP TABLE counted AS
        SELECT * REPLACE (source_file::VARCHAR AS source_file), {incoming.constants}
        FROM settled SEMI JOIN (FROM repeated UNION ALL FROM {elsewhere}) USING (idempotency_key)
        WHERE outcome <> 'conflicting'
        QUALIFY outcome = 'present' AND (idempotency_key IN {elsewhere} OR row_number() OVER (
            PARTITION BY idempotency_key
            ORDER BY first DESC, revision DESC NULLS LAST, source_file, source_line) > 1)""")
    told = "(SELECT idempotency_key FROM refused UNION ALL SELECT idempotency_key FROM counted)"
    connection.execute(f"CREATE TEMP TABLE kept AS {_kept(meter, incoming, told)}")
    connection.execute("""
        CREATE TEMP VIEW replaced AS
        SELECT idempotency_key, unnest(place) FROM settled WHERE outcome = 'corrected'""")


def _replaces(meter: Meter, incoming: Incoming) -> str:
    """SQL: whether a delivered row takes the place of what the lake holds under its key."""
    if incoming.source.snapshot is not None:  # what is stale was left out before
        return f"NOT {_same(payload_columns(meter), 'delivered', 'held')}"
    return _HIGHER if incoming.source.corrections is not None else "false"


def _partition(batch: str) -> str:
    """Source and partition of an import batch."""
    return batch.rpartition("/")[0]


def _kept(meter: Meter, incoming: Incoming, keys: str) -> str:
    """SQL: what the keys of a table keep: the payload that enters, else what the lake holds."""
    columns = ", ".join(
        f'CASE WHEN {ENTERS} THEN first."{name}" ELSE held."{name}" END AS "{name}"'
        for name in (*payload_columns(meter), "revision", "source_line")
    )
    texts = ", ".join(
        f"CASE WHEN {ENTERS} THEN first.{name}::VARCHAR ELSE held.{name}::VARCHAR END AS {name}"
        for name in ("source_file", "import_batch")
    )
    return f"""
        SELECT first.idempotency_key, {columns}, {texts}
        FROM (SELECT *, {incoming.constants} FROM settled
            SEMI JOIN {keys} USING (idempotency_key) WHERE first) AS first
        LEFT JOIN (FROM existing SEMI JOIN {keys} USING (idempotency_key)) AS held
        USING (idempotency_key)"""


def _says_the_same(meter: Meter, other: str) -> str:
    """SQL: whether a delivered row brings nothing beyond another: the same, or something older."""
    older = f"coalesce(delivered.revision < {other}.revision, false)"
    return f"({_same(payload_columns(meter), 'delivered', other)} OR {older})"


def _same(columns: Sequence[str], left: str, right: str) -> str:
    """SQL: whether two rows agree in some columns."""
    equal = (f'{left}."{name}" IS NOT DISTINCT FROM {right}."{name}"' for name in columns)
    return f"({' AND '.join(equal)})"
