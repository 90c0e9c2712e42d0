"""Presets of systems whose real files are in the folder of shared data; skipped where it is not."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from spanner_pipeline.presets import add_preset
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.lake_reading import events, run

REAL = {
    "aws_cur_2",
    "aws_cur_2_csv",
    "aws_cur_legacy",
    "focus_1_0",
    "oci_cost_report",
    "apache_access_log",
}

Prepared = Callable[[str, str, Path], DataRoot]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """A root with one preset, and one real file where it looks for it."""

    def prepare(name: str, place: str, real: Path) -> DataRoot:
        root = DataRoot(tmp_path)
        assert add_preset(root, name).problems == ()
        path = tmp_path / "legacy" / place
        path.parent.mkdir(parents=True)
        path.symlink_to(real)
        return root

    return prepare


def compared(root: DataRoot, name: str) -> Comparison:
    catalog = load_catalog(root)
    (found,) = [(s, total) for s, total in catalog.comparisons if total.name == name]
    return reconcile(root, catalog, *found)


def total(root: DataRoot, meter: str) -> tuple[int, Decimal]:
    table = events(root, meter)
    return table.height, table["quantity"].sum()


CUR_COST = Decimal("1.6823086974")


def of_unit_requests(real: Path) -> tuple[int, Decimal]:
    """What AWS metered in requests, measured without the product's code."""
    rows = pl.read_csv(real, infer_schema=False).filter(
        pl.col("pricing/unit").is_in(["Requests", "Request", "API Requests", "API Request"]),
        pl.col("lineItem/LineItemType") == "Usage",
    )
    return rows.height, sum((Decimal(t) for t in rows["lineItem/UsageAmount"]), Decimal(0))


class TestAws:
    def test_a_legacy_report_sums_to_its_last_digit(
        self, shared_data: Path, prepared: Prepared
    ) -> None:
        real = shared_data / "cloud_bills" / "aws_cur_sample.csv"
        root = prepared("aws_cur_legacy", "aws_cur/2023-11/report.csv", real)
        run(root, "aws_cur_legacy", "2023-11")
        assert total(root, "aws_cost_usd") == (1_281, CUR_COST)
        assert total(root, "aws_requests") == of_unit_requests(real)
        bill = compared(root, "aws_cur_legacy_bill")
        assert (bill.old_total, bill.difference, bill.verdict) == (CUR_COST, 0, "PASS")

    def test_a_month_that_is_refreshed_with_other_ids_and_invoices_replaces_the_old_one(
        self, shared_data: Path, tmp_path: Path, prepared: Prepared
    ) -> None:
        real = shared_data / "cloud_bills" / "aws_cur_sample.csv"
        rows = pl.read_csv(real, infer_schema=False)
        refreshed = tmp_path / "refreshed.csv"
        rows.tail(-1).with_columns(
            (pl.col("identity/LineItemId") + "x").alias("identity/LineItemId"),
            pl.lit("1234").alias("bill/InvoiceId"),
        ).write_csv(refreshed)
        root = prepared("aws_cur_legacy", "aws_cur/2023-11/report.csv", real)
        run(root, "aws_cur_legacy", "2023-11")
        (tmp_path / "legacy/aws_cur/2023-11/report.csv").unlink()
        refreshed.rename(tmp_path / "legacy/aws_cur/2023-11/report.csv")
        cost, _ = run(root, "aws_cur_legacy", "2023-11")
        assert cost.replacement is not None
        assert (cost.replacement.added.rows, cost.replacement.removed.rows) == (0, 1)
        assert total(root, "aws_cost_usd") == (
            1_280,
            CUR_COST - Decimal(rows["lineItem/UnblendedCost"][0]),
        )

    @pytest.mark.parametrize("kind", ["parquet", "csv"])
    def test_a_report_2_0_says_the_same(
        self, shared_data: Path, tmp_path: Path, prepared: Prepared, kind: str
    ) -> None:
        real = shared_data / "cloud_bills" / "aws_cur_sample.csv"
        rows = pl.read_csv(real, infer_schema=False).rename(_in_snake_case)
        made = tmp_path / "made"
        if kind == "parquet":  # doubles and timestamps, as AWS writes them
            names = ["line_item_usage_amount", "line_item_unblended_cost"]
            times = [n for n in rows.columns if n.endswith("_date")]
            rows.with_columns(
                pl.col(names).cast(pl.Float64),
                pl.col(times).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms"),
            ).write_parquet(made)
            name, suffix = "aws_cur_2", "snappy.parquet"
        else:
            made.write_bytes(gzip.compress(rows.write_csv().encode()))
            name, suffix = "aws_cur_2_csv", "csv.gz"
        root = prepared(name, f"aws_cur_2/BILLING_PERIOD=2023-11/export-00001.{suffix}", made)
        run(root, name, "2023-11")
        assert total(root, "aws_cost_usd") == (1_281, CUR_COST)
        assert total(root, "aws_requests") == of_unit_requests(real)
        bill = compared(root, f"{name}_bill")
        assert (bill.old_total, bill.difference, bill.verdict) == (CUR_COST, 0, "PASS")


def _in_snake_case(name: str) -> str:
    """`lineItem/UsageStartDate` as report 2.0 spells it."""
    spelled = "".join(f"_{c.lower()}" if c.isupper() else c for c in name.replace("/", "_"))
    return spelled.replace("__", "_")


def test_focus_1_0_sums_to_its_last_digit(shared_data: Path, prepared: Prepared) -> None:
    real = shared_data / "focus" / "focus_sample.csv"
    root = prepared("focus_1_0", "focus/2024-09/sample.csv", real)
    run(root, "focus_1_0", "2024-09")
    billed = Decimal("20.52022672899")
    assert total(root, "focus_cost_usd") == (1_000, billed)
    assert total(root, "focus_requests") == (42 + 8, 1_248 + 8)  # Requests, API Requests
    bill = compared(root, "focus_1_0_bill")
    assert bill.old_total == billed
    # One row of September stands on October's bill: October lacks it, and September, in which its
    # account has no other row of that service, has usage that no number covers.
    differing = bill.cells.filter(pl.col("difference") != 0)["difference"].to_list()
    assert differing == [Decimal("-0.24")]
    assert (bill.outside.rows, bill.outside.quantity) == (1, Decimal("0.24"))


def test_an_oracle_report_sums_to_its_last_digit(shared_data: Path, prepared: Prepared) -> None:
    real = shared_data / "cloud_bills" / "oci_cost_report.no_tags.csv"
    root = prepared("oci_cost_report", "oci/2023-11-13/report.csv", real)
    run(root, "oci_cost_report", "2023-11-13")
    cost = Decimal("2.523589325400648027")
    assert total(root, "oci_cost_usd") == (506, cost)
    assert total(root, "oci_gb_months") == (138, Decimal("5.543466105991"))
    bill = compared(root, "oci_cost_report_bill")
    assert (bill.old_total, bill.difference, bill.verdict) == (cost, 0, "PASS")


def test_an_apache_log_counts_requests_and_bytes(shared_data: Path, prepared: Prepared) -> None:
    real = shared_data / "weblogs" / "apache_logs"
    root = prepared("apache_access_log", "apache/access-2015-05-17.log", real)
    requests, egress = run(root, "apache_access_log", "2015-05-17")
    assert (requests.totals.new.rows, requests.record.rejected) == (9_999, {"malformed_row": 1})
    assert egress.totals.new.quantity == 2_747_282_505
