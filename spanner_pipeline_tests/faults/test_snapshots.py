"""Snapshots under kill -9, and two at once: a scope is the last delivery's, and whole."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from spanner_pipeline.importing import UsageImport
from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.lake.revert import revert
from spanner_pipeline_tests.faults.pairs import Pair
from spanner_pipeline_tests.faults.racing import DAYS, repeated, stale_or_free
from spanner_pipeline_tests.faults.scenes import leftovers
from spanner_pipeline_tests.faults.victim import kill
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, csv_bytes

pytestmark = pytest.mark.slow

IDENTITY = {"snapshot": {"scope": "subject", "row": "id", "shrink": "100%"}}
OLD = [Row(str(n), "acme", "1", f"2024-01-{1 + n % 5:02}T05:00:00Z") for n in range(100)]
KEPT = [Row("1", "globex", "7")]
NEW = [*(row.but(quantity="2") for row in OLD[10:40]), Row("later", "acme", time=OLD[0].time)]


def _quantities(rows: list[Row]) -> int:
    return sum(int(row.quantity) for row in rows)


@pytest.mark.parametrize(
    ("moment", "committed"),
    [
        ("inside write_without", False),
        ("after Replaced.close", False),
        ("inside write_scopes", False),
        ("after write_scopes", False),
        ("inside create_write_transaction", False),
        ("after create_write_transaction", True),
        ("inside Ledger.add", True),
    ],
)
def test_death_leaves_the_old_scope_or_the_new_one(
    tmp_path: Path, moment: str, committed: bool
) -> None:
    lake = TinyRoot(tmp_path, identity=IDENTITY)
    lake.deliver([*OLD, *KEPT])
    before = lake.events().sort("idempotency_key")
    lake.place({"new.csv": csv_bytes(NEW)})
    kill(tmp_path, moment)
    assert lake.events()["quantity"].sum() == 7 + _quantities(NEW if committed else OLD)
    assert leftovers(lake)
    done = lake.run()
    balance(done)
    assert done.unchanged == committed
    told = done.record.replacement
    assert told is not None
    assert (told.added.rows, told.changed.rows, told.removed.rows) == (1, 30, 70)
    assert lake.events()["quantity"].sum() == 7 + _quantities(NEW)
    maintain(lake.root, lake.catalog, timedelta(0))
    assert leftovers(lake) == set()
    revert(lake.root, lake.catalog, done.record.batch)
    assert lake.events().sort("idempotency_key").equals(before)


def test_death_in_a_revert_leaves_it_done_or_undone(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, identity=IDENTITY)
    lake.deliver([*OLD, *KEPT])
    batch = lake.deliver(NEW).record.batch
    kill(tmp_path, "inside create_write_transaction", batch=batch)
    assert lake.events()["quantity"].sum() == 7 + _quantities(NEW)
    kill(tmp_path, "after create_write_transaction", batch=batch)
    assert lake.events()["quantity"].sum() == 7 + _quantities(OLD)


@repeated(3)
@stale_or_free
def test_of_two_at_once_the_higher_revision_stands(
    tmp_path: Path, pair: Pair, number: int, stale: bool
) -> None:
    lake = TinyRoot(tmp_path, identity=IDENTITY, daily=True, corrections={"order": "partitions"})
    lake.place({f"{DAYS[0]}.csv": csv_bytes(OLD), f"{DAYS[1]}.csv": csv_bytes(NEW)})
    done: list[UsageImport] = pair.import_at_once(tmp_path, DAYS, stale=stale)
    for one in done:
        balance(one)
    assert lake.events()["quantity"].sum() == _quantities(NEW)
    version = lake.version
    assert all(lake.run(day).unchanged for day in DAYS)
    assert lake.version == version


@repeated(2)
def test_what_says_the_same_under_a_higher_revision_stands_though_it_commits_nothing(
    tmp_path: Path, pair: Pair, number: int
) -> None:
    lake = TinyRoot(tmp_path, identity=IDENTITY, daily=True, corrections={"order": "partitions"})
    lake.place({f"{DAYS[0]}.csv": csv_bytes(OLD)})
    lake.run(DAYS[0])
    lake.place({f"{DAYS[0]}.csv": csv_bytes(NEW), f"{DAYS[1]}.csv": csv_bytes(OLD)})
    pair.import_at_once(tmp_path, DAYS, stale=False)
    assert lake.events()["quantity"].sum() == _quantities(OLD)
