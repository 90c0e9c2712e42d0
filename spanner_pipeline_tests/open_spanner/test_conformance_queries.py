"""One list of calls that a real Open Spanner and the contract server answer alike: queries."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from spanner_pipeline_tests.open_spanner.caller import Caller, event
from spanner_pipeline_tests.open_spanner.conftest import DIMENSIONS

FROM, TO = "2024-02-10T00:00:00Z", "2024-02-11T00:00:00Z"

EXPECTED = {
    "sum": (0.6, 14),
    "count": (3, 3),
    "avg": (0.2, 14 / 3),
    "min": (0.1, 2),
    "max": (0.3, 8),
    "first": (0.1, 8),
    "last": (0.3, 4),
    "rate": (3 / 86400, 3 / 86400),
}
"""The day's value of acme and of beta."""


@pytest.mark.parametrize("kind", EXPECTED)
def test_every_aggregation_in_buckets_and_breakdowns(
    target: Caller, measured: dict[str, str], kind: str
) -> None:
    window = {"meter": measured[kind], "from": FROM, "to": TO}
    acme, beta = EXPECTED[kind]
    found = target.post("/v1/usages/search", window | {"group_by": ["subject"]}).body
    assert [bucket["subject"] for bucket in found] == ["acme", "beta"]
    assert [bucket["quantity"] for bucket in found] == pytest.approx([acme, beta])
    assert {bucket["bucket_start"] for bucket in found} == {FROM}
    answer = target.post("/v1/usages/breakdowns/search", window | {"field": "subject"}).body
    values = {item["value"]: (item["quantity"], item["events"]) for item in answer["items"]}
    assert values["acme"] == (pytest.approx(acme), 3)
    assert values["beta"] == (pytest.approx(beta), 3)


def test_a_rate_is_over_the_full_bucket_but_over_the_window_in_breakdowns(
    target: Caller, measured: dict[str, str]
) -> None:
    window = {
        "meter": measured["rate"],
        "from": "2024-02-10T10:00:00Z",
        "to": "2024-02-10T10:20:00Z",
    }
    hour = target.post("/v1/usages/search", window | {"bucket_size": "hour"}).body
    month = target.post("/v1/usages/search", window | {"bucket_size": "month"}).body
    parts = target.post("/v1/usages/breakdowns/search", window | {"field": "src"}).body["items"]
    assert hour[0]["quantity"] == pytest.approx(2 / 3600)
    assert month[0]["quantity"] == pytest.approx(2 / (29 * 86400))
    assert parts[0]["quantity"] == pytest.approx(2 / 1200)


def test_sums_are_compensated(target: Caller, plain: str) -> None:
    tenths = [
        event(target, plain, subject="tenths", quantity=0.1, timestamp="2023-05-01T00:00:00Z")
    ] * 10
    assert target.send(tenths).body["accepted"] == 10
    window = {"meter": plain, "from": "2023-05-01T00:00:00Z", "to": "2023-05-02T00:00:00Z"}
    assert target.post("/v1/usages/search", window).body[0]["quantity"] == 1


