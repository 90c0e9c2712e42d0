"""What usage adds up to: buckets, breakdowns and the values of a dimension."""

from __future__ import annotations

import calendar
import sqlite3
from datetime import timedelta
from typing import Any

from spanner_pipeline_tests.open_spanner.events import subject_of
from spanner_pipeline_tests.open_spanner.facts import AGGREGATES, Facts, text_of, value_of
from spanner_pipeline_tests.open_spanner.meters import DIMENSION_NAME, Meters
from spanner_pipeline_tests.open_spanner.wire import Row, instant, invalid, number

DEFAULT_ROWS, MAX_ROWS, MAX_GROUPS = 100, 1000, 5
STARTS = {
    "hour": "substr(event_time, 1, 13) || ':00:00Z'",
    "day": "substr(event_time, 1, 10) || 'T00:00:00Z'",
    "month": "substr(event_time, 1, 7) || '-01T00:00:00Z'",
}
LONGEST = {"hour": timedelta(days=31), "day": timedelta(days=366)}
LONGEST_YEARS = 5


def rows_of(limit: int) -> int:
    """How many rows a query answers: 100 unless told, 1000 at most, and no word of a cut."""
    return min(limit, MAX_ROWS) if limit > 0 else DEFAULT_ROWS


def check_range(start: str, end: str, size: str) -> None:
    """Refuse a window that is empty, or longer than its bucket size allows."""
    if not start or not end or instant(start) >= instant(end):
        raise invalid("valid from and to range is required")
    if size not in STARTS:
        raise invalid(f'unsupported bucket size "{size}"')
    first, last = instant(start), instant(end)
    if size in LONGEST and last - first > LONGEST[size]:
        raise invalid(f"{size} bucket range cannot exceed {LONGEST[size].days} days")
    if size == "month" and last > years_later(first):
        raise invalid(f"month bucket range cannot exceed {LONGEST_YEARS} years")


def years_later(first: Any) -> Any:
    """The same day five years on; 29 February runs over into March, as in Go."""
    year = first.year + LONGEST_YEARS
    if (first.month, first.day) == (2, 29) and not calendar.isleap(year):
        return first.replace(year=year, month=3, day=1)
    return first.replace(year=year)


def seconds_of(bucket_start: str, size: str) -> float:
    """The full length of a bucket, however little of it was asked for."""
    if size == "month":
        start = instant(bucket_start)
        return calendar.monthrange(start.year, start.month)[1] * 86_400
    return 3_600 if size == "hour" else 86_400


def group_fields(asked: list[str], meter: Row) -> list[str]:
    """The fields to group by, each once: the subject or a defined dimension."""
    parts = [part.strip() for text in asked for part in text.split(",")]
    fields = list(dict.fromkeys(part for part in parts if part))
    if len(fields) > MAX_GROUPS:
        raise invalid(f"group_by supports up to {MAX_GROUPS} fields")
    for field in fields:
        check_field(field, meter, subject=True)
    return fields


def check_field(field: str, meter: Row, *, subject: bool) -> None:
    names = {item["name"] for item in meter["dimensions"]}
    if field not in names and not (subject and field == "subject"):
        raise invalid(f'unknown field "{field}"')


