"""What the lake holds under the keys of a delivery, on any day.

A key is looked for in all files of the meter, so that an event that moved is found. Where a
delivery is large, its days are searched one by one first: most of it is there, the rest is small.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

import duckdb

from spanner_pipeline.lake.sums import literal
from spanner_pipeline.lake.table import EventTable, LakeFile, by_day

_MANY = 2_000_000
"""Rows of which DuckDB could not hold the keys; it would write the whole lake to disk instead."""

_FEW = 4


def find_existing(
    connection: duckdb.DuckDBPyConnection,
    table: EventTable,
    unsettled: Mapping[date, tuple[str, int]],
) -> None:
    """Make `existing`: the events that the lake holds under the unsettled keys, and their places.

    Args:
        connection: Has all that is unsettled as `unsettled`.
        table: The lake's events.
        unsettled: SQL that selects what is unsettled of each day, and its number of rows.
    """
    hit = _files_with_keys(connection, table, "unsettled", unsettled) if unsettled else []
    events = table.select(files=hit, named=True)
    origins = connection.execute(f"SELECT DISTINCT source_file, import_batch FROM ({events})")
    files, batches = zip(*origins.fetchall(), strict=True) if hit else ((), ())
    # As numbers in a list: these texts would take more memory than the events.
    number_texts(connection, "lake_file", (file.location for file in hit))
    number_texts(connection, "held_source_file", files)
    number_texts(connection, "held_import_batch", batches)
    connection.execute(f"CREATE TEMP TABLE existing AS {_held(table, [])}")
    if not hit:
        return
    if sum(rows for _, rows in unsettled.values()) <= _MANY:
        connection.execute(f"""
            INSERT INTO existing {_held(table, hit)}
            SEMI JOIN unsettled USING (idempotency_key)""")
        return
    _search_days(connection, table, hit, unsettled)
    others = _files_with_keys(connection, table, "missing", unsettled)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE found AS
        {_held(table, others)} SEMI JOIN missing USING (idempotency_key)""")
    # A key that is delivered on two days is missing on one of them, and known from the other.
    connection.execute("""
        INSERT INTO existing FROM found ANTI JOIN (
            FROM existing SEMI JOIN found USING (idempotency_key)) USING (idempotency_key)""")


def _search_days(
    connection: duckdb.DuckDBPyConnection,
    table: EventTable,
    hit: Sequence[LakeFile],
    unsettled: Mapping[date, tuple[str, int]],
) -> None:
    """Find what stands on the day where it is delivered; put the other keys into `missing`."""
    files = by_day(hit)
    connection.execute("CREATE TEMP TABLE missing (idempotency_key VARCHAR)")
    for day, (delivered, _) in unsettled.items():
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE found AS {_held(table, files.get(day, []))}
            SEMI JOIN ({delivered}) USING (idempotency_key)""")
        connection.execute("INSERT INTO existing FROM found")
        connection.execute(f"""
            INSERT INTO missing SELECT idempotency_key FROM ({delivered})
            ANTI JOIN found USING (idempotency_key)""")


def _held(table: EventTable, files: Sequence[LakeFile]) -> str:
    return f"""SELECT * EXCLUDE (source) REPLACE (
            lake_file::lake_file AS lake_file, source_file::held_source_file AS source_file,
            import_batch::held_import_batch AS import_batch)
        FROM ({table.select(files=files, named=True)})"""


def _files_with_keys(
    connection: duckdb.DuckDBPyConnection,
    table: EventTable,
    keys: str,
    days: Collection[date],
) -> list[LakeFile]:
    """The files that may hold keys of a table.

    DuckDB's `hash` is small and quick and may collide: it tells which files to read, no more. So
    many are asked for at once as it can hold. Where the lake has days of these keys and all of a
    few files have some, all are read without being asked.
    """
    files = table.files()
    if not files:
        return files
    [[number]] = connection.execute(f"SELECT count(*) FROM {keys}").fetchall()
    parts = number // (_MANY + 1) + 1

    def among(files: list[LakeFile]) -> list[LakeFile]:
        names: set[str] = set()
        for part in range(parts):
            others = [file for file in files if str(file.location) not in names]
            if not others:
                break
            of_part = f"WHERE h % {parts} = {part}"
            hits = connection.execute(f"""
                SELECT DISTINCT lake_file FROM (SELECT lake_file, hash(idempotency_key) AS h
                    FROM ({table.select(files=others, named=True)})) AS held
                SEMI JOIN (SELECT h FROM (SELECT hash(idempotency_key) AS h FROM {keys}) {of_part})
                USING (h) {of_part}""").fetchall()
            names |= {name for (name,) in hits}
        return [file for file in files if str(file.location) in names]

    if all(file.day not in days for file in files):
        return among(files)
    few = files[:: len(files) // _FEW + 1]
    found = among(few)
    if len(found) == len(few):
        return files
    return found + among([file for file in files if file not in few])


def number_texts(connection: duckdb.DuckDBPyConnection, name: str, texts: Iterable[object]) -> None:
    """Make a type that keeps some texts as numbers; they sort as before."""
    listing = ", ".join(literal(text) for text in sorted({str(text) for text in texts})) or "''"
    connection.execute(f"CREATE TEMP TYPE {name} AS ENUM ({listing})")
