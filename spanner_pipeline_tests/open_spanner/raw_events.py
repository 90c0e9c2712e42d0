"""Raw events, newest first, a page at a time; and their end: the prune by retention."""

from __future__ import annotations

import sqlite3
import uuid
from datetime import UTC, datetime, timedelta

from spanner_pipeline_tests.open_spanner.events import answer, subject_of
from spanner_pipeline_tests.open_spanner.facts import MARK
from spanner_pipeline_tests.open_spanner.filters import Condition
from spanner_pipeline_tests.open_spanner.meters import Meters, decode_cursor, encode_cursor
from spanner_pipeline_tests.open_spanner.queries import rows_of
from spanner_pipeline_tests.open_spanner.wire import Row, instant, invalid, now_text, shown, stored

ROLL_UP = f"""
INSERT INTO rollups
SELECT workspace, meter, subject, substr(event_time, 1, 13) || ':00:00Z', metadata, count(*),
       exact_sum(quantity), min(quantity), max(quantity), min({MARK}), max({MARK})
FROM events WHERE workspace = ? AND meter = ? AND event_time < ?
GROUP BY 1, 2, 3, 4, 5
ON CONFLICT DO UPDATE SET
    events = events + excluded.events, total = total + excluded.total,
    smallest = min(smallest, excluded.smallest), largest = max(largest, excluded.largest),
    first = min(first, excluded.first), last = max(last, excluded.last)
"""


class RawEvents:
    """The events as they were stored, while they are kept."""

    def __init__(self, store: sqlite3.Connection, meters: Meters, *, rolls_up: bool) -> None:
        self.store, self.meters, self.rolls_up = store, meters, rolls_up

    def page(self, workspace: str, asked: Row) -> Row:
        """A page of at most 1000 in descending order of time text and id."""
        position = decode_cursor(asked["cursor"])
        if bool(position.get("time")) != bool(position.get("id")):
            raise invalid("cursor needs a time and an id")
        where = Condition()
        where.add("workspace = ?", workspace)
        subject = subject_of(asked["subject"], required=False)
        if subject:
            where.add("subject = ?", subject)
        if asked["meter"].strip():
            where.add("meter = ?", asked["meter"].strip())
        start, end = asked["from"], asked["to"]
        if start and end and instant(start) >= instant(end):
            raise invalid("valid from and to range is required")
        if start:
            where.add("event_time >= ?", start)
        if end:
            where.add("event_time < ?", end)
        where.add_tree(asked["filter"])
        if position.get("time"):
            where.add("(event_time, id) < (?, ?)", position["time"], position["id"])
        size = rows_of(asked["limit"])
        rows = self.store.execute(
            f"SELECT * FROM events WHERE {where.sql()} ORDER BY event_time DESC, id DESC LIMIT ?",
            (*where.values, size + 1),
        ).fetchall()
        page: Row = {"items": [answer(row) for row in rows[:size]]}
        if len(rows) > size:
            last = rows[size - 1]
            page["next_cursor"] = encode_cursor(time=last["event_time"], id=last["id"])
        return page

    def prune(self, workspace: str, *, dry_run: bool) -> Row:
        """Delete what is older than its meter keeps; 0.1.13 first rolls it up by the hour.

        The keys of deleted events are forgotten; batch keys are not.
        """
        self.store.execute("BEGIN IMMEDIATE")
        try:
            meters = [
                self._prune_meter(workspace, meter, dry_run=dry_run)
                for meter in self.meters.find(workspace)
            ]
            self.store.execute("COMMIT")
        except BaseException:
            self.store.execute("ROLLBACK")
            raise
        return {
            "id": str(uuid.uuid4()),
            "deleted": sum(meter["deleted"] for meter in meters),
            "dry_run": dry_run,
            "meters": meters,
            "created_at": shown(now_text()),
        }

    def _prune_meter(self, workspace: str, meter: Row, *, dry_run: bool) -> Row:
        moment = datetime.now(UTC) - timedelta(days=meter["event_retention_days"])
        if self.rolls_up:
            moment = moment.replace(minute=0, second=0, microsecond=0)
        before = stored(moment, f"{moment.microsecond:06d}")
        chosen = (workspace, meter["name"], before)
        old = "FROM events WHERE workspace = ? AND meter = ? AND event_time < ?"
        (deleted,) = self.store.execute(f"SELECT count(*) {old}", chosen).fetchone()
        if not dry_run:
            if self.rolls_up:
                self.store.execute(ROLL_UP, chosen)
            self.store.execute(f"DELETE {old}", chosen)
        return {"meter": meter["name"], "before": shown(before), "deleted": deleted}
