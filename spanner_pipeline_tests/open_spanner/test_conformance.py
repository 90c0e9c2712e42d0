"""One list of calls that a real Open Spanner and the contract server answer alike: writing."""

from __future__ import annotations

from typing import Any

import pytest

from spanner_pipeline_tests.open_spanner.caller import Caller, event


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"name": " ", "unit": "u"}, "invalid_input"),
        ({"name": "x", "unit": ""}, "invalid_input"),
        ({"name": "x", "unit": "u", "aggregation": "average"}, "invalid_input"),
        ({"name": "x", "unit": "u", "event_retention_days": 3651}, "invalid_input"),
        ({"name": "x", "unit": "u", "event_retention_days": "90"}, "invalid_json"),
        ({"name": "x", "unit": "u", "dimensions": [{"name": "subject", "type": "string"}]}, None),
        ({"name": "x", "unit": "u", "dimensions": [{"name": "a b", "type": "string"}]}, None),
        ({"name": "x", "unit": "u", "dimensions": [{"name": "a", "type": "int"}]}, None),
    ],
)
def test_a_meter_that_breaks_a_rule_is_refused(target: Caller, document: Any, code: str) -> None:
    answer = target.post("/v1/meters", document)
    assert (answer.status, answer.code) == (400, code or "invalid_input")


def test_a_meter_is_made_once_a_name_and_found_by_its_exact_name(target: Caller) -> None:
    name = target.meter("once", dimensions=[{"name": "a-b_c", "type": "string"}])
    again = target.post("/v1/meters", {"name": f" {name} ", "unit": "u"})
    assert (again.status, again.code) == (409, "conflict")
    found = target.get(f"/v1/meters?name={name}").body["items"]
    assert [meter["id"] for meter in found] == [target.ids["once"]]
    assert target.get(f"/v1/meters?name={name.upper()}").body["items"] == []
    assert found[0]["aggregation"] == "sum"
    assert found[0]["event_retention_days"] == 90
    assert found[0]["dimensions"] == [
        {
            "name": "a-b_c",
            "display_name": "A B C",
            "description": "",
            "type": "string",
            "required": True,
            "deprecated": False,
        }
    ]
    assert target.get(f"/v1/meters/{target.ids['once']}").body == found[0]
    assert target.get("/v1/meters/none").status == 404


def test_a_meter_with_usage_changes_only_where_its_events_still_fit(target: Caller) -> None:
    free = {"name": "free", "type": "string", "required": False}
    name = target.meter("changed", dimensions=[free], event_retention_days=30)
    assert target.send([event(target, name, "changed")]).body["accepted"] == 1

    def put(**fields: Any) -> tuple[int, Any]:
        answer = target.call("PUT", f"/v1/meters/{target.ids['changed']}", fields)
        return answer.status, answer.body

    for dimensions in (
        [],
        [free | {"type": "number"}],
        [free | {"required": True}],
        [free, {"name": "new", "type": "string"}],
    ):
        assert put(dimensions=dimensions)[0] == 409
    status, meter = put(dimensions=[free, {"name": "n", "type": "number", "required": False}])
    assert (status, len(meter["dimensions"])) == (200, 2)
    status, meter = put(unit="v", aggregation="max", event_retention_days=0)
    assert (status, meter["unit"], meter["aggregation"]) == (200, "v", "max")
    assert meter["event_retention_days"] == 90
    assert target.call("DELETE", f"/v1/meters/{target.ids['changed']}").status == 409
    assert target.call("PUT", "/v1/meters/none", {"unit": 1}).status == 404


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        ("2024-01-01T12:00:00.999Z", "2024-01-01T12:00:00Z"),
        ("2024-01-01T01:00:00+02:00", "2023-12-31T23:00:00Z"),
        ("1900-01-01T00:00:00Z", "1900-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("2024-01-01T12:00:00", None),
        ("2024-01-01 12:00:00Z", None),
        ("2024-01-01", None),
        ("2024-02-30T00:00:00Z", None),
    ],
)
def test_a_time_needs_its_offset_and_comes_back_in_whole_seconds_of_utc(
    target: Caller, plain: str, timestamp: str, shown: str | None
) -> None:
    answer = target.post("/v1/usages", event(target, plain, subject="t", timestamp=timestamp))
    if shown is None:
        assert (answer.status, answer.code) == (400, "invalid_timestamp")
    else:
        assert (answer.status, answer.body["timestamp"]) == (201, shown)


