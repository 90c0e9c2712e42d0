"""Buckets without events appear on request, every one of the window, on any clock."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from spanner_pipeline.usage.calendar import Bucket
from spanner_pipeline.usage.query import query_usage
from spanner_pipeline_tests.usage.events import Event, a_meter, fill

START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 5, tzinfo=UTC)
EVENTS = [
    Event("2024-01-02T10:00:00Z", 3, "acme"),
    Event("2024-01-04T10:00:00Z", 5, "acme"),
    Event("2024-01-02T10:00:00Z", 7, "globex"),
]


def test_every_group_has_every_bucket(tmp_path: Path) -> None:
    meter = a_meter()
    root = fill(tmp_path, meter, EVENTS)
    frame = query_usage(root, meter, START, END, group_by=["subject"], empty=True)
    found = [(row[0].day, *row[1:]) for row in frame.rows()]
    assert found == [
        (1, "acme", 0, 0),
        (1, "globex", 0, 0),
        (2, "acme", 3, 1),
        (2, "globex", 7, 1),
        (3, "acme", 0, 0),
        (3, "globex", 0, 0),
        (4, "acme", 5, 1),
        (4, "globex", 0, 0),
    ]


@pytest.mark.parametrize(
    ("aggregation", "nothing"),
    [
        ("sum", Decimal(0)),
        ("count", Decimal(0)),
        ("rate", Decimal(0)),
        *((name, None) for name in ("avg", "min", "max", "first", "last")),
    ],
)
def test_what_nothing_adds_up_to(tmp_path: Path, aggregation: str, nothing: Decimal | None) -> None:
    meter = a_meter(aggregation)
    frame = query_usage(fill(tmp_path, meter, EVENTS), meter, START, END, empty=True)
    assert frame["quantity"].to_list()[::2] == [nothing, nothing]
    assert None not in frame["quantity"].to_list()[1::2]


@pytest.mark.parametrize(
    ("bucket", "zone", "window", "number"),
    [
        ("hour", "UTC", ("2024-01-01T00:30", "2024-01-01T03:00"), 3),
        ("hour", "America/New_York", ("2024-03-10", "2024-03-11"), 23),
        ("hour", "America/New_York", ("2024-11-03", "2024-11-04"), 25),
        ("hour", "Asia/Kolkata", ("2024-01-01", "2024-01-02"), 24),
        ("hour", "Australia/Lord_Howe", ("2024-04-07", "2024-04-08"), 25),
        ("day", "Africa/Cairo", ("2023-04-01", "2023-05-01"), 30),
        ("day", "Pacific/Apia", ("2011-12-28", "2012-01-02"), 4),
        ("month", "America/New_York", ("2023-11-15", "2024-02-01T00:00:01"), 4),
        ("day", "UTC", ("2024-01-01", "2024-01-01"), 0),
    ],
)
def test_a_window_has_each_bucket_once(
    tmp_path: Path, bucket: Bucket, zone: str, window: tuple[str, str], number: int
) -> None:
    meter = a_meter()
    start, end = (datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)) for text in window)
    root = fill(tmp_path, meter, EVENTS[:1])
    frame = query_usage(root, meter, start, end, bucket, zone=zone, empty=True)
    assert frame.height == frame["bucket_start"].n_unique() == number
