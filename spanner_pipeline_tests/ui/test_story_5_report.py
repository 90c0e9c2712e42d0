"""The page of a report has its verdict, numbers, plots and checks, and downloads every run's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from spanner_pipeline_tests.small_root import DAYS
from spanner_pipeline_tests.ui.conftest import keep, see, visit_until
from spanner_pipeline_tests.ui.control_room import Served

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.ui, pytest.mark.slow]

REPORT = "/assets/reports/calls_by_day"
LINKS = {"HTML": "report.html", "XLSX": "report.xlsx", "CSV": "report.csv", "JSON": "verdict.json"}
EVENT = re.compile(r"^\w{3} \d+, \d+:\d\d [AP]M$")


def downloaded(ui: Page, link: str) -> bytes:
    with ui.expect_download() as downloading:
        ui.get_by_role("link", name=link, exact=True).first.click()
    assert downloading.value.suggested_filename.startswith("reports__calls_by_day__")
    return downloading.value.path().read_bytes()


def test_the_report_shows_verdict_numbers_and_plot(ui: Page) -> None:
    ui.goto(f"{REPORT}?view=events")
    ui.get_by_text("biggest breaks").wait_for()
    shown = ui.inner_text("body")
    for told in ("WARN", "from old to new", "old total", "unexplained", DAYS[1]):
        assert told in shown
    keep(ui, "5-report")
    ui.goto(f"{REPORT}?view=overview")
    ui.get_by_text("Plots", exact=True).click()
    ui.locator("canvas").first.wait_for()
    ui.locator("canvas").first.scroll_into_view_if_needed()
    keep(ui, "5-plots")


@pytest.mark.parametrize(
    ("comparison", "period", "counted", "icon"),
    [
        ("billed_calls", "2024-01", "Failed (1)", "cancel"),
        ("calls_by_day", DAYS[1], "Passed (2)", "warning_outline"),
    ],
)
def test_checks_are_red_or_green_by_period_with_their_severity(
    ui: Page, comparison: str, period: str, counted: str, icon: str
) -> None:
    ui.goto(f"/assets/reports/{comparison}/by_period?view=checks")
    see(ui, "totals_agree")
    ui.get_by_text("Partitions", exact=True).last.click()
    ui.get_by_text(counted).wait_for()
    ui.get_by_text(period, exact=True).filter(visible=True).last.click()
    see(ui, "numbers beyond tolerance")
    ui.get_by_role("img", name=icon).last.wait_for()
    keep(ui, f"5-checks-{comparison}")


def test_this_report_and_that_of_an_earlier_run_are_downloaded(ui: Page, served: Served) -> None:
    folder = served.root.reports / "calls_by_day"
    earlier = {link: (folder / file).read_bytes() for link, file in LINKS.items()}
    served.root.write_daily_bill(wrong=False)
    ui.goto(f"{REPORT}?view=events")
    ui.get_by_text("93.026 call").first.wait_for()
    ui.get_by_role("button", name="Materialize").first.click()
    ui.get_by_text("Launched run").first.wait_for()
    visit_until(ui, f"{REPORT}?view=events", "84.024 call")
    for link, file in LINKS.items():
        kept = (folder / file).read_bytes()
        assert kept != earlier[link]
        assert downloaded(ui, link) == kept
    ui.get_by_text(EVENT).filter(visible=True).nth(1).click()
    ui.get_by_text("93.026 call").first.wait_for()
    keep(ui, "5-earlier-run")
    for link, bytes_then in earlier.items():
        assert downloaded(ui, link) == bytes_then