class Queries:
    """Answers from the events of a workspace, by the meter's aggregation of today."""

    def __init__(self, store: sqlite3.Connection, meters: Meters) -> None:
        self.store, self.meters = store, meters

    def buckets(self, workspace: str, asked: Row) -> list[Row]:
        """Non-empty buckets in order of time and group, at most 1000."""
        meter = self.meters.first(workspace, asked["meter"])
        fields = group_fields(asked["group_by"] or [], meter)
        subject = subject_of(asked["subject"], required=False)
        size = asked["bucket_size"] or "day"
        check_range(asked["from"], asked["to"], size)
        facts = Facts(workspace, meter, asked["from"], asked["to"], subject)
        for name, text in asked.get("metadata", {}).items():
            add_metadata_text(facts, name.strip(), text.strip())
        facts.where.add_tree(asked["filter"])
        rows, values = facts.sql(self.store)
        groups = [f"coalesce({text_of(field)}, '<nil>')" for field in fields]
        places = ", ".join(str(place + 1) for place in range(len(fields) + 1))
        found = self.store.execute(
            f"SELECT {', '.join([STARTS[size], *groups])}, {AGGREGATES[meter['aggregation']]}"
            f" FROM ({rows}) GROUP BY {places} ORDER BY {places} LIMIT ?",
            (*values, rows_of(asked["limit"])),
        )
        return [bucket(meter, size, subject, fields, tuple(row)) for row in found]

    def breakdown(self, workspace: str, asked: Row) -> Row:
        """One value and event count a field value; without those that lack it."""
        meter = self.meters.first(workspace, asked["meter"])
        field = asked["field"].strip().removeprefix("metadata.")
        check_field(field, meter, subject=True)
        subject = subject_of(asked["subject"], required=False)
        start, end = asked["from"], asked["to"]
        if not start or not end or instant(start) >= instant(end):
            raise invalid("valid from and to range is required")
        facts = Facts(workspace, meter, start, end, subject)
        facts.where.add_tree(asked["filter"])
        rows, values = facts.sql(self.store)
        aggregation = meter["aggregation"]
        found = self.store.execute(
            f"SELECT {text_of(field)} AS value, {AGGREGATES[aggregation]}, sum(events)"
            f" FROM ({rows}) GROUP BY 1 HAVING value <> ''",
            values,
        )
        seconds = (instant(end) - instant(start)).total_seconds()
        items = [
            {
                "field": field,
                "value": value,
                "quantity": number(value_of(aggregation, raw, seconds)),
                "events": events,
                "aggregation": aggregation,
                "unit": meter["unit"],
            }
            for value, raw, events in found
        ]
        items.sort(key=lambda item: (-item["quantity"], item["value"]))
        return {"items": items[: rows_of(asked["limit"])]}

    def dimension_values(self, workspace: str, asked: Row) -> Row:
        """The values of a dimension with how many events carry each."""
        meter = self.meters.first(workspace, asked["meter"])
        field = asked["field"].strip().removeprefix("metadata.")
        check_field(field, meter, subject=False)
        subject = subject_of(asked["subject"], required=False)
        start, end = asked["from"], asked["to"]
        if start and end and instant(start) >= instant(end):
            raise invalid("valid from and to range is required")
        rows, values = Facts(workspace, meter, start, end, subject).sql(self.store)
        found = self.store.execute(
            f"SELECT {text_of(field)} AS value, sum(events) AS events FROM ({rows})"
            " GROUP BY 1 HAVING value <> '' ORDER BY events DESC, value LIMIT ?",
            (*values, rows_of(asked["limit"])),
        )
        return {"items": [{"field": field, **dict(row)} for row in found]}


def add_metadata_text(facts: Facts, name: str, text: str) -> None:
    """The `metadata.<name>=<text>` of a GET."""
    if not text or not DIMENSION_NAME.fullmatch(name):
        raise invalid("metadata filter key and value are required")
    facts.where.add(f"coalesce({text_of(name)}, '<nil>') = ?", text)


def bucket(meter: Row, size: str, subject: str, fields: list[str], row: tuple[Any, ...]) -> Row:
    start, *texts, raw = row
    group = dict(zip(fields, texts, strict=True))
    quantity = value_of(meter["aggregation"], raw, seconds_of(start, size))
    shown: Row = {
        "subject": group.get("subject", subject),
        "meter": meter["name"],
        "bucket_size": size,
        "bucket_start": start,
        "aggregation": meter["aggregation"],
        "unit": meter["unit"],
        "quantity": number(quantity),
    }
    return shown | {"group": group} if group else shown
