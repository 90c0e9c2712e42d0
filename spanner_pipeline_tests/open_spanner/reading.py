"""What each query call asks for, out of its address or its body."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request

from spanner_pipeline_tests.open_spanner.filters import Condition
from spanner_pipeline_tests.open_spanner.wire import (
    ANY,
    INVALID_JSON,
    LIST,
    TEXT,
    WHOLE,
    RefusalError,
    Row,
    parse,
    read_fields,
    required_time,
    time_text,
)


class Asked(NamedTuple):
    """A request as it was read.

    Attributes:
        what: What the call needs.
        meters: The meters it names, for keys that may use only some ('' names none).
        meter_id: The id of the meter that it is about instead.
    """

    what: Any
    meters: list[str]
    meter_id: str = ""


COMMON = {"subject": TEXT, "meter": TEXT, "from": TEXT, "to": TEXT, "limit": WHOLE, "filter": ANY}
BUCKETS = COMMON | {"bucket_size": TEXT, "group_by": LIST}
BREAKDOWN = COMMON | {"field": TEXT}
EVENTS = COMMON | {"cursor": TEXT}


def limit_of(request: Request) -> int:
    text = request.query_params.get("limit", "")
    if not text:
        return 0
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if limit <= 0:
        raise RefusalError(400, "invalid_limit", "limit must be a positive integer")
    return limit


def _query(request: Request, fields: dict[str, Any]) -> Row:
    """The fields of a GET; those of a body alone stay blank."""
    limit = limit_of(request)
    asked: Row = {name: request.query_params.get(name, "") for name in fields}
    return asked | {"limit": limit, "filter": None}


def _timed(asked: Row, *, required: bool) -> Asked:
    read = required_time if required else time_text
    asked |= {name: read(asked[name], name) for name in ("from", "to")}
    Condition().add_tree(asked["filter"])
    return Asked(asked, [asked["meter"]])


def bucket_query(request: Request, body: bytes) -> Asked:
    asked = _query(request, BUCKETS)
    asked["group_by"] = request.query_params.getlist("group_by")
    asked["metadata"] = {
        name.removeprefix("metadata."): request.query_params.getlist(name)[0]
        for name in request.query_params
        if name.startswith("metadata.")
    }
    return _timed(asked, required=True)


def bucket_search(request: Request, body: bytes) -> Asked:
    asked = read_fields(parse(body), BUCKETS)
    if not all(isinstance(item, str) for item in asked["group_by"] or []):
        raise RefusalError(400, *INVALID_JSON)
    return _timed(asked, required=True)


def breakdown_search(request: Request, body: bytes) -> Asked:
    return _timed(read_fields(parse(body), BREAKDOWN), required=True)


def dimension_query(request: Request, body: bytes) -> Asked:
    return _timed(_query(request, BREAKDOWN), required=False)


def event_query(request: Request, body: bytes) -> Asked:
    return _timed(_query(request, EVENTS), required=False)


def event_search(request: Request, body: bytes) -> Asked:
    return _timed(read_fields(parse(body), EVENTS), required=False)


def prune_query(request: Request, body: bytes) -> Asked:
    text = request.query_params.get("dry_run", "")
    if text not in ("", "1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "False"):
        raise RefusalError(400, "invalid_dry_run", "dry_run must be true or false")
    return Asked(text[:1] in ("1", "t", "T"), [""])
