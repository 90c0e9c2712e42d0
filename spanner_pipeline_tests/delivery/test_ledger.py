"""The ledger of deliveries says the same after it was tidied, and when it was begun long ago."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from spanner_pipeline.delivery.fates import Choices
from spanner_pipeline.delivery.ledger import DeliveryLedger
from spanner_pipeline.delivery.target import Target
from spanner_pipeline.engine import open_duckdb
from spanner_pipeline_tests.delivery.conftest import RECENT, at, planned, tiny
from spanner_pipeline_tests.delivery.victim import deliver_all
from spanner_pipeline_tests.lake.building import Row, TinyRoot
from spanner_pipeline_tests.open_spanner import ContractServer

LIVE = {"name": "calls", "id": "7"}


@pytest.fixture
def root(tmp_path: Path) -> TinyRoot:
    return TinyRoot(tmp_path / "root")


def opened(root: TinyRoot) -> DeliveryLedger:
    return DeliveryLedger(root.root, Target.build("https://spanner.example", "key"), LIVE)


def word(key: str, status: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"idempotency_key": [key], "status": [status], "quantity": ["1.5"], "timestamp": [RECENT]}
    )


def last_words(ledger: DeliveryLedger) -> list[tuple[str, str]]:
    with open_duckdb() as connection:
        sql = f"SELECT idempotency_key, status FROM ({ledger.last_words_sql()}) ORDER BY 1"
        return connection.execute(sql).fetchall()


def test_many_small_files_become_one_and_say_the_same(root: TinyRoot) -> None:
    ledger = opened(root)
    for number in range(40):
        ledger.write(word(f"key {number % 20:02}", "sent" if number < 20 else "accepted"))
    before = last_words(ledger)
    assert len(ledger.files()) == 40
    ledger.tidy()
    assert len(ledger.files()) == 1
    assert last_words(ledger) == before == [(f"key {n:02}", "accepted") for n in range(20)]
    again = opened(root)  # another process, which goes on counting where this one stopped
    again.write(word("key 00", "failed"))
    assert last_words(again)[0] == ("key 00", "failed")
    assert len(again.files()) == 2
    again.tidy()
    assert len(again.files()) == 2  # a few files are no trouble


def test_a_ledger_that_was_begun_before_there_was_netting_goes_on(
    tmp_path: Path, service: ContractServer, workspace: str, key: str
) -> None:
    keep = {"quantity": {"column": "quantity", "nonpositive": "keep"}}
    rows = [Row("a", time=at(1))]
    root = tiny(tmp_path / "root", rows, usage=keep)
    deliver_all(root.path, service.base_url, key)
    [log] = (root.path / "deliveries").rglob("_delta_log")
    old = DeltaTable(log.parent).to_pyarrow_table().drop_columns("net")
    write_deltalake(log.parent, old, mode="overwrite", schema_mode="overwrite")
    assert planned(root, service, key, net="month").fates["delivered"].rows == 1
    root.deliver([*rows, Row("b", "org_2", "3", at(2)), Row("c", "org_2", "-1", at(2))])
    deliver_all(root.path, service.base_url, key, Choices(rate=10**9, net="month"))
    again = planned(root, service, key)
    assert (again.fates["delivered"].rows, again.to_send) == (3, 0)
    there = [e["quantity"] for e in service.events(workspace)]
    assert there == [1, 2]
