"""A verification tells what the service holds from what it was sent, and names the cause."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline.delivery import causes, levels
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.target import API_KEY, BASE_URL, Target
from spanner_pipeline.delivery.verify import Verified, verify_delivery
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.delivery.conftest import RECENT, at, tiny
from spanner_pipeline_tests.delivery.victim import SOON, deliver_all
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer

SUBJECTS = 1_100
OLD = datetime.now(UTC) - timedelta(days=200)


@pytest.fixture
def space(server: ContractServer, request: pytest.FixtureRequest) -> str:
    """A key of the test's own workspace."""
    return server.new_key(request.node.name)


def verified(
    root: TinyRoot, server: ContractServer, key: str, *days: date, **asked: Any
) -> Verified:
    with OpenSpanner(Target.build(server.base_url, key), SOON) as client:
        return verify_delivery(root.root, root.meter, client, *days, **asked)


def by_cause(found: Verified) -> dict[str, int]:
    """Events by cause."""
    told: dict[str, int] = {}
    for one in found.differences:
        told[one.cause] = told.get(one.cause, 0) + one.events
    return told


def send(server: ContractServer, key: str, *events: dict[str, Any]) -> None:
    """Events from somebody else, one call each."""
    for event in events:
        body = {"meter": "calls", "subject": "org_1", "quantity": 1, "timestamp": at(1), **event}
        headers = {"Authorization": f"Bearer {key}"}
        answer = httpx.post(f"{server.base_url}/v1/usages", json=body, headers=headers)
        assert answer.status_code == 201, answer.text


def raw_keys(root: TinyRoot) -> list[str]:
    return list(root.events().sort("idempotency_key")["idempotency_key"])


def test_more_subjects_than_an_answer_has_rows_are_all_compared(
    tmp_path: Path, server: ContractServer, space: str
) -> None:
    root = tiny(tmp_path, [Row(str(n), f"org_{n}", "0.1", at(n)) for n in range(SUBJECTS)])
    deliver_all(root.path, server.base_url, space)
    whole = verified(root, server, space)
    assert (whole.there, whole.delivered.rows, whole.differences) == (SUBJECTS, SUBJECTS, [])
    assert whole.calls < 20
    live = {"subject": "org_zz", "idempotency_key": "live"}
    send(server, space, live, {"subject": "org_7", "quantity": 5})
    busy = verified(root, server, space)
    assert (busy.there, busy.beside, busy.differences) == (SUBJECTS, 2, [])
    send(server, space, {"subject": "org_zz", "metadata": {"import_batch": "another"}})
    doubled = verified(root, server, space)
    assert by_cause(doubled)[causes.STRANGE] == 1
    assert [one.subject for one in doubled.differences if one.fails] == ["org_zz"]


def test_what_the_service_forgot_is_told_from_what_it_lost(
    tmp_path: Path, server: ContractServer, space: str
) -> None:
    old = f"{OLD:%Y-%m-%d}T10:00:00Z"
    root = tiny(tmp_path, [Row("old", time=old), *(Row(str(n), time=at(n)) for n in range(4))])
    deliver_all(root.path, server.base_url, space, Choices(rate=10**9, include_old=True))
    assert not verified(root, server, space).differences
    headers = {"Authorization": f"Bearer {space}"}
    httpx.post(f"{server.base_url}/v1/usageevents/prune", headers=headers).raise_for_status()
    pruned = verified(root, server, space)
    every = verified(root, server, space, thorough=True)
    if server.version == "0.1.12":
        assert by_cause(pruned) == by_cause(every) == {causes.PRUNED: 1}
    else:  # rolled up, and still part of every total
        assert not pruned.differences
        assert by_cause(every) == {causes.ROLLED_UP: 1}
    assert not pruned.fails
    assert delete(server, space, "idempotency_key LIKE '%'") == 4
    lost = verified(root, server, space)
    assert lost.fails
    assert by_cause(lost)[causes.MISSING] == 4


