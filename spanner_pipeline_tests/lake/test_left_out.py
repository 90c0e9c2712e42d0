"""Law 7: a row that is left out by declaration is kept, if its quantity and time are known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from spanner_pipeline import engine, staging
from spanner_pipeline.importing import UsageImport
from spanner_pipeline.lake.maintenance import maintain
from spanner_pipeline.lake.quarantine import quarantine_file
from spanner_pipeline.lake.revert import revert
from spanner_pipeline.plan import plan
from spanner_pipeline.sources.mapping import FILTERED, OUTSIDE_SCOPE
from spanner_pipeline_tests.lake.building import Row, TinyRoot, csv_bytes

EUROPE = {"where": {"region": {"is": ["eu"]}}}
ROWS = [
    Row("1", region="eu"),
    Row("2", subject="", quantity="2.5", region="us"),
    Row("3", quantity="x", region="us"),
    Row("4", time="soon", region="us"),
    Row("5", quantity="x", region="eu"),
    Row("6", quantity="-7", time="2024-01-02T01:00:00+01:00"),
]


def _file(lake: TinyRoot, done: UsageImport) -> Path:
    return quarantine_file(lake.root, done.record.batch, done.record.usage, "left_out")


def _declare_scope(lake: TinyRoot) -> None:
    path = lake.path / "sources" / "one.yaml"
    source = json.loads(path.read_text(encoding="utf-8"))
    source["scope"] = {"from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}
    path.write_text(json.dumps(source), encoding="utf-8")


def test_rows_left_out_are_kept_with_why_and_from_where(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, usage=EUROPE)
    done = lake.deliver(ROWS)
    assert (done.totals.new.rows, done.totals.out_of_scope.rows) == (1, 4)
    left_out = pl.read_parquet(_file(lake, done))
    common = {"why": FILTERED, "source_file": "legacy/delivery.csv", "source": "legacy"}
    common["import_batch"] = done.record.batch
    assert left_out.columns == [
        *("why", "subject", "quantity", "timestamp", "dim_region", "source_file", "source_line"),
        *("source", "import_batch"),
    ]
    assert left_out.schema["quantity"] == pl.Decimal(38, 9)
    assert left_out.schema["timestamp"] == pl.Datetime("us", "UTC")
    assert left_out.to_dicts() == [
        common
        | {"subject": None, "quantity": Decimal("2.5"), "dim_region": "us", "source_line": 3}
        | {"timestamp": datetime(2024, 1, 1, tzinfo=UTC)},
        common
        | {"subject": "org_1", "quantity": Decimal(-7), "dim_region": None, "source_line": 7}
        | {"timestamp": datetime(2024, 1, 2, tzinfo=UTC)},
    ]


def test_rows_outside_the_migrated_time_are_kept(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, usage=EUROPE)
    _declare_scope(lake)
    done = lake.deliver(
        [Row("1", region="eu"), Row("2", region="eu", time="2025-01-01T00:00:00Z"), Row("3")]
    )
    left_out = pl.read_parquet(_file(lake, done)).select("why", "source_line")
    assert left_out.rows() == [(OUTSIDE_SCOPE, 3), (FILTERED, 4)]
    assert {why: total.rows for why, total in done.record.out_of_scope.items()} == {
        OUTSIDE_SCOPE: 1,
        FILTERED: 1,
    }


def test_they_stand_in_the_order_of_files_and_lines_however_they_were_batched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_BATCH_ROWS", 10)
    lake = TinyRoot(tmp_path, usage=EUROPE, identity="multiset")
    rows = [Row(str(i), quantity=str(1 + i % 7), region="us" if i % 3 else "eu") for i in range(99)]
    lake.place({"b.csv": csv_bytes(rows), "a.csv.gz": csv_bytes(rows[::-1])})
    done = lake.run()
    left_out = pl.read_parquet(_file(lake, done)).select("source_file", "source_line")
    assert left_out.height == 132
    assert left_out.rows() == sorted(left_out.rows())


def test_an_import_that_leaves_nothing_out_removes_what_an_earlier_one_left(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, usage=EUROPE)
    done = lake.deliver(ROWS)
    lake.usage = {}
    lake.declare()
    again = lake.run()
    assert _file(lake, again) == _file(lake, done)
    assert not _file(lake, again).exists()


def test_a_revert_takes_them_along_maintenance_and_plans_leave_them(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, usage=EUROPE)
    done = lake.deliver(ROWS)
    file = _file(lake, done)
    content = file.read_bytes()
    maintain(lake.root, lake.catalog)
    lake.place({"more.csv": csv_bytes([*ROWS, *ROWS])})
    plan(lake.root, lake.catalog, [(lake.catalog.sources["legacy"], ["whole"])])
    assert file.read_bytes() == content
    beside = len(list(file.parent.iterdir()))
    assert beside == 3, "there are the rejected rows, and the file to mend them in"
    revert(lake.root, lake.catalog, done.record.batch)
    assert not list(file.parent.iterdir())


def test_rejected_rows_keep_their_dimensions_as_typed_values(tmp_path: Path) -> None:
    dimensions = [
        {"name": "region", "type": "string", "required": False},
        {"name": "rev", "type": "number", "required": False},
    ]
    lake = TinyRoot(tmp_path, dimensions=dimensions)
    done = lake.deliver([Row("1", quantity="x", region="eu", rev="2.5"), Row("2", rev="two")])
    file = quarantine_file(lake.root, done.record.batch, done.record.usage, "rejected")
    rejected = pl.read_parquet(file)
    assert rejected.columns == [*staging.REJECTED_COLUMNS, "dim_region", "dim_rev"]
    assert rejected.select("dim_region", "dim_rev").rows() == [("eu", Decimal("2.5")), (None, None)]
