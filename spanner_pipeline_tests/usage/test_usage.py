"""Usage queries mean what Open Spanner's mean, exactly, on any clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import TotalTooLargeError, exact_series
from spanner_pipeline.usage.daily import daily_usage
from spanner_pipeline.usage.filters import MISSING_GROUP, Group, Texts, UnknownFieldError
from spanner_pipeline.usage.query import query_usage
from spanner_pipeline_tests.usage.events import Event, a_meter, fill

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
FIVE = [
    Event("2024-01-10T10:00:00Z", "3"),
    Event("2024-01-10T08:00:00Z", "5.5"),
    Event("2024-01-10T23:59:59.999999Z", "0.25", subject="globex"),
    Event("2024-01-10T12:00:00Z", "7"),
    Event("2024-01-12T00:00:00Z", "100"),
]


def answer(root: DataRoot, meter: Any, *args: Any, **more: Any) -> list[tuple[Any, ...]]:
    frame = query_usage(root, meter, *(args or (START, END)), **more)
    assert frame.schema["events"] == pl.Int64
    return frame.rows()


@pytest.mark.parametrize(
    ("aggregation", "tenth"),
    [
        ("sum", "15.75"),
        ("count", "4"),
        ("avg", "3.9375"),
        ("min", "0.25"),
        ("max", "7"),
        ("first", "5.5"),
        ("last", "0.25"),
        ("rate", "0.000046296296296296"),  # 4 events in 86,400 seconds
    ],
)
def test_each_aggregation_of_a_day(tmp_path: Path, aggregation: str, tenth: str) -> None:
    meter = a_meter(aggregation)
    rows = answer(fill(tmp_path, meter, FIVE), meter)

    assert rows[0] == (datetime(2024, 1, 10, tzinfo=UTC), Decimal(tenth), 4)
    assert [row[0].day for row in rows] == [10, 12]  # the empty 11th is not there


def test_the_window_is_half_open(tmp_path: Path) -> None:
    meter = a_meter()
    root = fill(tmp_path, meter, FIVE)
    window = datetime(2024, 1, 10, 8, tzinfo=UTC), datetime(2024, 1, 10, 12, tzinfo=UTC)

    assert answer(root, meter, *window) == [(datetime(2024, 1, 10, tzinfo=UTC), Decimal("8.5"), 2)]
    in_new_york = [moment.astimezone(ZoneInfo("America/New_York")) for moment in window]
    assert answer(root, meter, *in_new_york) == answer(root, meter, *window)
    assert answer(root, meter, window[0], window[0]) == []


def test_a_window_without_offset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="offset"):
        query_usage(DataRoot(tmp_path), a_meter(), datetime(2024, 1, 1), END)


def test_a_meter_without_events_has_no_buckets(tmp_path: Path) -> None:
    for aggregation in ("sum", "avg", "rate", "first"):
        meter = a_meter(aggregation, dimensions=[{"name": "n", "type": "number"}])
        for bucket in ("hour", "day", "month"):
            assert answer(DataRoot(tmp_path), meter, bucket=bucket, group_by=["n"]) == []


def test_hours_and_months(tmp_path: Path) -> None:
    meter = a_meter()
    events = [Event("2024-01-31T23:59:59.999999Z"), Event("2024-02-01T00:00:00Z", 2)]
    root = fill(tmp_path, meter, events)

    assert answer(root, meter, bucket="hour") == [
        (datetime(2024, 1, 31, 23, tzinfo=UTC), Decimal(1), 1),
        (datetime(2024, 2, 1, 0, tzinfo=UTC), Decimal(2), 1),
    ]
    assert answer(root, meter, bucket="month") == [
        (datetime(2024, 1, 1, tzinfo=UTC), Decimal(1), 1),
        (datetime(2024, 2, 1, tzinfo=UTC), Decimal(2), 1),
    ]


@pytest.mark.parametrize(
    ("month", "days"), [("2023-02", 28), ("2024-02", 29), ("2024-04", 30), ("2024-01", 31)]
)
def test_rate_divides_by_the_whole_month_even_in_a_part_of_it(
    tmp_path: Path, month: str, days: int
) -> None:
    meter = a_meter("rate")
    root = fill(tmp_path, meter, [Event(f"{month}-05T00:00:00Z", 50)] * 3)
    window = (datetime.fromisoformat(f"{month}-0{day}T00:00:00Z") for day in (5, 6))

    ((_, rate, events),) = answer(root, meter, *window, bucket="month")

    assert events == 3
    assert rate == round(Decimal(3) / (days * 86400), 18)


def test_rate_of_an_hour(tmp_path: Path) -> None:
    meter = a_meter("rate")
    root = fill(tmp_path, meter, [Event("2024-01-01T00:00:00Z")] * 36)
    ((_, rate, _),) = answer(root, meter, bucket="hour")
    assert rate == Decimal("0.01")


def test_ties_of_first_and_last_go_by_key(tmp_path: Path) -> None:
    events = [
        Event("2024-01-10T10:00:00Z", quantity, key=key)
        for quantity, key in ((2, "b"), (1, "c"), (3, "a"))
    ]
    for aggregation, expected in (("first", 3), ("last", 1)):
        meter = a_meter(aggregation)
        for order in (events, events[::-1]):
            root = fill(tmp_path / f"{aggregation}{order[0].key}", meter, order)
            assert answer(root, meter)[0][1] == expected


DIMENSIONS = [
    {"name": "plan", "type": "string", "required": False},
    {"name": "size", "type": "number", "required": False},
    {"name": "trial", "type": "boolean", "required": False},
    {"name": "http.status", "type": "string", "required": False},
]


def test_groups_are_spelt_as_open_spanner_spells_them(tmp_path: Path) -> None:
    meter = a_meter(dimensions=DIMENSIONS)
    numbers = {
        "100": "100",
        "200": "200",
        "0": "0",
        "0.10": "0.1",
        "-0.5": "-0.5",
        "1000.50": "1000.5",
    }
    sizes = [Event("2024-01-01T00:00:00Z", dimensions={"size": Decimal(n)}) for n in numbers]
    plans = [
        Event("2024-02-01T00:00:00Z", 2, dimensions={"plan": "pro", "trial": True}),
        Event("2024-02-01T00:00:00Z", 3, dimensions={"plan": "pro", "trial": False}),
        Event("2024-02-01T00:00:00Z", 4, dimensions={"http.status": "204"}),
    ]
    root = fill(tmp_path, meter, [*sizes, *plans])
    february = datetime(2024, 2, 1, tzinfo=UTC)

    by_size = answer(root, meter, START, february, group_by=["size"])
    assert [row[1] for row in by_size] == sorted(numbers.values())
    by_both = answer(root, meter, february, END, bucket="month", group_by=["plan", "trial"])
    assert [row[1:4] for row in by_both] == [
        (MISSING_GROUP, MISSING_GROUP, Decimal(4)),
        ("pro", "false", Decimal(3)),
        ("pro", "true", Decimal(2)),
    ]
    frame = query_usage(root, meter, february, END, group_by=["http.status", "subject"])
    assert frame.columns == ["bucket_start", "http.status", "subject", "quantity", "events"]
    assert frame["http.status"].to_list() == ["204", MISSING_GROUP]


def test_a_dimension_may_be_called_like_a_column_of_the_answer(tmp_path: Path) -> None:
    names = ("quantity", "events", "bucket_start", "timestamp", "start", "bucket", "seconds")
    meter = a_meter("avg", dimensions=[{"name": n, "type": "string"} for n in names])
    event = Event("2024-01-01T10:00:00Z", 7, dimensions={name: f"x_{name}" for name in names})
    frame = query_usage(fill(tmp_path, meter, [event]), meter, START, END, group_by=names)

    row = frame.row(0, named=True)
    assert (row["quantity"], row["events"]) == (Decimal(7), 1)
    for name in ("quantity", "events", "bucket_start"):
        assert row[f"dim_{name}"] == f"x_{name}"
    assert row["timestamp"] == "x_timestamp"


def test_filters_take_any_of_their_texts_and_all_of_their_fields(tmp_path: Path) -> None:
    meter = a_meter(dimensions=DIMENSIONS)
    events = [
        Event("2024-01-01T00:00:00Z", 1, dimensions={"plan": "pro", "size": Decimal(100)}),
        Event("2024-01-01T00:00:00Z", 2, dimensions={"plan": "free", "size": Decimal(100)}),
        Event("2024-01-01T00:00:00Z", 4, subject="globex", dimensions={"plan": "pro"}),
        Event("2024-01-01T00:00:00Z", 8, dimensions={"trial": True}),
    ]
    root = fill(tmp_path, meter, events)

    def total(**where: list[str]) -> int:
        rules = tuple(Texts(field=name, texts=tuple(texts)) for name, texts in where.items())
        rule = Group(op="and", rules=rules) if rules else None
        return sum(int(row[1]) for row in answer(root, meter, where=rule))

    assert total() == 15
    assert total(plan=["pro", "free"]) == 7
    assert total(plan=["pro"], subject=["acme"]) == 1
    assert total(size=["100"]) == 3
    assert total(size=["1"]) == 0
    assert total(size=[MISSING_GROUP]) == 12
    assert total(trial=["true"]) == 8
    assert total(plan=["x' OR '1' = '1"]) == 0
    assert total(plan=[]) == 0


@pytest.mark.parametrize(
    "asked", [{"group_by": ["plna"]}, {"where": Texts(field="plna", texts=("x",))}]
)
def test_an_unknown_field_is_named_with_the_known_ones(tmp_path: Path, asked: Any) -> None:
    with pytest.raises(UnknownFieldError, match=r"calls has no field `plna`.*subject, plan, size"):
        query_usage(DataRoot(tmp_path), a_meter(dimensions=DIMENSIONS), START, END, **asked)


def test_sums_are_exact_to_the_last_digit(tmp_path: Path) -> None:
    huge = Decimal("100000000000000000000.123456789")
    events = [Event("2024-01-01T00:00:00Z", huge)] * 11
    events += [Event("2024-01-01T00:00:00Z", "0.000000001")]
    for aggregation, expected in (
        ("sum", "1100000000000000000001.358024680"),
        ("max", str(huge)),
        ("avg", "91666666666666666666.779835390000"),
    ):
        meter = a_meter(aggregation)
        ((_, quantity, _),) = answer(fill(tmp_path / aggregation, meter, events), meter)
        assert abs(quantity - Decimal(expected)) == 0, aggregation


def test_an_average_of_large_quantities_keeps_the_digits_that_fit(tmp_path: Path) -> None:
    meter = a_meter("avg")
    events = [Event("2024-01-01T00:00:00Z", Decimal(10) ** 20 + n) for n in (0, 1, 1)]
    ((_, quantity, _),) = answer(fill(tmp_path, meter, events), meter)
    assert str(quantity) == "100000000000000000000.6666666666666667"


def test_a_sum_of_more_than_38_digits_is_refused(tmp_path: Path) -> None:
    for copies in (2, 3, 40):  # 10^38 is passed before 128 bits are full, and long after
        meter = a_meter()
        events = [Event("2024-01-01T00:00:00Z", Decimal("6e28"))] * copies
        root = fill(tmp_path / str(copies), meter, events)
        with pytest.raises(TotalTooLargeError, match=r"meter calls: .*38 digits.*Remedy"):
            query_usage(root, meter, START, END)


def test_a_column_holds_exactly_what_it_is_given() -> None:
    kept = [Decimal("99999999999999999999999999999.999999999"), None, Decimal("-1E+3")]
    assert exact_series("x", kept, 9).to_list() == kept
    for value in ("1E+29", "-100000000000000000000000000000", "0.0000000001"):
        with pytest.raises(TotalTooLargeError):
            exact_series("x", [Decimal(value)], 9)


@pytest.mark.parametrize(
    ("zone", "day", "first", "hours"),
    [
        ("America/New_York", "2024-03-10", "2024-03-10T05:00:00Z", 23),
        ("America/New_York", "2024-11-03", "2024-11-03T04:00:00Z", 25),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", 23),  # no midnight
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T02:00:00Z", 25),  # 23:00 twice
        ("Africa/Cairo", "2023-04-28", "2023-04-27T22:00:00Z", 23),  # no midnight
        ("Africa/Cairo", "2023-10-26", "2023-10-25T21:00:00Z", 25),  # 23:00 twice
        ("America/Havana", "2024-11-03", "2024-11-03T04:00:00Z", 25),  # two midnights
        ("Asia/Kolkata", "2024-11-03", "2024-11-02T18:30:00Z", 24),
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", 24),  # before the lost day
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", 24),  # after it
    ],
)
def test_a_local_day_has_the_hours_of_its_clock(
    tmp_path: Path, zone: str, day: str, first: str, hours: int
) -> None:
    start = datetime.fromisoformat(first)
    half_hours = [start + timedelta(minutes=30 * n) for n in range(2 * hours)]
    outside = [start - timedelta(microseconds=1), start + timedelta(hours=hours)]
    events = [Event(moment) for moment in half_hours + outside]
    meter = a_meter("rate")
    root = fill(tmp_path, meter, events)
    window = datetime(2000, 1, 1, tzinfo=UTC), END

    days = query_usage(root, meter, *window, zone=zone)
    ours = days.filter(pl.col("bucket_start").dt.convert_time_zone("UTC") == start)
    assert ours["events"].to_list() == [2 * hours]
    assert ours["quantity"].to_list() == [round(Decimal(2 * hours) / (hours * 3600), 18)]
    assert str(ours["bucket_start"][0])[:10] == day
    assert days.height == 3

    each = query_usage(root, meter, *window, bucket="hour", zone=zone)
    assert each["events"].to_list() == [1, *[2] * hours, 1]
    assert each["bucket_start"].is_sorted()


def test_a_month_on_a_clock_that_changes(tmp_path: Path) -> None:
    meter = a_meter("rate")
    events = [Event("2024-11-01T04:00:00Z"), Event("2024-12-01T04:59:59Z")]
    outside = [Event("2024-11-01T03:59:59Z"), Event("2024-12-01T05:00:00Z")]
    root = fill(tmp_path, meter, events + outside)

    rows = answer(root, meter, bucket="month", zone="America/New_York")

    assert [row[2] for row in rows] == [1, 2, 1]
    assert rows[1][1] == round(Decimal(2) / (30 * 86400 + 3600), 18)
    assert rows[1][0].isoformat() == "2024-11-01T00:00:00-04:00"


def test_daily_usage_is_written_whole(tmp_path: Path) -> None:
    meter = a_meter()
    path, daily = daily_usage(fill(tmp_path, meter, FIVE), meter)

    assert pl.read_parquet(path).equals(daily)
    assert daily["quantity"].sum() == Decimal("115.75")
    assert daily.columns == ["bucket_start", "subject", "quantity", "events"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
