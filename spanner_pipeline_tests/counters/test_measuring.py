"""Usage between readings adds up to what counters grew, however their readings are cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.counters.measuring import (
    CONTRADICTED,
    FELL,
    FIRST,
    HELD,
    IDLE,
    MEASURED,
    OLDER,
    REPEATED,
    RESTARTED,
    ROLLED_OVER,
    measured,
)
from spanner_pipeline.counters.readings import Opening, Readings, no_readings
from spanner_pipeline.engine import through_duckdb
from spanner_pipeline.meters import Meter

METER = Meter(name="kwh", unit="kWh", decimals=2)
BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
VALUES = 100
"""How many values the counters that roll over have."""

Row = tuple[str, int, str]
"""A reading: its counter, when, and how much."""
Found = dict[tuple[str, int], tuple[str, Decimal | None]]
"""What a reading is, and its usage, by counter and time."""


def measure(
    parts: Sequence[Sequence[Row]], spill: Path, lacking: str | None = None, **declared: Any
) -> list[tuple[str, int, str, Decimal | None]]:
    """Measure partitions one after the other: counter, time, what the reading is, its usage."""
    quantity = Quantity.model_validate({"column": "n", "cumulative": {"by": "c", **declared}})
    opening = Opening(no_readings(METER), lacking)
    found = []
    for rows in parts:
        readings = Readings(opening)
        sql = measured("rows", quantity, METER, opening.lacking)
        batches = list(through_duckdb(frames(rows), sql, spill, opening=opening.last))
        for batch in batches:
            readings.take(batch)
        told = (row for batch in batches for row in batch.iter_rows(named=True))
        for row in sorted(told, key=lambda row: row["source_line"]):
            at = (row["timestamp"] - BEGIN) // timedelta(hours=1)
            found.append((row["counter"], at, row["kind"], row["quantity"]))
        opening = readings.after()
    return found


def frames(rows: Sequence[Row]) -> Iterator[pl.DataFrame]:
    if rows:
        yield pl.DataFrame(
            {
                "source_file": ["f"] * len(rows),
                "source_line": range(len(rows)),
                "counter": [counter for counter, _, _ in rows],
                "timestamp": [BEGIN + timedelta(hours=at) for _, at, _ in rows],
                "quantity": [Decimal(reading) for _, _, reading in rows],
                "usable": [True] * len(rows),
                "out_of_scope": pl.Series([None] * len(rows), dtype=pl.String),
            },
            schema_overrides={
                "timestamp": pl.Datetime("us", "UTC"),
                "quantity": pl.Decimal(38, METER.decimals),
            },
        )


@pytest.mark.parametrize(
    ("declared", "rows", "expected"),
    [
        ({}, [("a", 2, "7"), ("a", 0, "5"), ("a", 1, "5")], [(MEASURED, 2), (FIRST, 5), (IDLE, 0)]),
        (
            {},
            [("a", 0, "5"), ("b", 1, "9"), ("a", 2, "6")],
            [(FIRST, 5), (FIRST, 9), (MEASURED, 1)],
        ),
        (
            {},
            [("a", 0, "5"), ("a", 0, "5.00"), ("a", 1, "6")],
            [(FIRST, 5), (REPEATED, 0), (MEASURED, 1)],
        ),
        (
            {},
            [("a", 0, "5"), ("a", 1, "6"), ("a", 1, "7"), ("a", 2, "8")],
            [(FIRST, 5), (CONTRADICTED, None), (CONTRADICTED, None), (MEASURED, 3)],
        ),
        (
            {},
            [("a", 0, "5"), ("a", 1, "4"), ("a", 2, "9"), ("b", 3, "1")],
            [(FIRST, 5), (FELL, None), (FELL, None), (FIRST, 1)],
        ),
        (
            {"reset": "zero"},
            [("a", 0, "5"), ("a", 1, "4"), ("a", 2, "9")],
            [(FIRST, 5), (RESTARTED, 4), (MEASURED, 5)],
        ),
        (
            {"rolls_over_at": 100},
            [("a", 0, "90"), ("a", 1, "40")],
            [(FIRST, 90), (ROLLED_OVER, 50)],
        ),
        ({"rolls_over_at": 100}, [("a", 0, "90"), ("a", 1, "40.01")], [(FIRST, 90), (FELL, None)]),
    ],
)
def test_a_reading_is_what_follows_from_the_declaration(
    tmp_path: Path,
    declared: dict[str, Any],
    rows: list[Row],
    expected: list[tuple[str, int | None]],
) -> None:
    found = [(kind, usage) for _, _, kind, usage in measure([rows], tmp_path, **declared)]
    assert found == expected


def test_readings_that_an_earlier_partition_goes_beyond_are_no_usage(tmp_path: Path) -> None:
    first = [("a", 0, "5"), ("a", 4, "9")]
    later = [("a", 3, "8"), ("a", 4, "9"), ("a", 5, "10"), ("b", 5, "1")]
    assert measure([first, later], tmp_path)[2:] == [
        ("a", 3, OLDER, 0),
        ("a", 4, REPEATED, 0),
        ("a", 5, MEASURED, 1),
        ("b", 5, FIRST, 1),
    ]
    assert measure([first, [("a", 4, "8")]], tmp_path)[2:] == [("a", 4, CONTRADICTED, None)]


def test_a_counter_that_fell_stays_rejected_in_later_partitions(tmp_path: Path) -> None:
    found = measure([[("a", 0, "5"), ("a", 1, "4")], [("a", 2, "9")], [("a", 3, "10")]], tmp_path)
    assert [kind for _, _, kind, _ in found] == [FIRST, FELL, FELL, FELL]


def test_behind_a_partition_that_lacks_only_what_was_read_since_counts(tmp_path: Path) -> None:
    found = measure([[("a", 0, "5"), ("a", 1, "6")], [("a", 2, "9"), ("b", 2, "1")]], tmp_path, "x")
    assert [(kind, usage) for _, _, kind, usage in found] == [
        (HELD, None),
        (MEASURED, 1),
        (MEASURED, 3),
        (HELD, None),
    ]


def model(rows: Sequence[Row], reset: str, rolls: bool) -> Found:
    """The same in plain Python, over all readings at once, each of a time of its own."""
    found: Found = {}
    last: dict[str, Decimal] = {}
    fallen: set[str] = set()
    for counter, at, text in sorted(rows, key=lambda row: row[1]):
        reading, previous = Decimal(text), last.get(counter)
        step = reading + VALUES - (previous or 0)
        if counter in fallen:
            found[counter, at] = FELL, None
            continue
        if previous is None:
            found[counter, at] = FIRST, reading
        elif reading >= previous:
            found[counter, at] = MEASURED if reading > previous else IDLE, reading - previous
        elif rolls and step * 2 <= VALUES:
            found[counter, at] = ROLLED_OVER, step
        elif reset == "zero":
            found[counter, at] = RESTARTED, reading
        else:
            fallen.add(counter)
            found[counter, at] = FELL, None
            continue
        last[counter] = reading
    return found


READING = st.integers(0, VALUES * 100 - 1).map(lambda cents: f"{cents // 100}.{cents % 100:02}")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    readings=st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 40), READING),
        min_size=1,
        max_size=14,
        unique_by=lambda row: row[:2],
    ),
    cuts=st.sets(st.integers(1, 40), max_size=3),
    order=st.randoms(use_true_random=False),
    reset=st.sampled_from(["reject", "zero"]),
    rolls=st.booleans(),
)
def test_usage_is_the_same_however_readings_are_cut_and_adds_up(
    tmp_path: Path, readings: list[Row], cuts: set[int], order: Any, reset: str, rolls: bool
) -> None:
    bounds = [0, *sorted(cuts), 99]
    order.shuffle(readings)
    parts = [
        [row for row in readings if start <= row[1] < end]
        for start, end in itertools.pairwise(bounds)
    ]
    declared = {"reset": reset, **({"rolls_over_at": VALUES} if rolls else {})}
    measured_rows = measure(parts, tmp_path, **declared)
    found = {(counter, at): (kind, usage) for counter, at, kind, usage in measured_rows}
    assert found == model(readings, reset, rolls)
    # The sum of usage is last - first, and what counters lost where they began again.
    text = {(counter, at): Decimal(reading) for counter, at, reading in readings}
    for counter in {row[0] for row in readings}:
        chain = [
            (at, *found[c, at])
            for c, at in sorted(found)
            if c == counter and found[c, at][0] != FELL
        ]
        lost = Decimal(0)
        for (before, _, _), (_at, kind, _) in itertools.pairwise(chain):
            lost += text[counter, before] if kind == RESTARTED else 0
            lost += VALUES if kind == ROLLED_OVER else 0
        usage = sum((used or Decimal(0) for _, kind, used in chain if kind != FIRST), Decimal(0))
        first, last = chain[0][0], chain[-1][0]
        assert usage == text[counter, last] - text[counter, first] + lost
