"""The same questions asked of the lake and of a plain model in Python give the same answers."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spanner_pipeline.usage.filters import Texts
from spanner_pipeline.usage.query import query_usage
from spanner_pipeline_tests.usage.events import Event, a_meter, fill

Bucket = Literal["hour", "day", "month"]
ZONES = ("UTC", "America/New_York", "America/Sao_Paulo", "Africa/Cairo", "Asia/Kolkata")
MIDDLES = (
    datetime(2018, 11, 4, 3, tzinfo=UTC),  # Sao Paulo skips a midnight
    datetime(2023, 4, 27, 22, tzinfo=UTC),  # and Cairo
    datetime(2024, 11, 3, 6, tzinfo=UTC),  # New York repeats an hour
    datetime(2024, 3, 1, tzinfo=UTC),  # after a leap day
)
NAMES = ("region", "size", "trial")
DIMENSIONS = [
    {"name": name, "type": kind, "required": False}
    for name, kind in zip(NAMES, ("string", "number", "boolean"), strict=True)
]

moments = st.builds(
    lambda middle, seconds, microseconds: (
        middle + timedelta(seconds=seconds, microseconds=microseconds)
    ),
    st.sampled_from(MIDDLES),
    st.sampled_from((-86400, -3600, -1800, 0, 1800, 3600)) | st.integers(-200_000, 200_000),
    st.sampled_from((0, 0, 1, 999_999)),
)
quantities = st.decimals(
    min_value=Decimal("-1e20"), max_value=Decimal("1e20"), places=9, allow_nan=False
)
dimensions = st.fixed_dictionaries(
    {},
    optional={
        "region": st.sampled_from(("eu", "us", "")),
        "size": st.sampled_from([Decimal(n) for n in ("0", "0.1", "1", "10", "100", "-2.50")]),
        "trial": st.booleans(),
    },
)
events = st.lists(
    st.builds(Event, moments, quantities, st.sampled_from(("acme", "globex")), dimensions),
    max_size=25,
)


def spelled(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def first_instant(year: int, month: int, day: int, zone: ZoneInfo) -> datetime:
    """The first second at which a clock shows the day, by walking."""
    moment = datetime(year, month, day, tzinfo=UTC) - timedelta(hours=26)
    while moment.astimezone(zone).date() < datetime(year, month, day).date():
        moment += timedelta(minutes=30)
    return moment


def bucket_of(moment: datetime, bucket: Bucket, zone: ZoneInfo) -> tuple[datetime, Fraction]:
    """Start and length in seconds of the bucket that a moment is in."""
    local = moment.astimezone(zone)
    if bucket == "hour":
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return moment - into, Fraction(3600)
    day = local.date() if bucket == "day" else local.date().replace(day=1)
    after = day + timedelta(days=1)
    while bucket == "month" and after.day != 1:
        after += timedelta(days=1)
    start = first_instant(day.year, day.month, day.day, zone)
    end = first_instant(after.year, after.month, after.day, zone)
    return start, Fraction((end - start) // timedelta(seconds=1))


def aggregate(aggregation: str, chosen: list[tuple[str, Event]], seconds: Fraction) -> Fraction:
    numbers = [Fraction(event.exact) for _, event in chosen]
    ordered = sorted(chosen, key=lambda item: (item[1].moment, item[0]))
    return {
        "sum": sum(numbers, Fraction(0)),
        "count": Fraction(len(numbers)),
        "avg": sum(numbers, Fraction(0)) / len(numbers),
        "min": min(numbers),
        "max": max(numbers),
        "first": Fraction(ordered[0][1].exact),
        "last": Fraction(ordered[-1][1].exact),
        "rate": len(numbers) / seconds,
    }[aggregation]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    events=events,
    aggregation=st.sampled_from(("sum", "count", "avg", "min", "max", "first", "last", "rate")),
    bucket=st.sampled_from(("hour", "day", "month")),
    group_by=st.lists(st.sampled_from(("subject", *NAMES)), unique=True, max_size=2),
    only=st.none() | st.sampled_from(("acme", "globex")),
    zone=st.sampled_from(ZONES),
    window=st.tuples(moments, moments),
)
def test_the_lake_agrees_with_a_plain_model(
    events: list[Event],
    aggregation: str,
    bucket: Bucket,
    group_by: list[str],
    only: str | None,
    zone: str,
    window: tuple[datetime, datetime],
) -> None:
    start, end = min(window), max(window)
    parts: dict[tuple[Any, ...], list[tuple[str, Event]]] = defaultdict(list)
    lengths: dict[datetime, Fraction] = {}
    for index, event in enumerate(events):
        if start <= event.moment < end and only in (None, event.subject):
            first, lengths[first] = bucket_of(event.moment, bucket, ZoneInfo(zone))
            groups = [
                event.subject if name == "subject" else spelled(event.dimensions.get(name))
                for name in group_by
            ]
            parts[first, *groups].append((f"key_{index:06}", event))
    meter = a_meter(aggregation, dimensions=DIMENSIONS)
    where = Texts(field="subject", texts=(only,)) if only else None
    with tempfile.TemporaryDirectory() as folder:
        root = fill(Path(folder), meter, events)
        frame = query_usage(root, meter, start, end, bucket, group_by, where, zone)

    assert [(*row[:-2], row[-1]) for row in frame.rows()] == [
        (*key, len(parts[key])) for key in sorted(parts)
    ]
    for row in frame.rows():
        expected = aggregate(aggregation, parts[row[:-2]], lengths[row[0]])
        error = abs(Fraction(row[-2]) - expected)
        limit = Fraction(1, 10**16) if aggregation in ("avg", "rate") else 0
        assert error <= limit, (row, expected)
