"""Meters: made once a name, changed within the safety rules, found by exact name."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import uuid
from typing import Any

from spanner_pipeline_tests.open_spanner.wire import (
    ANY,
    FLAG,
    LIST,
    TEXT,
    WHOLE,
    Field,
    RefusalError,
    Row,
    conflict,
    invalid,
    not_found,
    now_text,
    parse,
    read_fields,
    shown,
)

AGGREGATIONS = ("sum", "count", "avg", "min", "max", "first", "last", "rate")
DIMENSION_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
DIMENSION_FIELDS = {
    "name": TEXT,
    "type": TEXT,
    "display_name": TEXT,
    "description": TEXT,
    "required": Field(bool, True),
    "deprecated": FLAG,
}
NEW_FIELDS = {
    "name": TEXT,
    "description": TEXT,
    "unit": TEXT,
    "aggregation": TEXT,
    "dimensions": LIST,
    "event_retention_days": WHOLE,
}
CHANGE_FIELDS = {name: Field(field.kind) for name, field in NEW_FIELDS.items() if name != "name"}
DEFAULT_RETENTION_DAYS, MAX_RETENTION_DAYS = 90, 3650


def dimension(document: Any) -> Row:
    """One dimension, checked; required unless it says otherwise."""
    read = read_fields(document, DIMENSION_FIELDS)
    name = read["name"].strip()
    if not DIMENSION_NAME.fullmatch(name):
        raise invalid(f'dimension name "{name}" must use letters, numbers, underscores or dots')
    if name == "subject":
        raise invalid(f'dimension name "{name}" is reserved')
    if read["type"] not in ("string", "number", "boolean"):
        raise invalid(f'unsupported dimension type "{read["type"]}"')
    words = [part[:1].upper() + part[1:] for part in re.split(r"[._-]+", name) if part]
    return {
        "name": name,
        "display_name": read["display_name"].strip() or " ".join(words),
        "description": read["description"].strip(),
        "type": read["type"],
        "required": read["required"],
        "deprecated": read["deprecated"],
    }


def checked(meter: Row) -> Row:
    """A meter's document with its texts trimmed and its defaults filled in, or a refusal."""
    tidy = meter | {field: meter[field].strip() for field in ("name", "description", "unit")}
    tidy["aggregation"] = meter["aggregation"] or "sum"
    for field in ("name", "unit"):
        if not tidy[field]:
            raise invalid(f"meter {field} is required")
    if tidy["aggregation"] not in AGGREGATIONS:
        raise invalid(f'unsupported aggregation "{tidy["aggregation"]}"')
    names = [item["name"] for item in tidy["dimensions"]]
    if len(set(names)) < len(names):
        raise invalid("a dimension is already defined")
    days = meter["event_retention_days"]
    if not 0 <= days <= MAX_RETENTION_DAYS:
        raise invalid(f"event retention days must be within 1 and {MAX_RETENTION_DAYS}")
    tidy["event_retention_days"] = days or DEFAULT_RETENTION_DAYS
    return tidy


def needs_value(item: Row) -> bool:
    """Whether events must carry a dimension: required, and not deprecated."""
    return bool(item["required"] and not item["deprecated"])


