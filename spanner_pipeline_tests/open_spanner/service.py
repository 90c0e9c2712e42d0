"""The calls of the server: for each its path, the scope it needs, its reading and its doing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.requests import Request

from spanner_pipeline_tests.open_spanner import reading
from spanner_pipeline_tests.open_spanner.ingestion import (
    MAX_BULK_EVENTS,
    Ingestion,
    read_bulk,
    read_single,
)
from spanner_pipeline_tests.open_spanner.limits import Limits
from spanner_pipeline_tests.open_spanner.meters import NEW_FIELDS, Meters
from spanner_pipeline_tests.open_spanner.queries import Queries
from spanner_pipeline_tests.open_spanner.raw_events import RawEvents
from spanner_pipeline_tests.open_spanner.reading import Asked
from spanner_pipeline_tests.open_spanner.wire import RefusalError, parse, read_fields

Answer = tuple[int, Any]


class Call(NamedTuple):
    """One call.

    Attributes:
        method: GET, POST, PUT or DELETE.
        path: Its path, with `{id}` for a part that names something.
        scope: What a key must be allowed.
        read: Reads the request; refuses what cannot be read.
        act: Does it, for a workspace.
    """

    method: str
    path: str
    scope: str
    read: Callable[[Request, bytes], Asked]
    act: Callable[[str, Any], Answer]


class Service:
    """All calls over one store."""

    def __init__(self, store: sqlite3.Connection, version: str, limits: Limits) -> None:
        self.limits = limits
        self.meters = Meters(store)
        self.ingestion = Ingestion(store, self.meters)
        self.queries = Queries(store, self.meters)
        self.raw = RawEvents(store, self.meters, rolls_up=version != "0.1.12")

    def calls(self) -> list[Call]:
        """Every call, the more special path before the more general one."""
        return [*self._meter_calls(), *self._usage_calls(), *self._event_calls()]

    def _meter_calls(self) -> list[Call]:
        meters = self.meters
        one = "/v1/meters/{id}"
        return [
            Call(
                "POST", "/v1/meters", "meters:write", _new_meter,
                lambda space, body: (201, meters.create(space, body)),
            ),
            Call(
                "GET", "/v1/meters", "meters:read", _page,
                lambda space, asked: (200, meters.page(space, *asked)),
            ),
            Call(
                "GET", "/v1/meters/stats", "meters:read", _stats_page,
                lambda space, asked: (200, meters.stats(space, *asked[1:])),
            ),
            Call(
                "GET", one, "meters:read", _by_id,
                lambda space, asked: (200, meters.by_id(space, asked[0])),
            ),
            Call(
                "PUT", one, "meters:write", _by_id,
                lambda space, asked: (200, meters.change(space, *asked)),
            ),
            Call(
                "DELETE", one, "meters:write", _by_id,
                lambda space, asked: (204, meters.delete(space, asked[0])),
            ),
        ]  # fmt: skip

    def _usage_calls(self) -> list[Call]:
        queries = self.queries
        return [
            Call("POST", "/v1/usages", "usage:write", _single, self._single),
            Call("POST", "/v1/usages/bulk", "usage:write", _bulk, self._bulk),
            Call("GET", "/v1/usages", "usage:read", reading.bucket_query, self._buckets),
            Call("POST", "/v1/usages/search", "usage:read", reading.bucket_search, self._buckets),
            Call(
                "POST", "/v1/usages/breakdowns/search", "usage:read", reading.breakdown_search,
                lambda space, asked: (200, queries.breakdown(space, asked)),
            ),
            Call(
                "GET", "/v1/usages/dimensions", "usage:read", reading.dimension_query,
                lambda space, asked: (200, queries.dimension_values(space, asked)),
            ),
        ]  # fmt: skip

    def _event_calls(self) -> list[Call]:
        return [
            Call("GET", "/v1/usageevents", "usage:read", reading.event_query, self._events),
            Call(
                "POST", "/v1/usageevents/search", "usage:read", reading.event_search, self._events
            ),
            Call("POST", "/v1/usageevents/prune", "usage:write", reading.prune_query, self._prune),
        ]

    def _single(self, space: str, event: Any) -> Answer:
        self.limits.charge(space, 1)
        return 201, self.ingestion.single(space, event)

    def _bulk(self, space: str, asked: Any) -> Answer:
        batch_key, batch = asked
        if len(batch) <= MAX_BULK_EVENTS:
            self.limits.charge(space, len(batch))
        return self.ingestion.bulk(space, batch_key, batch)

    def _buckets(self, space: str, asked: Any) -> Answer:
        return 200, self.queries.buckets(space, asked)

    def _events(self, space: str, asked: Any) -> Answer:
        return 200, self.raw.page(space, asked)

    def _prune(self, space: str, dry_run: Any) -> Answer:
        return 200, self.raw.prune(space, dry_run=dry_run)


def _new_meter(request: Request, body: bytes) -> Asked:
    return Asked(body, [read_fields(parse(body), NEW_FIELDS)["name"]])


def _page(request: Request, body: bytes) -> Asked:
    name = request.query_params.get("name", "")
    cursor = request.query_params.get("cursor", "")
    return Asked((name, reading.limit_of(request), cursor), [name])


def _stats_page(request: Request, body: bytes) -> Asked:
    asked = _page(request, body)
    return Asked(asked.what, [""])


def _by_id(request: Request, body: bytes) -> Asked:
    meter_id = request.path_params["id"]
    what = (meter_id, body) if request.method == "PUT" else (meter_id,)
    return Asked(what, [], meter_id)


def _single(request: Request, body: bytes) -> Asked:
    event = read_single(body)
    return Asked(event, [event["meter"]])


def _bulk(request: Request, body: bytes) -> Asked:
    """An empty batch names no meter at all, so that no key may send it."""
    batch = read_bulk(body)
    if not batch:
        raise RefusalError(403, "forbidden", "forbidden: not allowed to usage:write")
    key = request.headers.get("Idempotency-Key", "")
    return Asked((key, batch), list({event["meter"] for event in batch}))
