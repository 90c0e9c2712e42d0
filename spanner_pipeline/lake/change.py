"""One change of a meter's table: files written, read back, and committed at once.

Imports, reverts and compaction all change a table here: rows leave, rows enter, the files that held
the leaving rows are written anew. Law 1 is checked against what really stands in the new files.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

import duckdb
import polars as pl
from deltalake.exceptions import CommitFailedError

from spanner_pipeline.control import Total
from spanner_pipeline.engine import make_room
from spanner_pipeline.errors import ConservationError, LakeBusyError
from spanner_pipeline.lake.incoming import WholeDay
from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline.lake.replaced import Replaced
from spanner_pipeline.lake.sums import literal, totals_by
from spanner_pipeline.lake.table import EventTable, LakeFile
from spanner_pipeline.lake.writing import (
    DAY,
    WrittenFile,
    take_over,
    write_day,
    write_frames,
    write_without,
)
from spanner_pipeline.meters import Meter
from spanner_pipeline.root import DataRoot

ATTEMPTS = 50

Done = TypeVar("Done")
Totals = Mapping[tuple[date, str], Total]
"""Rows and quantity by day and source file."""


def until_committed(root: DataRoot, meter: Meter, attempt: Callable[[EventTable], Done]) -> Done:
    """Try a change until no other process commits meanwhile.

    Args:
        root: The data root.
        meter: The meter.
        attempt: Makes the change in the table that it is given, as it is now.

    Raises:
        LakeBusyError: When other processes won every commit.
    """
    for number in range(ATTEMPTS):
        try:
            table = EventTable(root, meter)
            Ledger(root).catch_up(table)
            return attempt(table)
        except CommitFailedError:
            time.sleep(random.uniform(0.01, 0.05) * (number + 1))  # noqa: S311
    raise LakeBusyError(
        f"other processes won {ATTEMPTS} commits into meter {meter.name} in a row. "
        "Nothing was lost; run this again."
    )


@dataclass
class Change:
    """What is about to be committed.

    Attributes:
        table: The table, as it was opened.
        version: The version that the commit makes.
        removed: Files that leave.
        added: Files that enter.
        replaced: The file that keeps what leaves.
        beside: Files for the commit outside of the table.
    """

    table: EventTable
    version: int
    removed: list[LakeFile]
    added: list[WrittenFile] = field(default_factory=list)
    replaced: str | None = None
    beside: list[Path] = field(default_factory=list)

    def commit(self, said: Mapping[str, str], *, changed: bool = True) -> None:
        """Commit, or leave no file behind.

        Args:
            said: What the commit says about itself.
            changed: Whether the events differ; false when they are only arranged anew.

        Raises:
            deltalake.exceptions.CommitFailedError: When another process committed meanwhile.
        """
        self.table.commit(self.added, self.removed, said, changed=changed)


@contextmanager
def changing(
    connection: duckdb.DuckDBPyConnection,
    table: EventTable,
    entering: Callable[[date], str | WholeDay],
    totals: Totals,
    leaving: str,
    merged: Sequence[LakeFile] = (),
    keep: bool = False,
) -> Iterator[Change]:
    """Write the files of a change, and check them. They are deleted unless it is committed.

    Args:
        connection: Where the rows can be selected.
        table: The table, as it was opened.
        entering: The rows that enter on a day: SQL that selects them, or all that is delivered of
            it, where no files are merged.
        totals: What enters, by day and source file.
        leaving: The name of a table with the events that leave and their place in the lake
            (`lake_file`, `lake_row`).
        merged: Files whose events are sorted and written anew, to make few files of many.
        keep: Whether the events that leave are kept, to be brought back by a revert.

    Raises:
        ConservationError: When the files do not hold what they should.
        deltalake.exceptions.CommitFailedError: When another process created the table meanwhile.
    """
    left = connection.execute(f"SELECT DISTINCT lake_file FROM {leaving}").fetchall()
    names = {name for (name,) in left}
    shrunk = [file for file in table.files() if str(file.location) in names]
    change = Change(table, table.prepare(), [*shrunk, *merged])
    try:
        expected = _expected(connection, table, totals, leaving, change.removed)
        make_room(connection)
        for day in sorted({*(day for day, _ in totals), *(file.day for file in merged)}):
            rows = sum(total.rows for (of, _), total in totals.items() if of == day)
            found = entering(day) if rows else None
            if isinstance(found, WholeDay):
                change.added += take_over(found.files, table.path, day)
                change.added += write_frames(found.frames, table.path, day)
                continue
            pieces = [f"FROM ({found})"] if found else []
            if files := [file for file in merged if file.day == day]:
                rows += sum(file.rows or 0 for file in files)
                pieces.append(table.select(files=files))
            events = " UNION ALL BY NAME ".join([table.empty(), *pieces])
            change.added += write_day(connection, events, rows, table.path, day)
        with Replaced(table.path, table.schema()) as replaced:
            change.beside.append(replaced.path)
            for file in shrunk:
                rows_leaving = connection.sql(f"""
                    SELECT lake_row FROM {leaving}
                    WHERE {DAY} = DATE '{file.day}' AND lake_file = {literal(file.location)}
                    """).pl()["lake_row"]
                take = replaced.take if keep else _forget
                change.added += write_without(
                    file.location, rows_leaving, table.path, file.day, take
                )
        change.replaced = replaced.name
        _check(connection, table, expected, change.added)
        yield change
    except BaseException:
        _delete_unless_committed(change)
        raise


def _forget(events: pl.DataFrame, day: date) -> None:
    """Keep nothing."""


def _expected(
    connection: duckdb.DuckDBPyConnection,
    table: EventTable,
    entering: Totals,
    leaving: str,
    removed: Sequence[LakeFile],
) -> Totals:
    """What the new files must hold: what enters, and what the old ones held but for what leaves."""
    by, decimals = (DAY, "source_file"), table.meter.decimals
    expected: dict[tuple[date, str], Total] = defaultdict(Total, entering)
    if removed:
        for key, total in totals_by(connection, table.select(files=removed), by, decimals).items():
            expected[key] += total
        for key, total in totals_by(connection, f"FROM {leaving}", by, decimals).items():
            expected[key] -= total
    return {key: total for key, total in expected.items() if total != Total()}


def _check(
    connection: duckdb.DuckDBPyConnection,
    table: EventTable,
    expected: Totals,
    written: Collection[WrittenFile],
) -> None:
    """Read back what was written."""
    found: Totals = {}
    if written:
        listing = ", ".join(literal(file.location) for file in written)
        events = f"""
            SELECT source_file, quantity, {DAY} FROM read_parquet([{listing}],
            hive_partitioning = true, hive_types = {{'{DAY}': DATE}})"""
        found = totals_by(connection, events, (DAY, "source_file"), table.meter.decimals)
    if found != expected:
        wrong = [key for key in {*found, *expected} if found.get(key) != expected.get(key)]
        day, file = min(wrong)
        raise ConservationError(
            f"{file}: the new files of meter {table.meter.name} hold {found.get((day, file))} of "
            f"{day}, not {expected.get((day, file))}. Nothing was committed. This is a defect; "
            "please report it."
        )


def _delete_unless_committed(change: Change) -> None:
    """Delete written files; none that the table has, whatever the error said."""
    now = EventTable(change.table.root, change.table.meter)
    committed = {file.name for file in now.files()}
    if committed.isdisjoint(file.name for file in change.added):
        for path in (*change.beside, *(file.location for file in change.added)):
            path.unlink(missing_ok=True)
