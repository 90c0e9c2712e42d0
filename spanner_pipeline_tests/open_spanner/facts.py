"""The rows a query is over: raw events and, after a prune of 0.1.13, rolled-up hours."""

from __future__ import annotations

import sqlite3
from typing import Any

from spanner_pipeline_tests.open_spanner.filters import RAW_ONLY, Condition
from spanner_pipeline_tests.open_spanner.wire import Row, conflict

MARK = "event_time || '|' || id || '|' || shortest(quantity)"
"""A text whose smallest is the first event and whose largest the last; ties fall by id."""

RAW_ROWS = (
    "SELECT subject, event_time, metadata, 1 AS events, quantity AS total,"
    f" quantity AS smallest, quantity AS largest, {MARK} AS first, {MARK} AS last FROM events"
)
ROLLED_ROWS = (
    "SELECT subject, event_time, metadata, events, total, smallest, largest, first, last"
    " FROM (SELECT *, hour AS event_time FROM rollups)"
)
AGGREGATES = {
    "sum": "exact_sum(total)",
    "count": "sum(events)",
    "avg": "exact_sum(total) / sum(events)",
    "min": "min(smallest)",
    "max": "max(largest)",
    "first": "min(first)",
    "last": "max(last)",
    "rate": "sum(events)",
}


def value_of(aggregation: str, raw: float | str, seconds: float) -> float:
    """A group's value out of what SQL aggregated: a mark's quantity, events a second, or it."""
    if isinstance(raw, str):
        return float(raw.rsplit("|", 1)[1])
    return raw / seconds if aggregation == "rate" else raw


def text_of(field: str) -> str:
    """SQL of the text of a dimension (or of the subject); NULL where it is missing."""
    if field == "subject":
        return "subject"
    path = f"'$.{field}'"
    return (
        f"CASE json_type(metadata, {path}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'"
        f" ELSE shortest(json_extract(metadata, {path})) END"
    )


class Facts:
    """One meter's rows within [from, to), by the text of their time: the store's own trap."""

    def __init__(
        self, workspace: str, meter: Row, start: str = "", end: str = "", subject: str = ""
    ) -> None:
        self.workspace, self.meter, self.start, self.end = workspace, meter["name"], start, end
        self.where = Condition()
        self.where.add("workspace = ? AND meter = ?", workspace, self.meter)
        if start:
            self.where.add("event_time >= ?", start)
        if end:
            self.where.add("event_time < ?", end)
        if subject:
            self.where.add("subject = ?", subject)

    def sql(self, store: sqlite3.Connection) -> tuple[str, list[Any]]:
        """SQL of the rows, with its parameters."""
        where, values = self.where.sql(), self.where.values
        raw = f"{RAW_ROWS} WHERE {where}"
        if not self._touches_rolled(store):
            return raw, values
        self._check_answerable()
        return f"{raw} UNION ALL {ROLLED_ROWS} WHERE {where}", values * 2

    def _touches_rolled(self, store: sqlite3.Connection) -> bool:
        row = store.execute(
            "SELECT 1 FROM rollups WHERE workspace = ? AND meter = ? AND hour >= ?"
            " AND (? = '' OR hour < ?) LIMIT 1",
            (self.workspace, self.meter, self.start[:13], self.end, self.end),
        ).fetchone()
        return row is not None

    def _check_answerable(self) -> None:
        """Refuse what only raw rows could answer: part hours, and fields a rollup lost."""
        lost = sorted(self.where.fields & RAW_ONLY)
        if lost:
            raise conflict(f"retained history cannot be filtered by {', '.join(lost)}")
        if any(text and not text.endswith(":00:00Z") for text in (self.start, self.end)):
            raise conflict("queries of retained history must be aligned to whole hours")
