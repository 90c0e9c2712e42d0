"""Law 1: an import that loses, doubles or alters a row fails before it commits anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from spanner_pipeline.errors import ConservationError
from spanner_pipeline.lake import merge as merging
from spanner_pipeline.lake import settle as settling
from spanner_pipeline.lake import writing
from spanner_pipeline.lake.incoming import Incoming
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.staging import ACCEPTED, Staged
from spanner_pipeline_tests.lake.building import Row, TinyRoot

BEFORE = [Row("1"), Row("2", time="2024-02-01T00:00:00Z")]
AFTER = [Row("1", quantity="5", rev="2"), Row("3"), Row("4", quantity="x"), Row("2")]


def _lose_the_staged_rows(staged: Staged) -> None:
    for part in staged.parts("accepted"):
        part.unlink()


def _lose_one(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.slice(1)


def _double_one(rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([rows, rows.tail(1)])


def _alter_a_billionth(rows: pl.DataFrame) -> pl.DataFrame:
    altered = pl.col("quantity") + pl.lit("0.000000001").cast(pl.Decimal(38, 9))
    return rows.with_columns(altered.cast(pl.Decimal(38, 9)).alias("quantity"))


def _move_to_another_file(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.lit("legacy/else.csv").alias("source_file"))


def _rewriting(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Staged], None]:
    def damage(staged: Staged) -> None:
        (part,) = staged.parts("accepted")
        change(pl.read_parquet(part)).write_parquet(part)

    return damage


DAMAGES = {
    "staged rows lost": _lose_the_staged_rows,
    "one row lost": _rewriting(_lose_one),
    "one row doubled": _rewriting(_double_one),
    "a quantity altered": _rewriting(_alter_a_billionth),
    "another file named": _rewriting(_move_to_another_file),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_rows_damaged_between_staging_and_merge_stop_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver(BEFORE)
    before, ledger = lake.lake_files(), lake.records()
    incoming = merging.Incoming

    def damaged(
        connection: duckdb.DuckDBPyConnection, staged: Staged, parts: object, table: EventTable
    ) -> Incoming:
        DAMAGES[damage](staged)
        return incoming(connection, staged, staged.parts(ACCEPTED), table)

    monkeypatch.setattr(merging, "Incoming", damaged)
    with pytest.raises(ConservationError):
        lake.deliver(AFTER)
    assert (lake.lake_files(), lake.records()) == (before, ledger)
    assert lake.conflicts() == []

    monkeypatch.undo()
    assert lake.run().totals.new.rows == 1


MISCOUNTS = {
    "an outcome lost": "DELETE FROM settled WHERE outcome = 'corrected'",
    "a row lost": "DELETE FROM settled WHERE source_line = 5",
    "a row doubled": "INSERT INTO settled SELECT * FROM settled WHERE source_line = 5",
    "an unknown outcome": "UPDATE settled SET outcome = 'odd' WHERE source_line = 2",
    "a quantity altered": "UPDATE settled SET quantity = 2 WHERE source_line = 5",
}


@pytest.mark.parametrize("miscount", MISCOUNTS)
def test_a_merge_that_miscounts_stops_before_it_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miscount: str
) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver(BEFORE)
    before, ledger = lake.lake_files(), lake.records()
    decide: Callable[..., None] = settling._decide

    def miscounting(connection: duckdb.DuckDBPyConnection, *rest: Any, **named: Any) -> None:
        decide(connection, *rest, **named)
        connection.execute(MISCOUNTS[miscount])

    monkeypatch.setattr(settling, "_decide", miscounting)
    with pytest.raises(ConservationError, match="Nothing was"):
        lake.deliver(AFTER)
    assert (lake.lake_files(), lake.records()) == (before, ledger)


MISWRITES = {
    "an entering row lost": "idempotency_key NOT LIKE '%:3'",
    "a corrected row lost": "idempotency_key NOT LIKE '%:1'",
    "a row of the same file lost that only stands there": "idempotency_key NOT LIKE '%:7'",
    "everything lost": "false",
}


@pytest.mark.parametrize("kept", MISWRITES.values(), ids=MISWRITES)
def test_files_that_hold_other_rows_than_they_should_are_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver([*BEFORE, Row("7")])
    before, ledger = lake.lake_files(), lake.records()
    written: Callable[..., Any] = writing._written

    def forgetful(location: Path, *rest: Any) -> Any:
        events = pl.read_parquet(location, hive_partitioning=False)
        location.unlink()
        events.filter(pl.sql_expr(kept)).write_parquet(location)
        return written(location, *rest)

    monkeypatch.setattr(writing, "_written", forgetful)
    with pytest.raises(ConservationError, match="the new files of meter calls hold"):
        lake.deliver(AFTER)
    assert (lake.lake_files(), lake.records()) == (before, ledger)
    monkeypatch.undo()
    assert lake.run().totals.corrected.rows == 1


def test_new_and_corrected_rows_are_those_that_the_lake_gained(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    first = lake.deliver([*BEFORE, Row("2"), Row("9", quantity="x")])
    second = lake.deliver(AFTER)
    assert lake.events().height == first.totals.new.rows + second.totals.new.rows
    (record,) = lake.records()
    batches = lake.events().filter(pl.col("import_batch") == record.batch)
    assert batches.height == record.totals.new.rows + record.totals.corrected.rows == 2