def test_only_buckets_with_events_appear_and_a_missing_group_is_nil(
    target: Caller, measured: dict[str, str]
) -> None:
    asked = {"meter": measured["sum"], "from": FROM, "to": TO, "bucket_size": "hour"}
    found = target.post("/v1/usages/search", asked | {"group_by": ["src"]}).body
    assert [(row["bucket_start"][11:13], row["group"]["src"]) for row in found] == [
        ("10", "old"),
        ("11", "<nil>"),
        ("23", "<nil>"),
    ]
    by_source = target.post("/v1/usages/breakdowns/search", asked | {"field": "src"}).body
    assert [(item["value"], item["events"]) for item in by_source["items"]] == [("old", 4)]
    values = target.get(f"/v1/usages/dimensions?meter={measured['sum']}&field=src").body
    assert values == {"items": [{"field": "src", "value": "old", "events": 4}]}
    got = target.get(
        f"/v1/usages?meter={measured['sum']}&from={FROM}&to={TO}&bucket_size=hour&group_by=src"
    )
    assert got.body == found


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"meter": "none"}, 404, "not_found"),
        ({"from": ""}, 400, "invalid_from"),
        ({"to": "soon"}, 400, "invalid_to"),
        ({"to": FROM}, 400, "invalid_input"),
        ({"to": "2025-02-10T00:00:00Z"}, 200, None),
        ({"to": "2025-02-10T00:00:01Z"}, 400, "invalid_input"),
        ({"bucket_size": "hour", "to": "2024-03-12T00:00:00Z"}, 200, None),
        ({"bucket_size": "hour", "to": "2024-03-12T00:00:01Z"}, 400, "invalid_input"),
        ({"bucket_size": "month", "to": "2029-02-10T00:00:01Z"}, 400, "invalid_input"),
        ({"bucket_size": "week"}, 400, "invalid_input"),
        ({"group_by": ["none"]}, 400, "invalid_input"),
        ({"group_by": "subject"}, 400, "invalid_json"),
        ({"limit": "5"}, 400, "invalid_json"),
        ({"subject": "a b"}, 400, "invalid_input"),
        ({"filter": {"type": "condition", "field": "x", "op": "eq", "value": 1}}, 400, None),
        ({"filter": {"type": "group", "op": "not", "rules": []}}, 400, "invalid_input"),
    ],
)
def test_a_query_is_held_to_its_ranges_and_fields(
    target: Caller, measured: dict[str, str], changes: dict[str, Any], status: int, code: str
) -> None:
    asked = {"meter": measured["sum"], "from": FROM, "to": TO} | changes
    answer = target.post("/v1/usages/search", asked)
    assert answer.status == status
    if status != 200:
        assert answer.code == (code or "invalid_input")


def test_an_answer_is_cut_at_a_thousand_rows_without_a_word(target: Caller) -> None:
    name = target.meter("wide")
    for part in range(2):
        batch = [
            event(target, name, f"wide{part}-{place}", subject=f"s{part}-{place:04d}")
            for place in range(600)
        ]
        assert target.send(batch).body["accepted"] == 600
    asked: dict[str, Any] = {
        "meter": name,
        "from": "2024-01-01T00:00:00Z",
        "to": "2024-01-02T00:00:00Z",
    }
    grouped = asked | {"group_by": ["subject"]}
    assert len(target.post("/v1/usages/search", grouped).body) == 100
    assert len(target.post("/v1/usages/search", grouped | {"limit": 5000}).body) == 1000
    wide = asked | {"field": "subject", "limit": 5000}
    assert len(target.post("/v1/usages/breakdowns/search", wide).body["items"]) == 1000
    after = {"type": "condition", "field": "subject", "op": "gt", "value": "s1-0399"}
    rest = target.post("/v1/usages/search", grouped | {"limit": 1000, "filter": after}).body
    assert [row["subject"] for row in rest] == [f"s1-{place:04d}" for place in range(400, 600)]


def test_fractions_of_a_second_fall_on_the_wrong_side_of_a_boundary(target: Caller) -> None:
    name = target.meter("fractions")
    stamps = ("11:59:59Z", "12:00:00Z", "12:00:00.5Z", "12:00:01Z")
    batch = [event(target, name, timestamp=f"2024-01-01T{stamp}") for stamp in stamps]
    assert target.send(batch).body["accepted"] == 4

    def count(start: str, end: str) -> int:
        asked = {"meter": name, "from": f"2024-01-01T{start}", "to": f"2024-01-01T{end}"}
        found = target.post("/v1/usages/search", asked).body
        return int(sum(row["quantity"] for row in found))

    assert count("11:00:00Z", "12:00:00Z") == 2
    assert count("12:00:00Z", "13:00:00Z") == 2


