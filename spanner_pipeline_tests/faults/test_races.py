"""Two processes at once, without Dagster's pools: every key once, no row lost, both balance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spanner_pipeline.importing import UsageImport
from spanner_pipeline_tests.faults.pairs import Pair, pair_of_processes
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes

pytestmark = pytest.mark.slow

PAIRS = 4
DAYS = ("2024-01-01", "2024-01-02")


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with pair_of_processes() as pair:
        yield pair


def _rows(names: range, day: str = DAYS[0], **changes: str) -> list[Row]:
    return [Row(str(n), quantity=str(n), time=f"{day}T05:00:00Z").but(**changes) for n in names]


def _place(lake: TinyRoot, first: list[Row], second: list[Row]) -> None:
    lake.place(
        {f"{day}.csv": csv_bytes(rows) for day, rows in zip(DAYS, (first, second), strict=True)}
    )


def _both_balance(done: list[UsageImport], new: int, corrected: int = 0) -> None:
    for one in done:
        balance(one)
    assert sum(one.totals.new.rows for one in done) == new
    assert sum(one.totals.corrected.rows for one in done) == corrected


stale_or_free = pytest.mark.parametrize("stale", [True, False], ids=["same version", "free"])
repeated = pytest.mark.parametrize("number", range(PAIRS))


@repeated
@stale_or_free
def test_one_delivery_twice_at_once_from_nothing(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path)
    lake.place({"delivery.csv": csv_bytes(_rows(range(1, 50)))})
    done = pair.import_at_once(tmp_path, stale=stale)
    _both_balance([one for one in done if not one.unchanged], new=49)
    assert lake.payloads() == {row.id: row.payload for row in _rows(range(1, 50))}
    (record,) = lake.records()
    assert record.totals.new.rows == 49, "the ledger forgot what was new"
    assert lake.run().unchanged


@repeated
@stale_or_free
def test_two_deliveries_with_common_keys_create_the_table_at_once(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    _place(lake, _rows(range(1, 40)), _rows(range(20, 60)))
    _both_balance(pair.import_at_once(tmp_path, DAYS, stale=stale), new=59)
    assert lake.payloads() == {row.id: row.payload for row in _rows(range(1, 60))}


@repeated
@stale_or_free
def test_two_deliveries_with_common_keys_enter_one_day_at_once(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    _place(lake, _rows(range(1, 20)), [])
    lake.run(DAYS[0])
    _place(lake, _rows(range(10, 40)), _rows(range(20, 60)))
    _both_balance(pair.import_at_once(tmp_path, DAYS, stale=stale), new=40)
    assert lake.payloads() == {row.id: row.payload for row in _rows(range(1, 60))}


@repeated
@stale_or_free
def test_two_days_of_one_meter_at_once(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True)
    first, second = _rows(range(1, 30)), _rows(range(100, 130), DAYS[1])
    _place(lake, first, second)
    _both_balance(pair.import_at_once(tmp_path, DAYS, stale=stale), new=59)
    assert lake.payloads() == {row.id: row.payload for row in first + second}


@repeated
@stale_or_free
def test_the_same_keys_moved_to_two_days_at_once_end_where_the_higher_revision_says(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, daily=True, corrections=True)
    _place(lake, _rows(range(1, 20)), [])
    lake.run(DAYS[0])
    moved = _rows(range(1, 10), "2024-02-01", rev="2"), _rows(range(5, 15), "2024-03-01", rev="3")
    _place(lake, moved[0], [*moved[1], *_rows(range(50, 60))])
    done = pair.import_at_once(tmp_path, DAYS, stale=stale)
    balance(done[0])
    balance(done[1])
    expected = {row.id: row.payload for row in [*_rows(range(1, 20)), *_rows(range(50, 60))]}
    expected |= {row.id: row.payload for row in [*moved[0], *moved[1]]}
    assert lake.payloads() == expected
    assert done[1].totals.corrected.rows == 10
    assert done[0].totals.corrected.rows in (4, 9)
