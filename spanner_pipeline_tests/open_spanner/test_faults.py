"""The contract server fails as it is told to, and what it committed before stays."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline_tests.open_spanner import ContractServer, contract_server, stored_events
from spanner_pipeline_tests.open_spanner.caller import Caller

BROKEN = (http.client.HTTPException, OSError)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ContractServer, Caller]]:
    with contract_server(tmp_path_factory.mktemp("store") / "store.db") as server:
        caller = Caller(server.base_url, server.key)
        caller.meter("m")
        yield server, caller


@pytest.fixture
def server(running: tuple[ContractServer, Caller]) -> ContractServer:
    running[0].faults.clear()
    return running[0]


@pytest.fixture
def caller(running: tuple[ContractServer, Caller]) -> Caller:
    return running[1]


def one(key: str) -> list[dict[str, Any]]:
    return [{"idempotency_key": key, "subject": "s", "meter": "m", "quantity": 1}]


@pytest.mark.parametrize(
    ("kind", "commits"),
    [("drop_before_commit", False), ("drop_after_commit", True), ("cut_answer", True)],
)
def test_a_broken_connection_leaves_open_whether_it_arrived(
    server: ContractServer, caller: Caller, kind: str, commits: bool
) -> None:
    before = server.count()
    server.faults.add(kind)
    with pytest.raises(BROKEN):
        caller.send(one(kind))
    assert server.count() - before == commits
    again = caller.send(one(kind)).body
    assert (again["accepted"], again["duplicates"]) == (not commits, commits)


@pytest.mark.parametrize("status", [401, 403, 413, 429, 500, 503])
@pytest.mark.parametrize("kind", ["status", "status_after_commit"])
def test_a_status_comes_before_or_after_the_commit(
    server: ContractServer, caller: Caller, kind: str, status: int
) -> None:
    before = server.count()
    server.faults.add(kind, status=status, seconds=7)
    answer = caller.send(one(f"{kind}{status}"))
    assert (answer.status, set(answer.body)) == (status, {"error"})
    assert answer.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert server.count() - before == (kind == "status_after_commit")


def test_a_late_answer_is_late_and_befalls_only_the_path_that_was_named(
    server: ContractServer, caller: Caller
) -> None:
    server.faults.add("latency", seconds=0.2, path="/v1/usages/bulk")
    assert caller.get("/v1/meters").status == 200
    start = time.monotonic()
    assert caller.send(one("late")).status == 201
    assert time.monotonic() - start >= 0.2


def test_random_failures_of_a_seed_are_the_same_again(
    server: ContractServer, caller: Caller
) -> None:
    def outcomes(start: int) -> list[str]:
        server.faults.clear()
        server.faults.at_random(7, 0.1)
        return [outcome(caller, f"random{start + place}") for place in range(40)]

    first = outcomes(0)
    assert first == outcomes(100)
    assert {"201", "503", "429", "broken"} <= set(first)
    # Whatever happened: sent again until it is answered, every event is there once.
    server.faults.clear()
    for place in range(40):
        caller.send(one(f"random{place}"))
    keys = [event["idempotency_key"] for event in server.events()]
    assert sum(key in {f"random{place}" for place in range(40)} for key in keys) == 40
    assert len(set(keys)) == len(keys)


def outcome(caller: Caller, key: str) -> str:
    try:
        return str(caller.send(one(key)).status)
    except BROKEN:
        return "broken"


def test_an_unknown_fault_is_told(server: ContractServer) -> None:
    with pytest.raises(ValueError, match="known are latency"):
        server.faults.add("explosion")


def test_a_server_that_was_away_goes_on_with_what_it_had(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with contract_server(path) as server:
        caller = Caller(server.base_url, server.key)
        caller.meter("m")
        assert caller.send(one("before")).status == 201
        port = int(server.base_url.rsplit(":", 1)[1])
    with pytest.raises(urllib.error.URLError):
        caller.send(one("between"))
    assert [event["idempotency_key"] for event in stored_events(path)] == ["before"]
    with contract_server(path, port=port):
        assert caller.send(one("before")).body["duplicates"] == 1


def test_it_runs_as_a_process_of_its_own_until_its_input_is_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spanner_pipeline_tests.open_spanner"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "store.db"), "--events", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        caller = Caller(told["base_url"], told["key"])
        caller.meter("m")
        assert caller.send(one("k")).body["accepted"] == 1
        process.communicate(timeout=20)
    assert process.returncode == 0
