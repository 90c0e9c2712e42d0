"""A person at Dagster's web server sees what the command line did, and can mend it there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from spanner_pipeline_tests.small_root import DAYS
from spanner_pipeline_tests.test_cli import assert_whole
from spanner_pipeline_tests.ui.conftest import SHOTS, Dagster

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.ui, pytest.mark.slow]

STATS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
    partitionStats { numMaterialized numFailed numPartitions } } } }"""
LAUNCH = """mutation($given: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $given) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } } }"""


@pytest.fixture
def page(browser: Browser, dagster_dev: Dagster) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1500, "height": 950}, base_url=dagster_dev.url)
    context.set_default_timeout(45_000)
    yield context.new_page()
    context.close()


def stats(served: Dagster, *key: str) -> dict[str, int]:
    found: Any = served.ask(STATS, key={"path": list(key)})
    return dict(found["assetNodeOrError"]["partitionStats"])


def test_the_graph_shows_the_groups(page: Page) -> None:
    page.goto("/asset-groups")
    for group in ("edge", "switch", "bill", "usage", "reports"):
        page.get_by_text(group, exact=True).first.wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=SHOTS / "graph.png")


def test_the_partitions_page_counts_what_the_command_line_did(
    page: Page, dagster_dev: Dagster
) -> None:
    assert stats(dagster_dev, "edge", "merged") == {
        "numMaterialized": 2,
        "numFailed": 1,
        "numPartitions": 4,
    }
    page.goto("/assets/edge/merged?view=partitions")
    for count in ("Materialized (2)", "Failed (1)", "Missing (1)"):
        page.get_by_text(count).first.wait_for()
    page.screenshot(path=SHOTS / "partitions.png")


def test_a_partition_shows_its_counts_and_tables(page: Page) -> None:
    page.goto(f"/assets/switch/merged?view=partitions&partition={DAYS[2]}")
    page.get_by_text("rejected rows").first.wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=SHOTS / "partition.png")
    shown = page.inner_text("body")
    assert re.search(r"new rows\s+6", shown)
    assert re.search(r"rejected rows\s+1", shown)
    assert "21.006" in shown or "Show table" in shown


def test_the_overview_shows_the_row_count_and_what_it_is(page: Page) -> None:
    page.goto("/assets/switch/merged?view=overview")
    page.get_by_text("Events in the lake, every key once.").first.wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=SHOTS / "asset.png")


def test_the_report_shows_its_verdict_and_the_failed_check(page: Page) -> None:
    page.goto("/assets/reports/billed_calls")
    page.get_by_text("biggest breaks").first.wait_for()
    assert "FAIL" in page.inner_text("body")
    page.screenshot(path=SHOTS / "report-asset.png")
    page.goto("/assets/reports/billed_calls?view=checks")
    page.get_by_text("totals_agree").first.wait_for()
    page.wait_for_timeout(1000)
    page.screenshot(path=SHOTS / "check.png")


def test_a_failed_run_tells_the_remedy(page: Page, dagster_dev: Dagster) -> None:
    runs = dagster_dev.ask(
        "{ runsOrError(filter: {statuses: [FAILURE]}) { ... on Runs { results { runId } } } }"
    )["runsOrError"]["results"]
    assert len(runs) == 1
    page.goto(f"/runs/{runs[0]['runId']}")
    page.get_by_text("Remedy:").first.wait_for()
    page.screenshot(path=SHOTS / "failed-run.png")


def test_mended_days_turn_green_through_the_daemon(page: Page, dagster_dev: Dagster) -> None:
    """Last in this file: it mends the root that the others look at."""
    dagster_dev.root.write_hits(DAYS[1])
    told = dagster_dev.ask(
        LAUNCH,
        given={
            "assetSelection": [
                {"path": ["edge", stage]} for stage in ("extracted", "keyed", "validated", "merged")
            ],
            "partitionNames": [DAYS[1], DAYS[3]],
        },
    )["launchPartitionBackfill"]
    assert told["__typename"] == "LaunchBackfillSuccess", told
    deadline, status = time.monotonic() + 240, ""
    while time.monotonic() < deadline and not status.startswith("COMPLETED"):
        time.sleep(2)
        found = dagster_dev.ask(BACKFILL, id=told["backfillId"])
        status = found["partitionBackfillOrError"]["status"]
    assert status == "COMPLETED_SUCCESS"
    assert stats(dagster_dev, "edge", "merged")["numMaterialized"] == 4
    page.goto("/assets/edge/merged?view=partitions")
    page.get_by_text("Materialized (4)").first.wait_for()
    page.screenshot(path=SHOTS / "mended.png")
    dagster_dev.root.write_calls(DAYS[2])
    assert_whole(dagster_dev.root)
