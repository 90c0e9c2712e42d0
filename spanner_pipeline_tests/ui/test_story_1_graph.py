"""The graph of assets says what there is, whose it is and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spanner_pipeline_tests.ui.conftest import keep, see

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.ui, pytest.mark.slow]

STAGES = ("extracted", "keyed", "validated", "merged")


def test_the_graph_has_a_group_for_each_source_and_for_usage_and_reports(ui: Page) -> None:
    ui.goto("/asset-groups")
    groups = ("switch", "edge", "metering", "bill", "daily_bill", "usage", "reports", "wharf")
    for group in groups:
        see(ui, group)
    keep(ui, "1-graph")


def test_a_group_has_the_stages_of_its_source_with_their_kinds(ui: Page) -> None:
    ui.goto("/locations/spanner_pipeline/asset-groups/switch")
    for shown in (*STAGES, "Polars", "Pandera", "Delta Lake"):
        see(ui, shown)
    keep(ui, "1-stages")


def test_an_asset_shows_description_columns_owner_kinds_and_stage(ui: Page) -> None:
    ui.goto("/assets/switch/merged?view=overview")
    ui.get_by_text("Events in the lake, every key once. The old telephone switch.").wait_for()
    see(ui, "idempotency_key")
    see(ui, "network@example.com")
    see(ui, "watch_switch")  # what starts it
    shown = ui.inner_text("body")
    for told in ("DECIMAL(38, 3)", "dim_region", "DuckDB", "Delta Lake", "stage: merged"):
        assert told in shown
    keep(ui, "1-asset")


def test_a_report_comes_from_the_old_bill_and_the_lake(ui: Page) -> None:
    ui.goto("/assets/reports/billed_calls?view=lineage&lineageScope=upstream")
    for shown in ("bill", "billing_totals", "switch", "merged", "billed_calls"):
        see(ui, shown)
    keep(ui, "1-lineage")