def delete(server: ContractServer, key: str, where: str) -> int:
    """Lose events of a workspace, as a store that was restored does."""
    with store(server) as held:
        space = "(SELECT workspace FROM api_keys WHERE key = ?)"
        sql = f"DELETE FROM events WHERE workspace = {space} AND {where}"
        return held.execute(sql, (key,)).rowcount


def test_an_event_that_the_service_had_otherwise_is_a_conflict(
    tmp_path: Path, server: ContractServer, space: str
) -> None:
    root = tiny(tmp_path, [Row("a", quantity="2", time=at(1)), Row("b", time=at(2))])
    deliver_all(root.path, server.base_url, space)
    other = tiny(tmp_path / "other", [Row("c", quantity="9", time=at(1))])
    taken, *_ = raw_keys(other)
    send(server, space, {"idempotency_key": taken, "quantity": 4})
    deliver_all(other.path, server.base_url, space)
    found = verified(other, server, space)
    # The other root's events are not in this one's ledger, so that they might be counted twice.
    assert by_cause(found) == {causes.CONFLICT: 1, causes.STRANGE: 2}
    [conflict] = [one for one in found.differences if one.cause == causes.CONFLICT]
    assert (conflict.quantity, conflict.example) == (-5, taken)


def test_a_fraction_at_the_edge_explains_what_it_counts_for_and_no_more(
    tmp_path: Path, server: ContractServer, space: str
) -> None:
    day = (RECENT + timedelta(days=2)).date()
    rows = [
        Row("edge", time=f"{day}T00:00:00.5Z"),
        Row("in", time=f"{day}T12:00:00Z"),
        Row("next", time=f"{day + timedelta(days=1)}T00:00:00.25Z", quantity="7"),
    ]
    root = tiny(tmp_path, rows)
    deliver_all(root.path, server.base_url, space)
    days = (day, day + timedelta(days=1))
    found = verified(root, server, space, *days)
    assert by_cause(found) == {causes.BOUNDARY: 2}
    assert sum(one.quantity for one in found.differences) == 7 - 1
    assert not found.fails
    with store(server) as held:
        held.execute(
            "INSERT INTO rollups SELECT workspace, meter, subject, ?, metadata, 1, 100, 100, 100,"
            " '', '' FROM events WHERE event_time = ?",
            (f"{day}T05:00:00Z", f"{day}T12:00:00Z"),
        )
    wrong = verified(root, server, space, *days)
    parts = {one.cause: one.quantity for one in wrong.differences if one.start.date() == day}
    assert parts == {causes.BOUNDARY: -1, causes.UNEXPLAINED: 100}
    assert wrong.fails


