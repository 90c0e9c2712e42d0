"""A service that stands for all tests of a module, and a lake that was imported once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.deliver import plan_delivery
from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.plan import Plan
from spanner_pipeline.delivery.target import Target
from spanner_pipeline_tests.delivery.victim import SOON
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import VERSIONS, ContractServer, contract_server

RECENT = datetime.now(UTC).replace(microsecond=0) - timedelta(days=20)
EVENTS = 12_345

Copy = Callable[[], TinyRoot]


def at(seconds: int, fraction: str = "") -> str:
    """A recent instant."""
    return f"{RECENT + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def tiny(path: Path, rows: list[Row], **declared: Any) -> TinyRoot:
    """A root with these rows in its lake."""
    root = TinyRoot(path, **declared)
    root.deliver(rows)
    return root


def ledger(root: TinyRoot) -> pl.DataFrame:
    """The last word on every key, by the files alone."""
    files = [p for p in (root.path / "deliveries").rglob("*.parquet") if "_delta_log" not in str(p)]
    empty = pl.DataFrame(
        schema={"step": pl.Int64, "idempotency_key": pl.String, "status": pl.String}
    )
    said = pl.concat([empty, *map(pl.read_parquet, files)], how="diagonal")
    return said.sort("step").unique("idempotency_key", keep="last", maintain_order=True)


def assert_arrived(root: TinyRoot, service: ContractServer, workspace: str) -> None:
    """Service = lake = ledger, to the event."""
    lake = dict(root.events().select("idempotency_key", "quantity").rows())
    there = [(e["idempotency_key"], Decimal(str(e["quantity"]))) for e in service.events(workspace)]
    assert len(there) == len(lake)
    assert dict(there) == lake
    known = ledger(root)
    assert set(known["status"]) <= {"accepted", "duplicate"}
    assert {k: Decimal(q) for k, q in known.select("idempotency_key", "quantity").rows()} == lake


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractServer]:
    """A 0.1.13 without a rate limit; each test delivers with a key of a workspace of its own."""
    with contract_server(tmp_path_factory.mktemp("service") / "events.db") as server:
        server.limits.events = None
        yield server


@pytest.fixture(scope="module", params=VERSIONS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ContractServer]:
    """A service of each version, without a rate limit."""
    path = tmp_path_factory.mktemp("server") / "events.db"
    with contract_server(path, version=request.param) as server:
        server.limits.events = None
        yield server


@pytest.fixture
def workspace(service: ContractServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of the test's own workspace."""
    yield request.node.name
    service.faults.clear()


@pytest.fixture
def key(service: ContractServer, workspace: str) -> str:
    """A key of the test's workspace."""
    return service.new_key(workspace)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> TinyRoot:
    """Plenty of plain events."""
    rows = [
        Row(str(n), f"org_{n % 7}", f"{n % 97 + 1}.25", at(n), ("eu", "us", "")[n % 3])
        for n in range(EVENTS)
    ]
    return tiny(tmp_path_factory.mktemp("imported") / "root", rows)


@pytest.fixture
def large(imported: TinyRoot, tmp_path: Path) -> TinyRoot:
    """A copy of it that the test may deliver from."""
    shutil.copytree(imported.path, tmp_path / "large")
    return TinyRoot(tmp_path / "large")


def planned(root: TinyRoot, service: ContractServer, key: str, **choices: Any) -> Plan:
    """The plan of a delivery."""
    with OpenSpanner(Target.build(service.base_url, key), SOON) as client:
        return plan_delivery(root.root, root.meter, client, Choices(**choices))
