"""A verification tells what the service holds from what it was sent, and names the cause."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from spanner_pipeline.delivery import causes
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.target import API_KEY, BASE_URL, Target
from spanner_pipeline.delivery.verify import Verified, verify_delivery
from spanner_pipeline_tests.conftest import Run
from spanner_pipeline_tests.delivery.conftest import RECENT, at, tiny
from spanner_pipeline_tests.delivery.victim import SOON, deliver_all
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import VERSIONS, ContractServer, contract_server

SUBJECTS = 2_300
OLD = datetime.now(UTC) - timedelta(days=200)


@pytest.fixture(scope="module", params=VERSIONS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContractServer]:
    """Both versions."""
    path = tmp_path_factory.mktemp("verify") / "events.db"
    with contract_server(path, version=request.param) as server:
        server.limits.events = None
        yield server


@pytest.fixture
def space(server: ContractServer, request: pytest.FixtureRequest) -> str:
    """A key of the test's own workspace."""
    return server.new_key(request.node.name)


def verified(root: TinyRoot, server: ContractServer, key: str, *days: date) -> Verified:
    with OpenSpanner(Target.build(server.base_url, key), SOON) as client:
        return verify_delivery(root.root, root.meter, client, *days)


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
    if server.version == "0.1.12":
        assert by_cause(pruned) == {causes.PRUNED: 1}
    else:  # rolled up, and still part of every total
        assert not pruned.differences
    assert not pruned.fails
    assert delete(server, space, "idempotency_key LIKE '%'") == 4
    lost = verified(root, server, space)
    assert lost.fails
    assert by_cause(lost)[causes.MISSING] == 4


def delete(server: ContractServer, key: str, where: str) -> int:
    """Lose events of a workspace, as a store that was restored does."""
    with closing(sqlite3.connect(server.path, timeout=10)) as store, store:
        space = "(SELECT workspace FROM api_keys WHERE key = ?)"
        sql = f"DELETE FROM events WHERE workspace = {space} AND {where}"
        return store.execute(sql, (key,)).rowcount


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


def test_a_fraction_at_the_edge_of_the_window_is_named(
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
    found = verified(root, server, space, day, day + timedelta(days=1))
    assert set(by_cause(found)) == {causes.BOUNDARY}
    assert not found.fails


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
    file = tmp_path / "differences.csv"
    broken = run("verify-delivery", "calls", "--csv", str(file), data=root.root)
    assert broken.code == 1
    assert lost in broken.err
    [row] = csv.DictReader(file.open())
    assert (row["verdict"], row["cause"], row["theirs_less_ours"]) == (
        "FAIL",
        "missing there",
        "-1",
    )
