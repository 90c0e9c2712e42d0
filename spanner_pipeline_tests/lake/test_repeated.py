"""What a system without keys would count twice is listed, and only that; always the same."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.importing import UsageImport
from spanner_pipeline.lake import change, merge
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.lake.revert import revert
from spanner_pipeline_tests.lake.building import Row, TinyRoot, csv_bytes

FIRST = [Row(str(i), time=f"2024-01-01T{i:02}:00:00Z") for i in range(9)]
SECOND = [Row(f"n{i}", time=f"2024-01-02T{i:02}:00:00Z") for i in range(9)]


def _places(lake: TinyRoot) -> list[tuple[str, int, str, int]]:
    """Where each repeated row stands, and where the row that counts."""
    names = ("source_file", "source_line", "first_source_file", "first_source_line")
    return [
        tuple(str(row[n]).removeprefix("legacy/") if n.endswith("file") else row[n] for n in names)  # type: ignore[misc]
        for row in lake.repeated()
    ]


def _days(lake: TinyRoot, first: list[Row], second: list[Row]) -> list[UsageImport]:
    lake.place({"2024-01-01.csv": csv_bytes(first), "2024-01-02.csv": csv_bytes(second)})
    return [lake.run("2024-01-01"), lake.run("2024-01-02")]


def _declare_again(lake: TinyRoot) -> None:
    """Another configuration that maps the same rows to the same events."""
    lake.usage = {"where": {"id": {"not": ["nobody"]}}}
    lake.declare()


def test_further_copies_within_a_delivery_are_listed_with_the_row_that_counts(
    tmp_path: Path,
) -> None:
    lake = TinyRoot(tmp_path)
    one = Row("1", region="eu", quantity="2.5")
    done = lake.deliver([one, Row("2"), one, one])
    file = quarantine_file(lake.root, done.record.batch, done.record.usage, "repeated")
    repeated = pl.read_parquet(file)
    assert repeated.columns == [
        *("subject", "quantity", "timestamp", "dim_region", "source_file", "source_line"),
        *("source", "import_batch", "idempotency_key", "first_source_file", "first_source_line"),
    ]
    assert repeated.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert repeated.schema["quantity"] == pl.Decimal(38, 9)
    assert repeated.to_dicts() == [
        {
            "subject": "org_1",
            "quantity": Decimal("2.5"),
            "timestamp": datetime(2024, 1, 1, tzinfo=UTC),
            "dim_region": "eu",
            "source_file": "legacy/delivery.csv",
            "source_line": line,
            "source": "legacy",
            "import_batch": done.record.batch,
            "idempotency_key": "legacy:org_1:calls:1",
            "first_source_file": "legacy/delivery.csv",
            "first_source_line": 2,
        }
        for line in (4, 5)
    ]


def test_a_superseded_revision_in_the_same_delivery_is_listed(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver([Row("1", quantity="5"), Row("2"), Row("1", quantity="6", rev="2")])
    assert _places(lake) == [("delivery.csv", 2, "delivery.csv", 4)]
    assert lake.repeated()[0]["quantity"] == 5


def test_a_row_that_another_partition_brought_is_listed(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    _days(lake, FIRST, [FIRST[8], *SECOND])
    assert _places(lake) == [("2024-01-02.csv", 2, "2024-01-01.csv", 10)]


def test_a_partition_delivered_again_repeats_nothing(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    _days(lake, FIRST, SECOND)
    lake.place({"2024-01-01.csv": csv_bytes(FIRST[::-1])})
    assert lake.run("2024-01-01").totals.present.rows == 9
    lake.place({"2024-01-01.csv": csv_bytes(FIRST[2:4])})  # too few to be compared by day
    assert lake.run("2024-01-01").totals.present.rows == 2
    assert lake.repeated() == []


def test_beside_a_conflict_the_row_that_counts_is_not_listed_when_it_comes_again(
    tmp_path: Path,
) -> None:
    lake = TinyRoot(tmp_path)
    lake.deliver(FIRST)
    conflicting = FIRST[3].but(quantity="2")
    done = lake.deliver([conflicting, FIRST[3]])
    assert (done.totals.conflicting.rows, done.totals.present.rows) == (1, 1)
    assert lake.repeated() == []
    lake.deliver([conflicting, FIRST[3], FIRST[3]])
    assert _places(lake) == [("delivery.csv", 4, "delivery.csv", 5)]


def test_conflicting_and_corrected_rows_are_not_listed(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    lake.deliver([Row("1"), Row("1", quantity="2"), Row("2")])
    lake.deliver([Row("2", quantity="3", rev="2")])
    assert len(lake.conflicts()) == 1
    assert lake.repeated() == []


@pytest.mark.parametrize("daily", [False, True])
def test_another_import_of_the_same_delivery_lists_the_same_rows(
    tmp_path: Path, daily: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=daily)
    delivered = [*FIRST[7:], *SECOND, *SECOND[4:6], SECOND[5].but(time="2024-01-02T05:00:00.0Z")]
    if daily:
        _days(lake, FIRST, delivered)
    else:
        lake.deliver(delivered)
    before = _places(lake)
    assert len(before) == (5 if daily else 3)
    _declare_again(lake)
    done = lake.run("2024-01-02" if daily else "whole")
    assert not done.unchanged
    assert done.totals.present.rows == len(delivered)
    assert _places(lake) == before


def test_a_file_that_joins_its_partition_later_has_its_repeated_rows_listed(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    lake.deliver(FIRST, "a.csv")
    lake.place({"a.csv": csv_bytes(FIRST), "b.csv": csv_bytes([FIRST[3], *SECOND])})
    done = lake.run()
    assert (done.totals.new.rows, done.totals.present.rows) == (9, 10)
    assert _places(lake) == [("b.csv", 2, "a.csv", 5)]


def test_what_an_attempt_listed_that_lost_its_commit_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    first = _days(lake, FIRST, SECOND)[0]
    lake.place({"2024-01-03.csv": csv_bytes([FIRST[8], Row("x", time="2024-01-03T00:00:00Z")])})
    write, listed = merge.write_repeated, []

    def overtaken(*arguments: Any) -> None:
        write(*arguments)
        listed.append(_places(lake))
        if len(listed) == 1:
            revert(lake.root, lake.catalog, first.record.batch)

    monkeypatch.setattr(merge, "write_repeated", overtaken)
    monkeypatch.setattr(change.time, "sleep", lambda seconds: None)
    done = lake.run("2024-01-03")
    assert done.totals.new.rows == 2
    assert listed == [[("2024-01-03.csv", 2, "2024-01-01.csv", 10)], []]
    assert lake.repeated() == []


def test_a_revert_takes_them_along(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path)
    done = lake.deliver([Row("1"), Row("1")])
    assert len(lake.repeated()) == 1
    revert(lake.root, lake.catalog, done.record.batch)
    assert lake.repeated() == []
