"""The servers that the conformance list runs against."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from spanner_pipeline_tests.open_spanner import VERSIONS, contract_server
from spanner_pipeline_tests.open_spanner.caller import Caller

DIMENSIONS = [
    {"name": "src", "type": "string", "required": False},
    {"name": "n", "type": "number", "required": False},
    {"name": "ok", "type": "boolean", "required": False},
    {"name": "a.b", "type": "string", "required": False},
]
AGGREGATIONS = ("sum", "count", "avg", "min", "max", "first", "last", "rate")


REAL = ("OPEN_SPANNER_BASE_URL", "OPEN_SPANNER_API_KEY")
TARGETS = [*VERSIONS, *(["real"] if all(os.environ.get(name) for name in REAL) else [])]


@pytest.fixture(scope="module", params=TARGETS)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Caller]:
    """A workspace to call.

    `real` is the server at OPEN_SPANNER_BASE_URL, where that is set. The list leaves its
    meters and events there for good, so its key must be of a workspace that is thrown away.
    """
    run = f"conformance-{uuid.uuid4().hex[:12]}-"
    if request.param == "real":
        url, key = (os.environ[name] for name in REAL)
        yield Caller(url.rstrip("/"), key, run, is_real=True)
        return
    with ExitStack() as stack:
        path = tmp_path_factory.mktemp("store") / "open-spanner.db"
        server = stack.enter_context(contract_server(path, version=request.param))
        server.limits.events = None
        yield Caller(server.base_url, server.key, run)


@pytest.fixture(scope="module")
def plain(target: Caller) -> str:
    """A meter that takes anything, with years of retention."""
    return target.meter("plain", dimensions=DIMENSIONS, event_retention_days=3650)


@pytest.fixture(scope="module")
def measured(target: Caller) -> dict[str, str]:
    """A meter of every aggregation, all with the same six events of one day."""
    names = {
        kind: target.meter(kind, aggregation=kind, dimensions=DIMENSIONS) for kind in AGGREGATIONS
    }
    events: list[dict[str, Any]] = []
    for kind, name in names.items():
        for place, (subject, clock, quantity) in enumerate(MEASURED):
            events.append(
                {
                    "idempotency_key": f"{target.run}{kind}{place}",
                    "subject": subject,
                    "meter": name,
                    "quantity": quantity,
                    "timestamp": f"2024-02-10T{clock}Z",
                    "metadata": {"src": "old"} if place < 4 else {},
                }
            )
    assert target.send(events).status == 201
    return names


MEASURED = [
    ("acme", "10:00:00", 0.1),
    ("acme", "10:30:00", 0.2),
    ("acme", "10:59:59", 0.3),
    ("beta", "10:15:00", 8),
    ("beta", "11:00:00", 2),
    ("beta", "23:59:59", 4),
]
