"""Where 0.1.13 is another server than 0.1.12: its limits, and what is left after a prune."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline_tests.open_spanner import ContractServer, Limits, contract_server
from spanner_pipeline_tests.open_spanner.caller import Caller

LONG_AGO = "2020-05-01T10:15:00Z"
WINDOW = {"from": "2020-05-01T00:00:00Z", "to": "2020-05-02T00:00:00Z", "field": "subject"}


@pytest.fixture(scope="module", params=["0.1.12", "0.1.13"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContractServer]:
    path = tmp_path_factory.mktemp("store") / "open-spanner.db"
    with contract_server(path, version=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def caller(server: ContractServer) -> Caller:
    return Caller(server.base_url, server.key)


def usage(meter: str, count: int, **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "idempotency_key": f"{meter}-{place}",
            "subject": "acme",
            "meter": meter,
            "quantity": place + 1,
            "timestamp": LONG_AGO,
            **fields,
        }
        for place in range(count)
    ]


def test_a_prune_forgets_keys_and_only_0_1_13_still_counts_the_old_events(
    server: ContractServer, caller: Caller
) -> None:
    meter = caller.meter("pruned")
    batch = usage(meter, 4)
    assert caller.send(batch, Idempotency_Key="pruned").body["accepted"] == 4
    assert caller.post("/v1/usageevents/prune").body["deleted"] == 4
    assert server.count() == 0

    def day() -> list[tuple[float, int]]:
        answer = caller.post("/v1/usages/breakdowns/search", WINDOW | {"meter": meter})
        return [(item["quantity"], item["events"]) for item in answer.body["items"]]

    keeps = server.version == "0.1.13"
    assert day() == ([(10, 4)] if keeps else [])
    assert caller.send(batch, Idempotency_Key="pruned").body["accepted"] == 4
    assert server.count() == 0
    assert caller.send(batch).body["accepted"] == 4
    assert day() == ([(20, 8)] if keeps else [(10, 4)])
    assert caller.post("/v1/usageevents/prune").body["deleted"] == 4
    assert day() == ([(20, 8)] if keeps else [])


@pytest.mark.parametrize("server", ["0.1.13"], indirect=True)
@pytest.mark.parametrize(
    ("aggregation", "value"),
    [("sum", 10), ("count", 4), ("avg", 2.5), ("min", 1), ("max", 4), ("first", 1), ("last", 4)],
)
def test_a_pruned_hour_still_answers_by_every_aggregation_of_0_1_13(
    server: ContractServer, caller: Caller, aggregation: str, value: float
) -> None:
    meter = caller.meter(f"rolled-{aggregation}", aggregation=aggregation)
    batch = usage(meter, 4)
    for place, event in enumerate(batch):
        event["timestamp"] = f"2020-05-01T10:1{place}:00Z"
    assert caller.send(batch).body["accepted"] == 4
    caller.post("/v1/usageevents/prune")
    window = {"meter": meter, "from": WINDOW["from"], "to": WINDOW["to"]}
    (bucket,) = caller.post("/v1/usages/search", window).body
    assert bucket["quantity"] == value
    part = caller.post("/v1/usages/search", window | {"from": "2020-05-01T10:12:00Z"})
    assert (part.status, part.code) == (409, "conflict")
    rule = {"type": "condition", "field": "quantity", "op": "gt", "value": 1}
    filtered = caller.post("/v1/usages/search", window | {"filter": rule})
    assert (filtered.status, filtered.code) == (409, "conflict")


def test_only_0_1_13_refuses_a_body_over_one_mebibyte(
    server: ContractServer, caller: Caller
) -> None:
    meter = caller.meter("large")
    batch = usage(meter, 2, metadata={"text": "x" * 600_000})
    answer = caller.send(batch)
    if server.version == "0.1.12":
        assert answer.body["accepted"] == 2
    else:
        assert (answer.status, answer.code) == (413, "request_too_large")
        assert caller.send(batch[:1]).body["accepted"] == 1


def test_a_window_takes_so_many_events_and_charges_duplicates_and_bad_ones(
    tmp_path: Path,
) -> None:
    now = [1000.0]
    limits = Limits(events=10, window_seconds=60, clock=lambda: now[0])
    with contract_server(tmp_path / "store.db", limits=limits) as server:
        caller = Caller(server.base_url, server.key)
        batch = usage(caller.meter("m"), 4)
        assert caller.send(batch, Idempotency_Key="a").status == 201
        assert caller.send(batch, Idempotency_Key="a").status == 201
        refused = caller.send(usage("m", 3, quantity=0))
        assert (refused.status, refused.code) == (429, "rate_limited")
        assert refused.headers["Retry-After"] == "20"
        # The refused batch was not charged: two more still fit.
        assert caller.send(usage("m", 2, quantity=0)).status == 400
        assert caller.send(batch[:1]).status == 429
        rehearsal = Caller(server.base_url, server.rehearsal_key)
        rehearsal.meter("m")
        assert rehearsal.send(batch).status == 201
        now[0] += 20
        assert caller.send(batch).body["duplicates"] == 4
        assert caller.send(usage("m", 11)).status == 429


def test_0_1_12_has_no_rate_limit_and_0_1_13_one_of_ten_thousand() -> None:
    assert (Limits.of("0.1.12").events, Limits.of("0.1.12").body_bytes) == (None, None)
    assert (Limits.of("0.1.13").events, Limits.of("0.1.13").body_bytes) == (10_000, 1_048_576)


def test_workspaces_share_nothing(server: ContractServer, caller: Caller) -> None:
    meter = caller.meter("apart")
    rehearsal = Caller(server.base_url, server.rehearsal_key)
    assert rehearsal.send(usage(meter, 1)).body["failed_items"][0]["code"] == "not_found"
    rehearsal.meter("apart")
    assert rehearsal.send(usage(meter, 1)).body["accepted"] == 1
    assert caller.send(usage(meter, 1)).body["accepted"] == 1
    assert server.count("rehearsal") == 1


def test_a_key_does_only_what_it_may(server: ContractServer, caller: Caller) -> None:
    meter, other = caller.meter("allowed"), caller.meter("forbidden")
    reader = Caller(server.base_url, server.new_key(scopes=("usage:read", "meters:read")))
    assert reader.get("/v1/meters").status == 200
    for answer in (
        reader.send(usage(meter, 1)),
        reader.post("/v1/meters", {"name": "new", "unit": "u"}),
        reader.post("/v1/usageevents/prune"),
    ):
        assert (answer.status, answer.code) == (403, "forbidden")
    narrow = Caller(server.base_url, server.new_key(meters=(meter,)))
    assert narrow.send(usage(meter, 1)).status == 201
    assert narrow.get(f"/v1/meters/{caller.ids['forbidden']}").status == 403
    assert narrow.get(f"/v1/meters/{caller.ids['allowed']}").status == 200
    for answer in (
        narrow.send(usage(meter, 1) + usage(other, 1)),
        narrow.get("/v1/meters"),
        narrow.get("/v1/usageevents"),
    ):
        assert answer.status == 403
