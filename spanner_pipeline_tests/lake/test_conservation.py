"""Law 1: an import that loses, doubles or alters a row fails before it commits anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest

from spanner_pipeline.errors import ConservationError
from spanner_pipeline.lake import merge as merging
from spanner_pipeline.lake.table import EventTable
from spanner_pipeline.staging import Staged
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
    classify = merging._classify

    def damaged(
        connection: duckdb.DuckDBPyConnection,
        table: EventTable,
        staged: Staged,
        corrections: bool,
    ) -> None:
        DAMAGES[damage](staged)
        classify(connection, table, staged, corrections)

    monkeypatch.setattr(merging, "_classify", damaged)
    with pytest.raises(ConservationError):
        lake.deliver(AFTER)
    assert (lake.lake_files(), lake.records()) == (before, ledger)
    assert lake.conflicts() == []

    monkeypatch.undo()
    assert lake.run().totals.new.rows == 1


MISCOUNTS = {
    "an outcome lost": "DELETE FROM classified WHERE outcome = 'corrected'",
    "a row lost": "DELETE FROM classified WHERE source_line = 3",
    "a row doubled": "INSERT INTO classified SELECT * FROM classified WHERE source_line = 3",
    "an unknown outcome": "UPDATE classified SET outcome = 'odd' WHERE source_line = 2",
    "a quantity altered": "UPDATE classified SET quantity = 2 WHERE source_line = 3",
}


@pytest.mark.parametrize("miscount", MISCOUNTS)
def test_a_merge_that_miscounts_stops_before_it_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, miscount: str
) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver(BEFORE)
    before, ledger = lake.lake_files(), lake.records()
    classify = merging._classify

    def miscounting(
        connection: duckdb.DuckDBPyConnection,
        table: EventTable,
        staged: Staged,
        corrections: bool,
    ) -> None:
        classify(connection, table, staged, corrections)
        connection.execute("""
            CREATE TEMP TABLE counted AS FROM classified;
            DROP VIEW classified;
            CREATE TEMP VIEW classified AS FROM counted""")
        connection.execute(MISCOUNTS[miscount].replace("classified", "counted"))

    monkeypatch.setattr(merging, "_classify", miscounting)
    with pytest.raises(ConservationError, match="Nothing was"):
        lake.deliver(AFTER)
    assert (lake.lake_files(), lake.records()) == (before, ledger)


def test_a_rewrite_that_would_lose_an_old_row_stops_before_it_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver([Row("1"), Row("2"), Row("3")])
    before = lake.lake_files()
    select = EventTable.select

    def forgetful(table: EventTable, where: str = "true") -> str:
        # The rewrite reads all rows of its days but one; the check counts them all.
        forgetful.calls += 1  # type: ignore[attr-defined]
        lost = f"{where} AND idempotency_key NOT LIKE '%:2'"
        return select(table, lost if forgetful.calls == 2 else where)  # type: ignore[attr-defined]

    forgetful.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(EventTable, "select", forgetful)
    with pytest.raises(ConservationError, match="rewritten days"):
        lake.deliver([Row("1", quantity="5", rev="2")])
    monkeypatch.undo()
    assert lake.lake_files() == before


def test_new_and_corrected_rows_are_those_that_the_lake_gained(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    first = lake.deliver([*BEFORE, Row("2"), Row("9", quantity="x")])
    second = lake.deliver(AFTER)
    assert lake.events().height == first.totals.new.rows + second.totals.new.rows
    (record,) = lake.records()
    batches = lake.events().filter(pl.col("import_batch") == record.batch)
    assert batches.height == record.totals.new.rows + record.totals.corrected.rows == 2