def test_days_and_subjects_that_make_up_for_each_other_are_found(
    tmp_path: Path, server: ContractServer, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = 86_400
    rows = [
        Row(f"{who}{n}{part}", who, "10", at(n * day + part))
        for who in ("a", "b")
        for n in (0, 1)
        for part in (0, 1)
    ]
    root = tiny(tmp_path, rows)
    deliver_all(root.path, server.base_url, space)
    assert not verified(root, server, space, thorough=True).differences

    def alter(**changes: int) -> None:
        with store(server) as held:
            for name, quantity in changes.items():
                held.execute(
                    "UPDATE events SET quantity = ? WHERE idempotency_key LIKE ? AND workspace ="
                    " (SELECT workspace FROM api_keys WHERE key = ?)",
                    (quantity, f"%:{name}", space),
                )

    def altered(**asked: Any) -> set[tuple[str, int]]:
        found = verified(root, server, space, **asked)
        assert found.fails == bool(found.differences)
        assert {one.cause for one in found.differences} <= {causes.ALTERED}
        return {(one.subject, int(one.quantity)) for one in found.differences}

    alter(a00=15, a10=5)
    assert altered() == {("a", 5), ("a", -5)}
    monkeypatch.setattr(levels, "MOST_PLACES", 0)
    assert altered() == {("a", 5), ("a", -5)}, "by the days of all together"
    alter(b00=5, b10=15)
    assert altered() == set(), "subjects and days make up for each other"
    monkeypatch.undo()
    assert altered() == {("a", 5), ("a", -5), ("b", 5), ("b", -5)}
    alter(a00=11, a01=9, a10=10, b00=10, b10=10)
    assert altered() == set(), "within one day of one subject"
    assert verified(root, server, space, thorough=True).differences[0].events == 2


@settings(deadline=None)
@given(st.lists(st.decimals("1e-9", "1e12", places=9), min_size=1, max_size=60))
def test_whatever_order_doubles_are_added_in_the_exact_total_is_alike(
    quantities: list[Decimal],
) -> None:
    total = 0.0
    for quantity in quantities:
        total += float(quantity)
    exact, there = sum(quantities, Decimal(0)), Decimal(str(total))
    assert causes.alike(exact, there, len(quantities))
    assert not causes.alike(exact, there * 2, len(quantities))
    whole = [quantity.to_integral_value() + 1 for quantity in quantities]
    assert not causes.alike(sum(whole), sum(whole) + 1, len(whole), whole=True)  # type: ignore[arg-type]


def test_rounding_is_what_doubles_can_make_and_a_lost_unit_is_not(
    tmp_path: Path, server: ContractServer, space: str
) -> None:
    long = tiny(tmp_path / "long", [Row("long", "long", "12345678901234567.123456789", at(1))])
    deliver_all(long.path, server.base_url, space)
    [rounded] = verified(long, server, space).differences
    assert (rounded.cause, rounded.fails) == (causes.ROUNDING, False)
    assert rounded.quantity == Decimal("0.876543211")
    whole = tiny(tmp_path / "whole", [Row("w", "whole", "1000000000000", at(1))], meter_name="w")
    deliver_all(whole.path, server.base_url, space)
    with store(server) as held:
        held.execute("UPDATE events SET quantity = quantity + 1 WHERE subject = 'whole'")
    [lost] = verified(whole, server, space).differences
    assert (lost.cause, lost.quantity) == (causes.ALTERED, 1)


def test_where_the_mark_is_a_dimension_of_its_own_live_traffic_is_told_by_its_keys(
    tmp_path: Path, server: ContractServer, space: str
) -> None:
    mark = {"name": "import_batch", "type": "string", "required": False}
    root = tiny(tmp_path, [Row("a", time=at(1))], dimensions=[mark], usage={"dimensions": {}})
    deliver_all(root.path, server.base_url, space)
    send(server, space, {"quantity": 3})
    found = verified(root, server, space)
    assert not found.marked
    assert [(one.cause, one.quantity) for one in found.differences] == [(causes.LIVE, 3)]
    assert not found.fails


@contextmanager
def store(server: ContractServer) -> Iterator[sqlite3.Connection]:
    """The service's store, as whoever restores or mends it has it."""
    with closing(sqlite3.connect(server.path, timeout=10)) as opened, opened:
        yield opened


def test_the_command_tells_what_is_wrong_and_where(
    tmp_path: Path,
    server: ContractServer,
    space: str,
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
) -> None:
    monkeypatch.setenv(BASE_URL, server.base_url)
    monkeypatch.setenv(API_KEY, space)
    root = tiny(tmp_path / "root", [Row("a", time=at(1)), Row("b", time=at(2))])
    before = run("verify-delivery", "calls", data=root.root)
    assert (before.code, "Deliver first" in before.err) == (2, True)
    assert run("deliver", "calls", "--yes", data=root.root).code == 0
    fine = run("verify-delivery", "calls", data=root.root)
    assert fine.code == 0, fine.err
    assert "holds what was delivered" in fine.out
    [lost, _] = raw_keys(root)
    assert delete(server, space, f"idempotency_key = '{lost}'") == 1
    broken = run("verify-delivery", "calls", data=root.root)
    assert broken.code == 1
    assert lost in broken.err
    file = root.root.path / "reports/verify-delivery/calls/delivery_differences.csv"
    [row] = csv.DictReader(file.open())
    assert (row["verdict"], row["cause"], row["theirs_less_ours"]) == (
        "FAIL",
        "missing there",
        "-1",
    )
