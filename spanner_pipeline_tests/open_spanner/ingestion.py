"""Writing usage: one event, or a batch with partial success and two kinds of idempotency."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from spanner_pipeline_tests.open_spanner import events
from spanner_pipeline_tests.open_spanner.meters import Meters
from spanner_pipeline_tests.open_spanner.wire import (
    INVALID_JSON,
    RefusalError,
    Row,
    invalid,
    parse,
    read_fields,
    time_text,
)

MAX_BULK_EVENTS = 1000
KEYS_A_LOOKUP = 500
INSERT = f"INSERT INTO events VALUES ({', '.join(f':{name}' for name in events.COLUMNS)})"


def read_single(body: bytes) -> Row:
    return read_fields(parse(body), events.FIELDS)


def read_bulk(body: bytes) -> list[Row]:
    """The events of a bare array; one of a wrong JSON type refuses the whole request."""
    document = parse(body)
    if document is not None and not isinstance(document, list):
        raise RefusalError(400, *INVALID_JSON)
    return [read_fields(item, events.FIELDS) for item in document or []]


class Ingestion:
    """Stores events; each call is one transaction."""

    def __init__(self, store: sqlite3.Connection, meters: Meters) -> None:
        self.store, self.meters = store, meters

    def single(self, workspace: str, read: Row) -> Row:
        event_time = time_text(read["timestamp"], "timestamp")
        meter = self.meters.first(workspace, read["meter"])
        fresh = events.event(workspace, read, event_time, meter)
        accepted, duplicates = self._store(workspace, [fresh])
        return (accepted + duplicates)[0]

    def bulk(self, workspace: str, batch_key: str, batch: list[Row]) -> tuple[int, Row]:
        """The status and body of a bulk call."""
        if not batch:
            raise invalid("at least one usage event is required")
        if len(batch) > MAX_BULK_EVENTS:
            raise invalid(f"bulk usage event limit is {MAX_BULK_EVENTS}")
        good, failed = self._sorted_out(workspace, batch)
        stored: Row = {"accepted_items": [], "duplicate_items": []}
        if good:
            stored = self._replay_or_store(workspace, batch_key.strip(), good)
        body = {
            "accepted": len(stored["accepted_items"]),
            "duplicates": len(stored["duplicate_items"]),
            "failed": len(failed),
            **stored,
            "failed_items": failed,
        }
        return (201 if good else 400), body

    def _sorted_out(self, workspace: str, batch: list[Row]) -> tuple[list[Row], list[Row]]:
        known: dict[str, Row] = {}
        good: list[Row] = []
        failed: list[Row] = []
        for index, read in enumerate(batch):
            try:
                event_time = time_text(read["timestamp"], "timestamp")
                name = read["meter"]
                if name not in known:
                    known[name] = self.meters.first(workspace, name)
                good.append(events.event(workspace, read, event_time, known[name]))
            except RefusalError as refusal:
                failed.append({"index": index, "code": refusal.code, "message": refusal.message})
        return good, failed

    def _replay_or_store(self, workspace: str, batch_key: str, good: list[Row]) -> Row:
        """The stored answer of a known batch key, whatever the new body; else a new one."""
        known = self.store.execute(
            "SELECT response FROM batches WHERE workspace = ? AND batch_key = ?",
            (workspace, batch_key),
        ).fetchone()
        if known is not None:
            return dict(json.loads(known["response"]))
        self.store.execute("BEGIN IMMEDIATE")
        try:
            accepted, duplicates = self._store(workspace, good)
            answer: Row = {"accepted_items": accepted, "duplicate_items": duplicates}
            if batch_key:
                self.store.execute(
                    "INSERT INTO batches VALUES (?, ?, ?)",
                    (workspace, batch_key, json.dumps(answer)),
                )
            self.store.execute("COMMIT")
        except BaseException:
            self.store.execute("ROLLBACK")
            raise
        return answer

    def _store(self, workspace: str, good: list[Row]) -> tuple[list[Row], list[Row]]:
        """Store new events; of a key that is known, the original comes back as duplicate."""
        known = self._by_key(workspace, [event["idempotency_key"] for event in good])
        fresh: list[Row] = []
        duplicates: list[Row] = []
        for event in good:
            key = event["idempotency_key"]
            if key is not None and key in known:
                duplicates.append(events.answer(known[key]))
                continue
            if key is not None:
                known[key] = event
            fresh.append(event)
        self.store.executemany(INSERT, fresh)
        return [events.answer(event) for event in fresh], duplicates

    def _by_key(self, workspace: str, keys: list[str | None]) -> dict[str, Any]:
        wanted = [key for key in keys if key is not None]
        found: dict[str, Any] = {}
        for start in range(0, len(wanted), KEYS_A_LOOKUP):
            some = wanted[start : start + KEYS_A_LOOKUP]
            rows = self.store.execute(
                "SELECT * FROM events WHERE workspace = ? AND idempotency_key IN"
                f" ({', '.join('?' * len(some))})",
                (workspace, *some),
            )
            found |= {row["idempotency_key"]: row for row in rows}
        return found