class Meters:
    """The meters of all workspaces."""

    def __init__(self, store: sqlite3.Connection) -> None:
        self.store = store

    def create(self, workspace: str, body: bytes) -> Row:
        read = read_fields(parse(body), NEW_FIELDS)
        read["dimensions"] = [dimension(item) for item in read["dimensions"] or []]
        meter = {"id": str(uuid.uuid4())} | checked(read) | {"created_at": shown(now_text())}
        try:
            self.store.execute(
                "INSERT INTO meters VALUES (?, ?, ?, ?)",
                (meter["id"], workspace, meter["name"], json.dumps(meter)),
            )
        except sqlite3.IntegrityError:
            raise conflict("a meter of that name exists") from None
        return meter

    def change(self, workspace: str, meter_id: str, body: bytes) -> Row:
        old = self.by_id(workspace, meter_id)
        read = read_fields(parse(body), CHANGE_FIELDS)
        given = {name: value for name, value in read.items() if value is not None}
        if "dimensions" in given:
            given["dimensions"] = [dimension(item) for item in given["dimensions"]]
        new = checked(old | given)
        if self.has_usage(workspace, old["name"]):
            forbid_breaking(old, new)
        self.store.execute(
            "UPDATE meters SET document = ? WHERE id = ?", (json.dumps(new), meter_id)
        )
        return new

    def delete(self, workspace: str, meter_id: str) -> None:
        meter = self.by_id(workspace, meter_id)
        if self.has_usage(workspace, meter["name"]):
            raise conflict("the meter has usage")
        self.store.execute("DELETE FROM meters WHERE id = ?", (meter_id,))

    def by_id(self, workspace: str, meter_id: str) -> Row:
        row = self.store.execute(
            "SELECT document FROM meters WHERE workspace = ? AND id = ?", (workspace, meter_id)
        ).fetchone()
        if row is None:
            raise not_found()
        return dict(json.loads(row["document"]))

    def find(self, workspace: str, name: str = "", after: str = "", limit: int = -1) -> list[Row]:
        """Meters by name; a blank name filters nothing (the server's own trap)."""
        rows = self.store.execute(
            "SELECT document FROM meters WHERE workspace = ? AND (? = '' OR name = ?)"
            " AND name > ? ORDER BY name LIMIT ?",
            (workspace, name, name, after, limit),
        )
        return [json.loads(row["document"]) for row in rows]

    def first(self, workspace: str, name: str) -> Row:
        found = self.find(workspace, name, limit=1)
        if not found:
            raise not_found()
        return found[0]

    def page(self, workspace: str, name: str, limit: int, cursor: str) -> Row:
        size = min(limit or 50, 500)
        found = self.find(workspace, name, decode_cursor(cursor).get("name", ""), size + 1)
        if len(found) <= size:
            return {"items": found}
        last = found[size - 1]["name"]
        return {"items": found[:size], "next_cursor": encode_cursor(name=last)}

    def stats(self, workspace: str, limit: int, cursor: str) -> Row:
        page = self.page(workspace, "", limit, cursor)
        page["items"] = [self._stat(workspace, meter) for meter in page["items"]]
        return page

    def _stat(self, workspace: str, meter: Row) -> Row:
        events, last = self.store.execute(
            "SELECT count(*), max(event_time) FROM events WHERE workspace = ? AND meter = ?",
            (workspace, meter["name"]),
        ).fetchone()
        stat: Row = {"meter": meter["name"], "usage_events": events}
        if last is not None:
            stat["last_event_at"] = shown(last)
        return stat | {"retention_days": meter["event_retention_days"]}

    def has_usage(self, workspace: str, name: str) -> bool:
        return any(
            self.store.execute(
                f"SELECT 1 FROM {table} WHERE workspace = ? AND meter = ? LIMIT 1",
                (workspace, name),
            ).fetchone()
            for table in ("events", "rollups")
        )


def forbid_breaking(old: Row, new: Row) -> None:
    """Refuse what recorded events would no longer fit: gone, retyped or newly needed."""
    before = {item["name"]: item for item in old["dimensions"]}
    after = {item["name"]: item for item in new["dimensions"]}
    for name, item in before.items():
        if name not in after:
            raise conflict(f'dimension "{name}" cannot be removed after usage has been recorded')
        if after[name]["type"] != item["type"]:
            raise conflict(f'dimension "{name}" cannot change type after usage')
        if needs_value(after[name]) and not needs_value(item):
            raise conflict(f'dimension "{name}" cannot become required after usage')
    for name in after.keys() - before.keys():
        if needs_value(after[name]):
            raise conflict(f'required dimension "{name}" cannot be added after usage')


def encode_cursor(**position: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> dict[str, str]:
    if not cursor:
        return {}
    try:
        read = read_fields(
            json.loads(base64.urlsafe_b64decode(cursor + "==")), dict.fromkeys(KEYS, ANY)
        )
    except (ValueError, RefusalError):
        raise invalid("invalid cursor") from None
    return {name: str(value) for name, value in read.items() if value is not None}


KEYS = ("name", "time", "id")
"""What a cursor can hold."""