@pytest.mark.parametrize(
    ("rule", "events"),
    [
        ({"field": "metadata.n", "op": "eq", "value": 200}, 1),
        ({"field": "metadata.n", "op": "eq", "value": "200"}, 0),
        ({"field": "metadata.n", "op": "gt", "value": 100}, 1),
        ({"field": "metadata.ok", "op": "eq", "value": True}, 1),
        ({"field": "metadata.ok", "op": "neq", "value": True}, 2),
        ({"field": "metadata.src", "op": "neq", "value": "x"}, 1),
        ({"field": "metadata.src", "op": "in", "value": ["x", "y"]}, 2),
        ({"field": "metadata.src", "op": "exists"}, 2),
        ({"field": "metadata.a.b", "op": "contains", "value": "Z"}, 1),
        ({"field": "quantity", "op": "gte", "value": 2}, 2),
        ({"field": "timestamp", "op": "lt", "value": "2024-01-02T00:00:00+02:00"}, 3),
    ],
)
def test_filters_compare_by_type(
    target: Caller, filtered: str, rule: dict[str, Any], events: int
) -> None:
    asked = {"meter": filtered, "filter": {"type": "condition"} | rule}
    found = target.post("/v1/usageevents/search", asked)
    assert (found.status, len(found.body["items"])) == (200, events)


@pytest.fixture(scope="module")
def filtered(target: Caller) -> str:
    name = target.meter("filtered", dimensions=DIMENSIONS)
    metadata = [{"src": "x", "n": 200, "ok": True}, {"src": "y", "a": {"b": "zz"}}, {}]
    batch = [
        event(target, name, quantity=place + 1, metadata=some)
        for place, some in enumerate(metadata)
    ]
    assert target.send(batch).body["accepted"] == 3
    return name


def test_raw_events_come_newest_first_a_page_at_a_time(target: Caller) -> None:
    name = target.meter("paged")
    batch = [
        event(target, name, f"paged{place}", timestamp=f"2024-01-01T00:00:{place // 2:02d}Z")
        for place in range(9)
    ]
    assert target.send(batch).body["accepted"] == 9
    seen: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(3):
        page = target.get(f"/v1/usageevents?meter={name}&limit=4&cursor={quote(cursor)}").body
        seen += page["items"]
        cursor = page.get("next_cursor", "")
    assert cursor == ""
    assert [item["timestamp"] for item in seen] == sorted(
        (item["timestamp"] for item in batch), reverse=True
    )
    assert {item["idempotency_key"] for item in seen} == {item["idempotency_key"] for item in batch}
    keys = [f"{target.run}paged{place}" for place in (1, 5)]
    rule = {"type": "condition", "field": "idempotency_key", "op": "in", "value": keys}
    found = target.post("/v1/usageevents/search", {"filter": rule}).body["items"]
    assert sorted(item["idempotency_key"] for item in found) == keys
    assert target.get("/v1/usageevents?limit=0").code == "invalid_limit"
    assert target.get("/v1/usageevents?cursor=!").code == "invalid_input"


def test_a_dry_prune_counts_what_is_past_its_retention(
    target: Caller, measured: dict[str, str]
) -> None:
    answer = target.post("/v1/usageevents/prune?dry_run=true").body
    assert answer["dry_run"]
    deleted = {meter["meter"]: meter["deleted"] for meter in answer["meters"]}
    assert deleted[measured["sum"]] == 6
    assert target.post("/v1/usageevents/prune?dry_run=perhaps").code == "invalid_dry_run"


def test_statistics_of_a_meter(target: Caller, measured: dict[str, str]) -> None:
    stats = {stat["meter"]: stat for stat in target.get("/v1/meters/stats?limit=500").body["items"]}
    assert stats[measured["sum"]] == {
        "meter": measured["sum"],
        "usage_events": 6,
        "last_event_at": "2024-02-10T23:59:59Z",
        "retention_days": 90,
    }
