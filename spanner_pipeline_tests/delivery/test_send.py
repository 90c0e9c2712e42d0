"""What is delivered arrives once, whatever fails on the way, and what was said of it is kept."""

from __future__ import annotations

from pathlib import Path

import httpx
import polars as pl
import pytest

from spanner_pipeline.delivery.client import OpenSpanner, UnsettledError
from spanner_pipeline.delivery.deliver import deliver, plan_delivery
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.ledger import DeliveryLedger
from spanner_pipeline.delivery.target import Target, TargetError
from spanner_pipeline_tests.delivery.conftest import (
    EVENTS,
    assert_arrived,
    at,
    ledger,
    planned,
    tiny,
)
from spanner_pipeline_tests.delivery.victim import SOON, deliver_all
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer


def test_all_arrives_and_nothing_is_sent_twice(
    large: TinyRoot, service: ContractServer, workspace: str, key: str
) -> None:
    done = deliver_all(large.path, service.base_url, key)
    assert done.outcome.events == {"accepted": EVENTS}
    assert_arrived(large, service, workspace)
    service.faults.add("status", status=500, times=None)  # so that any call would fail
    again = planned(large, service, service.new_key(workspace))  # a new key, the same workspace
    assert again.fates["delivered"].rows == EVENTS
    assert deliver_all(large.path, service.base_url, key).outcome.events.total() == 0


def test_every_passing_failure_is_outlived(
    large: TinyRoot, service: ContractServer, workspace: str, key: str
) -> None:
    service.faults.at_random(3, 0.08)
    done = deliver_all(large.path, service.base_url, key)
    assert len({fault.kind for fault in service.faults.happened}) > 3
    assert done.outcome.events.total() == EVENTS
    assert_arrived(large, service, workspace)


def test_a_key_that_is_there_with_another_payload_is_a_conflict_with_both_shown(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    one = tiny(tmp_path / "one", [Row("a", quantity="2", time=at(1)), Row("b", time=at(1))])
    deliver_all(one.path, service.base_url, key)
    two = tiny(tmp_path / "two", [Row("a", quantity="3", time=at(1)), Row("b", time=at(1))])
    outcome = deliver_all(two.path, service.base_url, key).outcome
    assert outcome.events == {"duplicate": 1, "duplicate_differs": 1}
    [(_, ours, theirs)] = outcome.differing
    assert '"quantity":3,' in ours
    assert '"quantity": 2' in theirs
    kept = ledger(two).filter(pl.col("status") == "duplicate_differs")
    assert kept.select("sent", "theirs").rows() == [(ours, theirs)]


def test_an_event_that_changed_since_is_named_and_not_sent(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path / "root", [Row("a", time=at(1))], corrections=True)
    deliver_all(root.path, service.base_url, key)
    root.deliver([Row("a", quantity="5", time=at(1), rev="2")])
    plan = planned(root, service, key)
    assert (plan.fates["changed"].rows, plan.to_send) == (1, 0)


def test_a_batch_of_which_all_failed_says_why_and_is_tried_again(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path / "root", [Row("a", time=at(1)), Row("b", time=at(2))])
    live = {"name": "calls", "unit": "call"}  # somebody makes `plan` required after the plan
    plan = {"name": "plan", "type": "string"}
    region = {"name": "region", "type": "string", "required": False}
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=service.base_url, headers=headers) as http:
        made = http.post("/v1/meters", json={**live, "dimensions": [region]}).json()
        with OpenSpanner(Target.build(service.base_url, key), SOON) as client:
            choices = Choices(rate=10**9)
            seen = plan_delivery(root.root, root.meter, client, choices)
            changed = {"dimensions": [region, plan]}
            http.put(f"/v1/meters/{made['id']}", json=changed).raise_for_status()
            outcome = deliver(root.root, root.meter, client, choices, seen).outcome
        assert outcome.events == {"failed": 2}
        assert {code for _, code, _ in outcome.failures} == {"invalid_input"}
        assert all("plan" in message for *_, message in outcome.failures)
        http.put(f"/v1/meters/{made['id']}", json={"dimensions": [region]}).raise_for_status()
    assert deliver_all(root.path, service.base_url, key).outcome.events == {"accepted": 2}
    assert_arrived(root, service, workspace)


def test_a_limit_below_a_batch_makes_batches_smaller(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    rows = [Row(str(n), region="x" * 3000, time=at(n)) for n in range(700)]
    root = tiny(tmp_path / "root", rows)  # 2 MiB
    service.limits.body_bytes = 200_000
    try:
        done = deliver_all(root.path, service.base_url, key)
    finally:
        service.limits.body_bytes = 1 << 20
    assert done.outcome.events == {"accepted": 700}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once_and_is_nowhere(
    large: TinyRoot, service: ContractServer, key: str, status: int
) -> None:
    service.faults.add("status", status=status, times=None)
    with pytest.raises(TargetError, match="OPEN_SPANNER_API_KEY") as refused:
        deliver_all(large.path, service.base_url, key)
    assert len(service.faults.happened) and key not in str(refused.value)
    service.faults.clear()
    deliver_all(large.path, service.base_url, key)
    written = [p for p in (large.path / "deliveries").rglob("*") if p.is_file()]
    assert written
    assert not [path for path in written if key.encode() in path.read_bytes()]


def test_a_service_that_stays_away_is_said_so(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path / "root", [Row("a", time=at(1))])
    service.faults.add("drop_after_commit", times=None, path="/v1/usages/bulk")
    with pytest.raises(UnsettledError, match="goes on from here"):
        deliver_all(root.path, service.base_url, key)
    assert ledger(root)["status"].to_list() == ["sent"]
    service.faults.clear()
    assert deliver_all(root.path, service.base_url, key).outcome.events == {"accepted": 1}
    assert_arrived(root, service, workspace)


def test_two_deliveries_of_a_meter_do_not_meet(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    root = tiny(tmp_path / "root", [Row("a", time=at(1))])
    deliver_all(root.path, service.base_url, key)
    with OpenSpanner(Target.build(service.base_url, key), SOON) as client:
        live = client.find_meter("calls")
        assert live is not None
        held = DeliveryLedger(root.root, client.target, live)
    with held.alone(), pytest.raises(TargetError, match="another delivery"):
        deliver_all(root.path, service.base_url, key)
