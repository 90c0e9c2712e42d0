"""What was delivered and is gone from the lake is named, and nothing is sent beside it unasked."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from spanner_pipeline.control import Total
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.target import API_KEY, BASE_URL
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.delivery.conftest import at, planned, tiny
from spanner_pipeline_tests.delivery.victim import deliver_all
from spanner_pipeline_tests.lake.building import Row
from spanner_pipeline_tests.open_spanner import ContractServer

ROWS = [
    Row("a", "org_1", "10", at(1)),
    Row("b", "org_1", "5", at(2)),
    Row("c", "org_2", "1", at(3)),
]
SNAPSHOT = {"snapshot": {"scope": "subject", "shrink": "50%"}}


def test_what_a_snapshot_removed_is_named_and_what_took_its_place_is_held_back(
    tmp_path: Path,
    service: ContractServer,
    workspace: str,
    key: str,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tiny(tmp_path / "root", ROWS, identity=SNAPSHOT)
    deliver_all(root.path, service.base_url, key)
    restated = [ROWS[0].but(quantity="12"), ROWS[1], Row("d", "org_3", "2", at(4))]
    root.deliver(restated)

    plan = planned(root, service, key)
    assert plan.gone == Total(1, Decimal(10))
    [named] = plan.contradictions
    assert (named.subject, named.delivered, named.now) == ("org_1", 10, None)
    assert {fate: total.quantity for fate, total in plan.fates.items() if total.rows} == {
        "delivered": 6,
        "beside gone": 12,
        "send": 2,
    }
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv(BASE_URL, service.base_url)
    monkeypatch.setenv(API_KEY, key)
    told = run("deliver", "calls", "--plan", data=root.root).out
    assert named.key in told
    assert "1 events, 10 in all, were delivered and are gone from the lake" in told
    assert "held back" in told

    deliver_all(root.path, service.base_url, key)
    assert sum(e["quantity"] for e in service.events(workspace)) == 16 + 2
    assert planned(root, service, key).to_send == 0
    asked = planned(root, service, key, beside_gone=True)
    assert asked.fates["send"] == Total(1, Decimal(12))
    deliver_all(root.path, service.base_url, key, Choices(beside_gone=True, rate=10**9))
    assert sum(e["quantity"] for e in service.events(workspace)) == 18 + 12


def test_what_a_snapshot_changed_is_named_with_both_quantities(
    tmp_path: Path, service: ContractServer, key: str
) -> None:
    by_id = {"snapshot": {"scope": "subject", "row": "id"}}
    root = tiny(tmp_path / "root", ROWS, identity=by_id)
    deliver_all(root.path, service.base_url, key)
    root.deliver([ROWS[0].but(quantity="12"), *ROWS[1:]])
    plan = planned(root, service, key)
    assert (plan.gone, plan.to_send) == (Total(), 0)
    [named] = plan.contradictions
    assert (named.delivered, named.now) == (10, 12)
