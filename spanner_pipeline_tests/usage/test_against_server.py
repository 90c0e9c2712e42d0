"""The same questions to a real Open Spanner and to the lake have the same answers.

Runs where `OPEN_SPANNER_BASE_URL` names a server; a user and a workspace of its own are registered
there unless `OPEN_SPANNER_API_KEY` is set.
"""

from __future__ import annotations

import json
import math
import os
import random
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest

from spanner_pipeline.meters import Aggregation
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.calendar import Bucket
from spanner_pipeline.usage.filters import parse_filters
from spanner_pipeline.usage.query import query_usage
from spanner_pipeline_tests.usage.events import Event, a_meter, fill

URL = os.environ.get("OPEN_SPANNER_BASE_URL", "")
if not URL:
    pytest.skip("no server: set OPEN_SPANNER_BASE_URL", allow_module_level=True)

START, END = datetime(2024, 1, 30, tzinfo=UTC), datetime(2024, 2, 3, tzinfo=UTC)
DIMENSIONS = [
    {"name": name, "type": kind, "required": False}
    for name, kind in (("region", "string"), ("size", "number"), ("trial", "boolean"))
]


def condition(field: str, op: str, value: Any = None) -> dict[str, Any]:
    return {"type": "condition", "field": field, "op": op, "value": value}


FILTERS: list[dict[str, Any] | None] = [
    None,
    condition("metadata.region", "eq", "eu"),
    condition("metadata.region", "neq", "eu"),
    condition("metadata.region", "in", ["us", "ap"]),
    condition("metadata.region", "exists"),
    condition("metadata.size", "eq", 200),
    condition("metadata.size", "eq", "200"),
    condition("metadata.trial", "eq", True),
    condition("subject", "gt", "acme"),
    condition("subject", "contains", "lob"),
    condition("quantity", "gte", 2.5),
    condition("timestamp", "lt", "2024-02-01T00:00:00Z"),
    {
        "type": "group",
        "op": "or",
        "rules": [
            condition("metadata.size", "eq", 404),
            {
                "type": "group",
                "op": "and",
                "rules": [condition("subject", "eq", "acme"), condition("quantity", "lt", 5)],
            },
        ],
    },
]


def events() -> list[Event]:
    """Two hundred events of whole seconds, no two at once, the same at every run."""
    chosen = random.Random(7)  # noqa: S311
    seconds = chosen.sample(range(int((END - START).total_seconds()) + 7200), 200)
    options: dict[str, Sequence[Any]] = {
        "region": ("eu", "us", "ap", None),
        "size": (Decimal(200), Decimal(404), Decimal("0.1"), None),
        "trial": (True, False, None),
    }
    return [
        Event(
            START - timedelta(hours=1) + timedelta(seconds=second),
            Decimal(chosen.randint(1, 40)) / 4,
            chosen.choice(("acme", "globex", "initech")),
            {
                name: value
                for name, values in options.items()
                if (value := chosen.choice(values)) is not None
            },
        )
        for second in seconds
    ]


@dataclass
class Server:
    """A real Open Spanner."""

    key: str = ""
    cookie: str = ""

    def post(self, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        elif self.cookie:
            headers["Cookie"] = self.cookie
        data = json.dumps(body, default=float).encode()
        request = urllib.request.Request(URL.rstrip("/") + path, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            cookies = answer.headers.get_all("Set-Cookie") or []
            self.cookie = "; ".join(cookie.split(";")[0] for cookie in cookies) or self.cookie
            return json.loads(answer.read() or b"null")


@pytest.fixture(scope="module")
def server() -> Server:
    if key := os.environ.get("OPEN_SPANNER_API_KEY"):
        return Server(key)
    server = Server()
    login = {"email": f"{uuid.uuid4().hex}@example.org", "password": uuid.uuid4().hex}
    server.post("/v1/auth/users", login)
    server.post("/v1/auth/sessions", login)
    server.key = server.post("/v1/auth/api-keys", {"name": "test"})["key"]
    return server


@dataclass
class Both:
    """One meter on the server and in a lake, with the same events."""

    server: Server
    root: DataRoot
    meter: Any
    name: str

    def ask_server(self, bucket: Bucket, groups: list[str], rule: Any) -> list[tuple[Any, ...]]:
        asked = {
            "meter": self.name,
            "from": START.isoformat(),
            "to": END.isoformat(),
            "bucket_size": bucket,
            "group_by": groups,
            "limit": 1000,
        }
        if rule is not None:
            asked["filter"] = rule
        rows = self.server.post("/v1/usages/search", asked)
        return [
            (
                datetime.fromisoformat(row["bucket_start"]),
                *(row["group"][name] for name in groups),
                row["quantity"],
            )
            for row in rows
        ]

    def ask_lake(self, bucket: Bucket, groups: list[str], rule: Any) -> list[tuple[Any, ...]]:
        where = parse_filters([] if rule is None else [json.dumps(rule)])
        frame = query_usage(self.root, self.meter, START, END, bucket, groups, where)
        return [tuple(row) for row in frame.drop("events").iter_rows()]


@pytest.fixture(scope="module", params=get_args(Aggregation))
def both(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Both:
    name = f"{request.param}_{uuid.uuid4().hex[:8]}"
    meter = a_meter(request.param, dimensions=DIMENSIONS)
    server.post(
        "/v1/meters",
        {"name": name, "unit": "call", "aggregation": request.param, "dimensions": DIMENSIONS},
    )
    sent = [
        {
            "idempotency_key": f"{name}:{number}",
            "subject": event.subject,
            "meter": name,
            "quantity": event.exact,
            "timestamp": event.moment.isoformat(),
            "metadata": event.dimensions,
        }
        for number, event in enumerate(events())
    ]
    server.post("/v1/usages/bulk", sent)
    folder: Path = tmp_path_factory.mktemp("lake")
    return Both(server, fill(folder, meter, events()), meter, name)


@pytest.mark.parametrize("rule", FILTERS, ids=str)
def test_the_server_and_the_lake_agree(both: Both, rule: dict[str, Any] | None) -> None:
    buckets: tuple[Bucket, ...] = get_args(Bucket)
    for bucket in buckets:
        for groups in ([], ["subject"], ["region", "size"], ["trial"]):
            asked = (bucket, groups, rule)
            theirs, ours = both.ask_server(*asked), both.ask_lake(*asked)
            assert [row[:-1] for row in ours] == [row[:-1] for row in theirs], asked
            for mine, other in zip(ours, theirs, strict=True):
                assert math.isclose(float(mine[-1]), other[-1], rel_tol=1e-12), asked
