"""Snapshots: a delivery replaces what earlier ones stated of the same scopes.

The story. The scopes that a delivery mentions are looked up among those that imports stated before
(`scopes`): where a later one stated a scope already, its rows are stale and stay out. What the lake
holds of the other scopes (`stands`) is weighed against what the delivery says of them (`said`), and
one that shrinks too much is refused. Then the merge settles the rows as always, and what it does
not mention is `removed`. For each scope, what stood, but for what left, and what entered, must be
what the delivery says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import duckdb

from spanner_pipeline.configuration.identity import PARTITION, PARTITIONS, Snapshot
from spanner_pipeline.configuration.source import Usage
from spanner_pipeline.control import EXACT, Replacement, Total
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline.errors import SnapshotRefusedError, SourceFileError
from spanner_pipeline.keys import PARTS_OF_KEY, read_scope, scope_of_key
from spanner_pipeline.lake.ledger import Ledger, configuration_digest
from spanner_pipeline.lake.scopes import ScopeResult, load_last, standing_statements
from spanner_pipeline.lake.sums import literal, sum_as_text, totals_by
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.lake.writing import DAY
from spanner_pipeline.root import DataRoot
from spanner_pipeline.sources.files import place_of
from spanner_pipeline.staging import ACCEPTED, SCOPES, Staged

LEAVING = "CREATE TEMP VIEW leaving AS FROM replaced UNION ALL BY NAME FROM removed"
"""What leaves the lake with a snapshot: what it changed, and what it does not have any more."""

_SHOWN = 10
_FETCHED = 10_000


@dataclass(frozen=True)
class Statement:
    """A delivery, as far as it counts.

    Attributes:
        parts: Parquet parts with the rows that count.
        stale: Rows and quantity of scopes that a later delivery stated already, by file.
        builds_on: The import batches that stated its scopes before, or whose rows stand there.
        seen: What the ledger had; another import may not have come since.
    """

    parts: list[Path]
    stale: dict[str, Total]
    builds_on: set[str]
    seen: frozenset[tuple[str, int]]


def state(
    connection: duckdb.DuckDBPyConnection, table: EventTable, staged: Staged, ledger: Ledger
) -> Statement:
    """Find which scopes a delivery may state, and what the lake holds of them.

    Makes `scopes` (`scope`, `revision`, `stale`), `stands` (the lake's rows of the scopes that are
    not stale, with their places) and `said` (what the delivery holds of these, each key once).

    Raises:
        SnapshotRefusedError: When nothing says which of two deliveries of a scope is later, it
            shrinks more than is declared, or earlier imports had another identity or scope.
        SourceFileError: When one file has two revisions of a scope.
    """
    seen = ledger.seen(staged.source.source, table.meter.name)
    _refuse_other_identity(connection, ledger, table, staged)
    load_last(connection, table, standing_statements(ledger, table))
    _find_scopes(connection, staged)
    _refuse_overlap(connection, staged)
    parts, stale = _without_stale(connection, staged)
    where = f"source = {literal(staged.source.source)} AND {_of_usage(staged)}"
    connection.execute(f"""
        CREATE TEMP TABLE stands AS
        SELECT idempotency_key, scope, {DAY}, source_file, quantity, lake_file, lake_row,
            import_batch
        FROM (SELECT *, {_scope(staged)} AS scope FROM ({table.select(where, named=True)}))
        SEMI JOIN (FROM scopes WHERE NOT stale) USING (scope)""")
    listing = ", ".join(map(literal, parts))
    read = f"""SELECT idempotency_key, {_scope(staged)} AS scope, quantity
        FROM read_parquet([{listing}], hive_partitioning = false)"""
    if _snapshot(staged).row:  # else no key is there twice
        read += """ QUALIFY row_number() OVER (PARTITION BY idempotency_key
            ORDER BY revision DESC NULLS LAST, source_file, source_line) = 1"""
    connection.execute(f"CREATE TEMP VIEW said AS {read if parts else 'FROM stands WHERE false'}")
    met = connection.execute("""
        SELECT DISTINCT import_batch FROM stands
        UNION SELECT DISTINCT previous FROM scopes WHERE previous IS NOT NULL""").fetchall()
    _refuse_shrinking(connection, table, staged)
    return Statement(parts, stale, {batch for (batch,) in met} - {staged.batch}, seen)


def refuse_unfit(root: DataRoot, staged: Staged) -> None:
    """Refuse a delivery as its merge would, before another usage of its rows is merged.

    Raises:
        SnapshotRefusedError: As `state`.
        SourceFileError: As `state`.
    """
    with open_duckdb(staged.folder / "spill") as connection:
        state(connection, EventTable(root, staged.meter), staged, Ledger(root))


def _snapshot(staged: Staged) -> Snapshot:
    assert staged.source.snapshot is not None
    return staged.source.snapshot


def _scope(staged: Staged) -> str:
    return scope_of_key(str(_snapshot(staged).depth))


def _of_usage(staged: Staged, usage: Usage | None = None) -> str:
    """SQL: whether a key is of this usage, or of another one that feeds the same meter."""
    snapshot, part = _snapshot(staged), (usage or staged.usage).part
    length = snapshot.depth + (len(snapshot.row) or 2) + (part is not None)
    told = "" if part is None else f" AND {PARTS_OF_KEY}[-1] = {literal(quote(part, safe=''))}"
    return f"len({PARTS_OF_KEY}) = {length}{told}"


def _find_scopes(connection: duckdb.DuckDBPyConnection, staged: Staged) -> None:
    listing = ", ".join(map(literal, staged.parts(SCOPES)))
    nothing = "SELECT '' AS scope, 0::BIGINT AS revision, '' AS source_file, 0 AS source_line"
    read = f"FROM read_parquet([{listing}], hive_partitioning = false)"
    connection.execute(f"""
        CREATE TEMP TABLE mentioned AS
        {read if listing else f"{nothing} WHERE false"}""")
    _mention_empty(connection, staged)
    ordered = staged.source.corrections is not None
    if ordered:  # a row without a revision is rejected, and says nothing
        connection.execute("DELETE FROM mentioned WHERE revision IS NULL")
    [mixed] = connection.execute("""
        SELECT min((source_file, source_line, scope)) FROM (
            SELECT source_file, max(source_line) AS source_line, scope FROM mentioned
            GROUP BY source_file, scope HAVING min(revision) < max(revision))""").fetchall()
    if mixed[0] is not None:
        file, line, scope = mixed[0]
        raise SourceFileError(
            file,
            f"has two revisions of {_spelled(staged, scope)}, and a snapshot is of one.",
            "declare a revision that is the same in all rows of a delivery, such as its time or a "
            "part of `source_file`; or `corrections: {order: …}`.",
            line=line,
        )
    depth = _snapshot(staged).depth
    [others] = connection.execute(f"""
        SELECT min(import_batch) FROM stated
        WHERE source = {literal(staged.source.source)} AND usage = {literal(staged.usage.name)}
        AND len(string_split(scope, '|')) <> {depth}""").fetchall()
    if others[0] is not None:
        raise SnapshotRefusedError(
            f"{others[0]} stated other scopes than {staged.source.source} declares now, and its "
            "rows would count once more. Nothing was merged. Remedy: revert the imports of this "
            "source first (`spanner-pipeline revert`, the newest first), or keep its `scope`."
        )
    lowest = "coalesce(stated.revision, (-9223372036854775808)::BIGINT)"
    elsewhere = f'stated."partition" <> {literal(staged.partition)}'
    connection.execute(f"""
        CREATE TEMP TABLE scopes AS
        SELECT scope, mentioned.revision, stated.import_batch AS previous,
            {ordered} AND coalesce(mentioned.revision < stated.revision, false) AS stale,
            coalesce({elsewhere} AND ({not ordered} OR mentioned.revision = {lowest}), false)
                AS contested
        FROM (SELECT scope, max(revision) AS revision FROM mentioned GROUP BY scope) AS mentioned
        LEFT JOIN (FROM stated WHERE source = {literal(staged.source.source)}
            AND usage = {literal(staged.usage.name)}) AS stated USING (scope)""")


def _mention_empty(connection: duckdb.DuckDBPyConnection, staged: Staged) -> None:
    """Let a delivery without rows state that its partition has none."""
    [[rows]] = connection.execute("SELECT count(*) FROM mentioned").fetchall()
    if rows or _snapshot(staged).scope != PARTITION:
        return
    revision, corrections = None, staged.source.corrections
    if corrections is not None:
        if corrections.order != PARTITIONS:
            raise SnapshotRefusedError(
                f"{staged.batch} has no rows, and so no revision: nothing says whether it is later "
                "than what the lake holds. Nothing was merged. Remedy: declare `corrections: "
                "{order: partitions}`, or revert what it should replace."
            )
        revision = place_of(staged.partition)
    connection.execute(
        "INSERT INTO mentioned VALUES ($1, $2, '', 0)", [quote(staged.partition, safe=""), revision]
    )


def _refuse_other_identity(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, table: EventTable, staged: Staged
) -> None:
    """Refuse to count once more what was imported under other keys."""
    source, usage = staged.source, staged.usage
    standing = [
        record
        for record in ledger.standing(source.source)
        if record.usage == usage.name
        and record.table == table.identity
        and record.version_after != record.version_before
    ]
    others = [record.batch for record in standing if record.scopes is None]
    mapped_by = configuration_digest(source, usage, staged.meter, staged.customers)
    changed = [record.batch for record in standing if record.configuration != mapped_by]
    if changed and not others:
        ours = [_of_usage(staged, other) for other in source.usage if other.meter == usage.meter]
        batches = ", ".join(map(literal, changed))
        where = f"source = {literal(source.source)} AND import_batch IN ({batches})"
        found = connection.execute(f"""
            SELECT DISTINCT import_batch FROM ({table.select(where)})
            WHERE NOT ({" OR ".join(f"({one})" for one in ours)})""").fetchall()
        others = sorted(batch for (batch,) in found)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise SnapshotRefusedError(
            f"the lake holds rows of {usage.name} that were imported under another identity "
            f"({others[0]}{more}) than {source.source} declares now; they would count once "
            "more. Nothing was merged. Remedy: revert these imports first (`spanner-pipeline "
            "revert`), or keep the identity."
        )


def _refuse_overlap(connection: duckdb.DuckDBPyConnection, staged: Staged) -> None:
    found = connection.execute(f"""
        SELECT scope, previous, count(*) OVER () FROM scopes WHERE contested
        ORDER BY scope LIMIT {_SHOWN}""").fetchall()
    if not found:
        return
    listing = "\n".join(f"  {_spelled(staged, scope)}: {batch}" for scope, batch, _ in found)
    number = found[0][2]
    noun = "scope" if number == 1 else "scopes"
    raise SnapshotRefusedError(
        f"{staged.batch} states {number} {noun} of {staged.usage.name} that another partition "
        f"stated, and nothing says which of the two is later:\n{listing}\nNothing was merged. "
        "Remedy: declare `corrections: {order: partitions}` or a revision; or, where both are to "
        "count, add to `scope` what tells them apart."
    )


def _without_stale(
    connection: duckdb.DuckDBPyConnection, staged: Staged
) -> tuple[list[Path], dict[str, Total]]:
    """The parts with rows that count, written anew where some do not; and what does not."""
    parts = staged.parts(ACCEPTED)
    if not parts or staged.source.corrections is None:
        return parts, {}
    listing = ", ".join(map(literal, parts))
    stale = f"""(SELECT * EXCLUDE (scope, stale, newest) FROM (
        SELECT *, {_scope(staged)} AS scope
        FROM read_parquet([{listing}], hive_partitioning = false))
        JOIN (SELECT scope, stale, revision AS newest FROM scopes) USING (scope)
        WHERE {{}} (stale OR revision < newest))"""
    by_file = totals_by(
        connection, f"FROM {stale.format('')}", ("source_file",), staged.meter.decimals
    )
    if not by_file:
        return parts, {}
    file = staged.folder / "stated.parquet"
    connection.execute(f"COPY {stale.format('NOT')} TO {literal(file)} (FORMAT parquet)")
    return [file], {name: total for (name,), total in by_file.items()}


def _refuse_shrinking(
    connection: duckdb.DuckDBPyConnection, table: EventTable, staged: Staged
) -> None:
    """Refuse a delivery that leaves less of a scope than the source allows."""
    decimals = table.meter.decimals
    for name, events in (("held", "stands"), ("says", "said")):
        sum_as_text(connection, f"{name}_of_scope", events, "scope", decimals)
    compared = connection.execute("""
        SELECT scope, held.rows, held.quantity, coalesce(says.rows, 0),
            coalesce(says.quantity, '0')
        FROM held_of_scope AS held LEFT JOIN says_of_scope AS says USING (scope)
        ORDER BY scope""")
    share = _snapshot(staged).shrink
    number, shown = 0, []
    while found := compared.fetchmany(_FETCHED):
        for scope, *numbers in found:
            before, after = (Total(r, Decimal(q)) for r, q in (numbers[:2], numbers[2:]))
            if _shrinks(before, after, share):
                number += 1
                if number <= _SHOWN:
                    shown.append(
                        f"  {_spelled(staged, scope)}: {before.rows} rows with {before.quantity:f} "
                        f"before, {after.rows} rows with {after.quantity:f} now"
                    )
    if number:
        noun = "scope" if number == 1 else "scopes"
        shown += [f"  and {number - _SHOWN} more"] if number > _SHOWN else []
        raise SnapshotRefusedError(
            f"{staged.batch} would shrink {number} {noun} of {staged.usage.name} by more than "
            f"{(share * 100).normalize():f}%:\n" + "\n".join(shown) + "\nNothing was merged. "
            "Remedy: is the delivery whole? Fetch it again. If it is right, raise "
            f"`identity.snapshot.shrink` in the source {staged.source.source} (100% allows all), "
            "import, and put it back."
        )


def _shrinks(before: Total, after: Total, share: Decimal) -> bool:
    """Whether rows or quantity shrink by more than a share; less of a credit shrinks, too."""
    kept = 1 - share
    least = EXACT.multiply(before.quantity, kept)
    if before.quantity > 0 and after.quantity < least:
        return True
    if before.quantity < 0 and after.quantity > least:
        return True
    return after.rows < before.rows * kept


def _spelled(staged: Staged, scope: str) -> str:
    snapshot = _snapshot(staged)
    if snapshot.scope == PARTITION:
        return f"partition {read_scope(scope)[0]}"
    names = (part.column or "+".join(part.columns) or "constant" for part in snapshot.scope)
    return ", ".join(f"{n} {v}" for n, v in zip(names, read_scope(scope), strict=True))


def find_removed(connection: duckdb.DuckDBPyConnection) -> int:
    """Make `removed`, what the delivery does not have any more; gives its rows."""
    connection.execute(f"""
        CREATE TEMP TABLE removed AS
        SELECT idempotency_key, {DAY}, source_file, quantity, lake_file, lake_row FROM stands
        ANTI JOIN said USING (idempotency_key)""")
    [[rows]] = connection.execute("SELECT count(*) FROM removed").fetchall()
    return int(rows)


def results(
    connection: duckdb.DuckDBPyConnection, table: EventTable, staged: Staged
) -> Iterator[ScopeResult]:
    """What was settled of each scope, checked (law 1).

    Raises:
        ConservationError: When a scope would not hold what the delivery says.
    """
    scope, decimals = _scope(staged), table.meter.decimals
    fresh = """FROM unsettled ANTI JOIN existing USING (idempotency_key)
        ANTI JOIN repeated USING (idempotency_key)"""
    changes = {
        "added": f"""SELECT {scope} AS scope, quantity FROM (
            SELECT idempotency_key, quantity FROM ({fresh}) UNION ALL
            SELECT idempotency_key, quantity FROM settled WHERE outcome = 'new')""",
        "changed": f"""SELECT {scope} AS scope, quantity FROM settled
            WHERE outcome = 'corrected'""",
        "replaced": f"SELECT {scope} AS scope, quantity FROM replaced",
        "removed": f"SELECT {scope} AS scope, quantity FROM removed",
    }
    for name, events in changes.items():
        sum_as_text(connection, f"{name}_of_scope", f"({events})", "scope", decimals)
    kinds = ("held", *changes, "says")
    columns = ", ".join(f"{k}.rows, {k}.quantity" for k in kinds)
    joins = " ".join(f"LEFT JOIN {k}_of_scope AS {k} USING (scope)" for k in kinds)
    rows = connection.execute(
        f"SELECT scope, scopes.revision, stale, {columns} FROM scopes {joins} ORDER BY scope"
    )
    while found := rows.fetchmany(_FETCHED):
        for name, revision, stale, *numbers in found:
            totals = (
                Total(rows or 0, Decimal(quantity or 0))
                for rows, quantity in zip(numbers[::2], numbers[1::2], strict=True)
            )
            done = Replacement(1, int(stale), *totals)
            done.check(f"{staged.batch} into {staged.usage.name}, {_spelled(staged, name)}")
            yield ScopeResult(name, revision, done)
