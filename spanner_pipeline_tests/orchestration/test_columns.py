"""The columns that Dagster's catalog shows are those that the files really have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable

from spanner_pipeline.assets.backfill import run_backfill
from spanner_pipeline.assets.build import build_definitions
from spanner_pipeline.assets.instance import open_instance
from spanner_pipeline_tests.small_root import SmallRoot, small_root

SCHEMA, LINEAGE = "dagster/column_schema", "dagster/column_lineage"
BILL = dg.AssetKey(["bill", "billing_totals"])
MERGED = dg.AssetKey(["switch", "merged"])
USAGE = dg.AssetKey(["usage", "calls"])
REPORT = dg.AssetKey(["reports", "billed_calls"])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> SmallRoot:
    made = small_root(tmp_path_factory.mktemp("columns") / "root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        assert run_backfill(made, ["switch"]).broken == {}
    return made


@pytest.fixture(scope="module")
def instance(root: SmallRoot) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        with open_instance(root) as opened:
            yield opened


def declared(root: SmallRoot, key: dg.AssetKey) -> list[dg.TableColumn]:
    schema: Any = build_definitions(root).resolve_asset_graph().get(key).metadata[SCHEMA]
    return list(schema.columns)


def names(root: SmallRoot, key: dg.AssetKey) -> list[str]:
    return [column.name for column in declared(root, key)]


def shown(instance: dg.DagsterInstance, key: dg.AssetKey) -> Any:
    [record] = instance.fetch_materializations(key, limit=1).records
    assert record.asset_materialization is not None
    return record.asset_materialization.metadata


def test_merged_has_the_columns_of_the_table(root: SmallRoot) -> None:
    uri: Any = build_definitions(root).resolve_asset_graph().get(MERGED).metadata["dagster/uri"]
    table = DeltaTable(uri)
    assert names(root, MERGED) == [field.name for field in table.schema().fields]
    described = {column.name: column for column in declared(root, MERGED)}
    assert described["quantity"].type == "DECIMAL(38, 3)"
    assert str(described["quantity"].description).endswith("unit: call.")
    assert described["idempotency_key"].constraints.unique
    assert not described["subject"].constraints.nullable


def test_usage_has_the_columns_of_its_file(root: SmallRoot, instance: dg.DagsterInstance) -> None:
    path = shown(instance, USAGE)["path"].value
    assert names(root, USAGE) == list(pl.read_parquet_schema(path))


def test_a_report_has_the_columns_of_its_file(root: SmallRoot) -> None:
    file = root.reports / "billed_calls/report.parquet"
    assert names(root, REPORT) == list(pl.read_parquet_schema(file))
    assert names(root, BILL) == ["account", "calls", "month"]


def test_lineage_names_columns_that_exist(root: SmallRoot, instance: dg.DagsterInstance) -> None:
    for key in (USAGE, REPORT):
        lineage = shown(instance, key)[LINEAGE].column_lineage.deps_by_column
        assert set(lineage) <= set(names(root, key))
        for column, origins in lineage.items():
            for origin in origins:
                assert origin.column_name in names(root, origin.asset_key), (key, column)
    old = shown(instance, REPORT)[LINEAGE].column_lineage.deps_by_column["old"]
    assert [(o.asset_key, o.column_name) for o in old] == [(BILL, "calls")]


def test_a_run_says_what_it_read(root: SmallRoot, instance: dg.DagsterInstance) -> None:
    usage, report = shown(instance, USAGE), shown(instance, REPORT)
    assert usage["table version"].value == report["table version"].value == "4"
    assert len(usage["sha256"].value) == len(report["fingerprint"].value) == 64
    [bill] = report["old bill files"].records
    assert bill.data["file"] == "legacy/bill.csv"
    assert len(str(bill.data["sha256"])) == 64
    [imports] = report["imports"].records
    assert imports.data == {
        "source": "switch",
        "deliveries imported": 4,
        "events": 24,
        "deliveries not imported": "none",
    }
