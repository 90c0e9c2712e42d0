"""Deliveries in order of time are written once; whatever the order, the lake is the same."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline import day_files
from spanner_pipeline.day_files import Gathering
from spanner_pipeline.lake import writing
from spanner_pipeline_tests.lake.building import Row, TinyRoot

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def rows_of(days: list[int]) -> list[Row]:
    """A row for each number of a day, its customers in no order."""
    return [
        Row(str(number), f"org_{number * 7 % 5}", str(number + 1), f"{time:%FT%TZ}")
        for number, day in enumerate(days)
        for time in [BEGIN + timedelta(days=day, seconds=number)]
    ]


ORDERS = {
    "by time": sorted([*range(6)] * 20),
    "mixed": [*range(6)] * 20,
    "two files of a day": [0] * 60 + [1] * 60,
    "one late among many": [0] * 50 + [5] + [1] * 50 + [0],
}


@pytest.mark.parametrize("days", ORDERS.values(), ids=ORDERS)
def test_the_order_of_a_delivery_changes_nothing_in_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: list[int]
) -> None:
    rows = rows_of(days)
    plain = TinyRoot(tmp_path / "plain")
    plain.deliver(rows)
    sizes = {"ROWS_PER_FILE": 25, "SORT_ON_DISK": 55, "_ROWS_HELD": 50, "_MOST_DAYS": 4}
    for name, size in sizes.items():
        monkeypatch.setattr(day_files, name, size)
    tight = TinyRoot(tmp_path / "tight")
    assert tight.deliver(rows).totals.new.rows == len(rows)
    for lake in (plain, tight):
        events = lake.events()
        assert events.height == len(rows)
        assert set(events["idempotency_key"]) == set(plain.events()["idempotency_key"])
        for file in lake.table.files():
            held = pl.read_parquet(file.location, hive_partitioning=False)
            assert held.sort("subject", "timestamp").equals(held)


def test_what_is_in_order_of_time_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("written twice")

    monkeypatch.setattr(writing, "write_day_file", refuse)
    lake = TinyRoot(tmp_path)
    assert lake.deliver(rows_of(ORDERS["by time"])).totals.new.rows == 120


def test_a_folder_without_links_gets_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    lake = TinyRoot(tmp_path)
    assert lake.deliver(rows_of([0, 0, 1])).totals.new.rows == 3
    assert lake.events().height == 3


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=30), max_size=12),
    st.integers(1, 20),
    st.integers(0, 40),
    st.integers(0, 12),
    st.integers(10, 100),
    st.integers(100, 10_000),
)
def test_everything_that_is_gathered_is_given_once(
    batches: list[list[int]], rows_per_file: int, held: int, most_days: int, on_disk: int, size: int
) -> None:
    number = 0
    given_: Counter[int] = Counter()

    def give_day(events: pl.DataFrame, day: date) -> None:
        assert 0 < events.height <= rows_per_file
        assert events["timestamp"].dt.date().unique().to_list() == [day]
        given_.update(events["number"])

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "ROWS_PER_FILE": rows_per_file,
            "_ROWS_HELD": held,
            "_MOST_DAYS": most_days,
            "SORT_ON_DISK": on_disk,
            "_BYTES_HELD": size,
        }.items():
            patch.setattr(day_files, name, value)
        gathering = Gathering(give_day, lambda events: given_.update(events["number"]))
        for days in batches:
            events = {
                "timestamp": [BEGIN + timedelta(days=day) for day in days],
                "number": range(number, number + len(days)),
            }
            schema = {"timestamp": pl.Datetime("us", "UTC"), "number": pl.Int64}
            gathering.add(pl.DataFrame(events, schema=schema))
            number += len(days)
        gathering.close()
    assert given_ == Counter(range(number))