def test_subjects_quantities_and_metadata_are_judged_item_by_item(
    target: Caller, plain: str
) -> None:
    good: list[dict[str, Any]] = [
        {"subject": " acme "},
        {"subject": "a:b.c-d_e"},
        {"subject": "a" * 128},
        {"quantity": 1e308},
        {"quantity": 0.1},
        {"metadata": {"src": "x", "n": 1.5, "ok": False, "a.b": "z", "more": [1, None]}},
        {"metadata": {"a": {"b": "z"}}},
        {"metadata": None},
    ]
    bad: list[tuple[dict[str, Any], str]] = [
        ({"subject": "a/b"}, "invalid_input"),
        ({"subject": "a@b"}, "invalid_input"),
        ({"subject": "é"}, "invalid_input"),
        ({"subject": "-a"}, "invalid_input"),
        ({"subject": "a" * 129}, "invalid_input"),
        ({"subject": ""}, "invalid_input"),
        ({"quantity": 0}, "invalid_input"),
        ({"quantity": -1}, "invalid_input"),
        ({"quantity": None}, "invalid_input"),
        ({"meter": "none"}, "not_found"),
        ({"meter": f" {plain}"}, "not_found"),
        ({"timestamp": "soon"}, "invalid_timestamp"),
        ({"metadata": {"src": 1}}, "invalid_input"),
        ({"metadata": {"n": "1"}}, "invalid_input"),
        ({"metadata": {"ok": 1}}, "invalid_input"),
        ({"metadata": {"src": None}}, "invalid_input"),
        ({"metadata": {"a": "in the way", "a.b": "z"}}, "invalid_input"),
    ]
    batch = [event(target, plain) | fields for fields, _ in bad]
    batch += [event(target, plain) | fields for fields in good]
    answer = target.send(batch)
    assert (answer.status, answer.body["accepted"]) == (201, len(good))
    assert [(item["index"], item["code"]) for item in answer.body["failed_items"]] == [
        (index, code) for index, (_, code) in enumerate(bad)
    ]
    assert answer.body["accepted_items"][0]["subject"] == "acme"
    assert answer.body["accepted_items"][5]["metadata"]["a"] == {"b": "z"}
    assert answer.body["accepted_items"][7]["metadata"] == {}


def test_a_blank_meter_is_taken_for_the_first_one(target: Caller, plain: str) -> None:
    # A quantity that no meter takes: nothing is booked on whatever meter stands first.
    answer = target.post("/v1/usages", event(target, "", quantity=-1, metadata={}))
    assert (answer.status, answer.code) == (400, "invalid_input")


def test_a_required_dimension_must_be_there(target: Caller) -> None:
    dimensions = [
        {"name": "must", "type": "string"},
        {"name": "old", "type": "string", "deprecated": True},
    ]
    name = target.meter("strict", dimensions=dimensions)
    assert target.post("/v1/usages", event(target, name)).code == "invalid_input"
    assert target.post("/v1/usages", event(target, name, metadata={"must": "x"})).status == 201


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[5]",
        b"[{}] x",
        b'[{"quantity": NaN}]',
        b'[{"quantity": 1e400}]',
        b'[{"quantity": "1"}]',
        b'[{"subject": 1}]',
        b'[{"metadata": []}]',
    ],
)
def test_one_wrong_json_type_refuses_the_whole_batch(target: Caller, raw: bytes) -> None:
    answer = target.post("/v1/usages/bulk", raw=raw)
    assert (answer.status, answer.code) == (400, "invalid_json")


def test_the_size_of_a_batch_is_bounded_on_both_sides(target: Caller, plain: str) -> None:
    assert target.send([]).code == "forbidden"
    many = [event(target, plain, f"many{place}", subject="many") for place in range(1001)]
    refused = target.send(many)
    assert (refused.status, refused.code) == (400, "invalid_input")
    assert target.send(many[:1000]).body["accepted"] == 1000


def test_names_of_fields_are_read_whatever_their_case_and_unknown_ones_passed_over(
    target: Caller, plain: str
) -> None:
    sent = event(target, plain) | {"event_time": 5, "QUANTITY": 3}
    assert target.post("/v1/usages", sent).body["quantity"] == 3


def test_a_key_is_kept_whatever_comes_with_it_again(target: Caller, plain: str) -> None:
    first = target.post("/v1/usages", event(target, plain, "kept", quantity=2)).body
    again = target.post("/v1/usages", event(target, plain, "kept", quantity=100, subject="other"))
    assert (again.status, again.body) == (201, first)
    batch = [
        event(target, plain, "kept", quantity=9),
        event(target, plain, "twice"),
        event(target, plain, "twice", quantity=5),
        event(target, plain, "kept", quantity=0),
    ]
    body = target.send(batch).body
    assert (body["accepted"], body["duplicates"], body["failed"]) == (1, 2, 1)
    assert body["duplicate_items"][0] == first
    assert body["duplicate_items"][1]["quantity"] == 1
    blank = event(target, plain) | {"idempotency_key": "  "}
    assert target.send([blank, blank]).body["accepted"] == 2


def test_a_batch_key_answers_what_it_answered_before_and_stores_nothing(
    target: Caller, plain: str
) -> None:
    header = {"Idempotency_Key": f"{target.run}batch"}
    bad = event(target, plain, "late", quantity=0)
    failed = target.send([bad], **header)
    assert (failed.status, failed.body["failed"]) == (400, 1)
    assert "error" not in failed.body
    first = target.send([event(target, plain, "in-batch"), bad], **header).body
    assert (first["accepted"], first["failed"]) == (1, 1)
    replay = target.send([bad | {"quantity": 1}], **header)
    assert (replay.status, replay.body["accepted_items"]) == (201, first["accepted_items"])
    assert (replay.body["failed"], replay.body["duplicates"]) == (0, 0)
    # The mended event was not stored: under no batch key it is accepted now.
    assert target.send([bad | {"quantity": 1}]).body["accepted"] == 1


def test_only_a_known_key_is_let_in(target: Caller) -> None:
    assert Caller(target.base_url, None).get("/health").status == 204
    assert Caller(target.base_url, None).get("/ready").status == 204
    for key in (None, "", "osp_sk_unknown"):
        answer = Caller(target.base_url, key).get("/v1/meters")
        assert (answer.status, answer.code) == (401, "unauthorized")
    named = Caller(target.base_url, None)
    assert named.call("GET", "/v1/meters", X_API_Key=str(target.key)).status == 200
