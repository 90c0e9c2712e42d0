"""What makes an event good: its meter, its dimensions, its subject, its quantity."""

from __future__ import annotations

import copy
import json
import re
import uuid
from typing import Any

from spanner_pipeline_tests.open_spanner.meters import needs_value
from spanner_pipeline_tests.open_spanner.wire import (
    NUMBER,
    OBJECT,
    TEXT,
    Row,
    doubles,
    invalid,
    now_text,
    number,
    shown,
)

SUBJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", re.ASCII)
FIELDS = {
    "idempotency_key": TEXT,
    "subject": TEXT,
    "meter": TEXT,
    "quantity": NUMBER,
    "timestamp": TEXT,
    "metadata": OBJECT,
}
COLUMNS = (
    "id",
    "workspace",
    "idempotency_key",
    "subject",
    "meter",
    "quantity",
    "event_time",
    "received_at",
    "metadata",
)


def subject_of(text: str, *, required: bool) -> str:
    """A subject without the blanks around it, or a refusal."""
    subject = text.strip()
    if not subject:
        if required:
            raise invalid("subject is required")
        return ""
    if len(subject.encode()) > 128 or not SUBJECT.fullmatch(subject):
        raise invalid("subject must be at most 128 letters, numbers and any of _.:-")
    return subject


def event(workspace: str, read: Row, event_time: str, meter: Row) -> Row:
    """The event as it is stored, or a refusal with what is wrong with it."""
    metadata = normal_metadata(doubles(read["metadata"] or {}), meter["dimensions"])
    subject = subject_of(read["subject"], required=True)
    if read["quantity"] <= 0:
        raise invalid("quantity must be greater than zero")
    received = now_text()
    return {
        "id": str(uuid.uuid4()),
        "workspace": workspace,
        "idempotency_key": read["idempotency_key"].strip() or None,
        "subject": subject,
        "meter": meter["name"],
        "quantity": float(read["quantity"]),
        "event_time": event_time or received,
        "received_at": received,
        "metadata": json.dumps(metadata),
    }


def normal_metadata(metadata: Row, dimensions: list[Row]) -> Row:
    """The metadata with every defined dimension of its type, dotted ones nested."""
    normal = copy.deepcopy(metadata) if dimensions else metadata
    for item in dimensions:
        name = item["name"]
        there, value = look_up(metadata, name)
        if not there:
            if needs_value(item):
                raise invalid(f'dimension "{name}" is required')
            continue
        if not is_of_type(value, item["type"]):
            raise invalid(f'dimension "{name}" must be {item["type"]}')
        if "." in name:
            nest(normal, name, value)
    return normal


def look_up(metadata: Row, name: str) -> tuple[bool, Any]:
    """Whether a dimension is there, flat or nested, and its value."""
    if name in metadata:
        return True, metadata[name]
    node: Any = metadata
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            return False, None
        node = node[part]
    return True, node


def is_of_type(value: Any, kind: str) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "boolean": bool}[kind])


def nest(metadata: Row, name: str, value: Any) -> None:
    node = metadata
    *way, last = name.split(".")
    for part in way:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise invalid(f'dimension "{name}" conflicts with existing metadata')
    node[last] = value
    metadata.pop(name, None)


def answer(stored: Any) -> Row:
    """A stored event as answers show it; times in whole seconds."""
    key = {"idempotency_key": stored["idempotency_key"]} if stored["idempotency_key"] else {}
    return (
        {"id": stored["id"]}
        | key
        | {
            "subject": stored["subject"],
            "meter": stored["meter"],
            "quantity": number(stored["quantity"]),
            "timestamp": shown(stored["event_time"]),
            "received_at": shown(stored["received_at"]),
            "metadata": json.loads(stored["metadata"]),
        }
    )
