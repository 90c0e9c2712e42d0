"""A person at the report's page downloads it, and sees which period is red."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from spanner_pipeline_tests.ui.conftest import SHOTS, Dagster

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.ui, pytest.mark.slow]


@pytest.fixture
def page(browser: Browser, dagster_dev: Dagster) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1500, "height": 950}, base_url=dagster_dev.url)
    context.set_default_timeout(45_000)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize(
    ("link", "name", "file"),
    [
        ("HTML", "report.html", "report.html"),
        ("XLSX", "report.xlsx", "report.xlsx"),
        ("JSON", "report.json", "verdict.json"),
    ],
)
def test_a_click_downloads_the_report(
    page: Page, dagster_dev: Dagster, link: str, name: str, file: str
) -> None:
    page.goto("/assets/reports/billed_calls")
    shown = page.get_by_role("link", name=link, exact=True).first
    shown.wait_for()
    page.screenshot(path=SHOTS / "download.png")
    with page.expect_download() as downloading:
        shown.click()
    download = downloading.value
    assert download.suggested_filename.startswith("reports__billed_calls__")
    assert download.suggested_filename.endswith(f"__{name}")
    kept = dagster_dev.root.reports / "billed_calls" / file
    assert download.path().read_bytes() == kept.read_bytes()


def test_the_periods_of_a_check_have_colours(page: Page) -> None:
    page.goto("/assets/reports/billed_calls/by_period?view=checks")
    page.get_by_text("totals_agree").first.wait_for()
    page.get_by_text("Partitions", exact=True).last.click()
    page.get_by_text("Failed (1)").first.wait_for()
    page.screenshot(path=SHOTS / "periods.png")
