"""A year is backfilled in a few runs; one day fails alone, is mended, and nothing counts twice.

The tests tell one story, in the order in which they stand.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from spanner_pipeline.root import load_sound
from spanner_pipeline.usage.query import query_usage
from spanner_pipeline_tests.ui.conftest import keep, opened
from spanner_pipeline_tests.ui.control_room import BROKEN_DAY, EVENTS_A_DAY, ControlRoom, Served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.ui, pytest.mark.slow]

MERGED = "/assets/metering/merged?view=partitions"
FOR_A_YEAR_MS = 600_000
SOME = re.compile(r"^[1-9]\d?% completed$")
RUNS = """query($id: String!) {
    runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
        ... on Runs { results { status } } } }"""


@pytest.fixture(scope="module")
def sound(served: Served) -> bytes:
    """The sound file of a day whose file in the root is broken."""
    return served.root.break_line(BROKEN_DAY)


@pytest.fixture(scope="module")
def backfill(browser: Browser, served: Served, sound: bytes) -> str:
    """The address of a backfill that a person launched, watched, and saw end."""
    with opened(browser, served) as ui:
        ui.goto("/locations/spanner_pipeline/asset-groups/metering")
        ui.get_by_role("button", name="Materialize all").click()
        dialog = ui.get_by_role("dialog")
        chosen = dialog.locator("input[placeholder^='ex:']")
        chosen.fill("[2023-01-01...2023-12-31]")
        chosen.press("Enter")
        dialog.get_by_text("365 partitions").wait_for()
        keep(ui, "2-launch")
        dialog.get_by_role("button", name="Launch backfill").click()
        ui.get_by_text("View", exact=True).click()
        ui.wait_for_url("**/runs/b/*")
        ui.get_by_text(SOME).first.wait_for(timeout=FOR_A_YEAR_MS)
        keep(ui, "2-progress")
        _ended(ui, "Failed")
        keep(ui, "2-backfill")
        return ui.url


def _ended(ui: Page, how: str) -> None:
    """Wait until the page of a backfill shows how it ended."""
    status = ui.get_by_text("Status", exact=True).first.locator("xpath=..")
    status.get_by_text(how, exact=True).wait_for(timeout=FOR_A_YEAR_MS)


def _runs(served: Served, address: str) -> list[str]:
    found = served.ask(RUNS, id=address.split("/")[-1].split("?")[0])
    return sorted(run["status"] for run in found["runsOrError"]["results"])


def used(root: ControlRoom, days: Sequence[str]) -> Decimal:
    """The quantity in the files of some days, by plain reading."""
    total = Decimal(0)
    for day in days:
        with gzip.open(root.year_file(day), "rt", encoding="utf-8") as file:
            total += sum((Decimal(row["units"]) for row in csv.DictReader(file)), Decimal(0))
    return total


def year_days(root: ControlRoom) -> Iterator[str]:
    for file in sorted(root.year_file(BROKEN_DAY).parent.iterdir()):
        yield file.name[7:17]


def in_the_lake(root: ControlRoom) -> tuple[int, Decimal]:
    """Events and quantity of the year, by the product's own query."""
    meter = load_sound(root)[0].meters["units"]
    start, end = datetime(2023, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    found = query_usage(root, meter, start, end, "month")
    return int(found["events"].sum()), sum(found["quantity"].to_list(), Decimal(0))


def test_a_year_takes_four_runs(served: Served, backfill: str) -> None:
    assert _runs(served, backfill) == ["FAILURE", "SUCCESS", "SUCCESS", "SUCCESS"]


def test_one_day_is_red_alone(ui: Page, served: Served, backfill: str) -> None:
    ui.goto(MERGED)
    for count in ("Failed (1)", "Materialized (364)", "Missing (0)"):
        ui.get_by_text(count).wait_for()
    keep(ui, "3-one-day-failed")
    good = [day for day in year_days(served.root) if day != BROKEN_DAY]
    assert in_the_lake(served.root) == (364 * EVENTS_A_DAY, used(served.root, good))


@pytest.mark.parametrize("day", ["2023-03-06", "2023-03-08"])
def test_its_neighbours_show_rows_quantity_and_rejected(
    ui: Page, served: Served, backfill: str, day: str
) -> None:
    ui.goto(f"{MERGED}&partition={day}")
    ui.get_by_text("rejected rows").wait_for()
    shown = ui.inner_text("body")
    assert re.search(rf"dagster/row_count\s+{EVENTS_A_DAY}\s", shown)
    assert re.search(r"rejected rows\s+0\s", shown)
    [quantity] = re.findall(r"quantity\s+([\d,.]+) \(units\)", shown)
    assert Decimal(quantity.replace(",", "")) == used(served.root, [day])
    keep(ui, "2-partition")


def test_the_red_day_says_which_file_and_line_and_what_to_do(ui: Page, backfill: str) -> None:
    ui.goto(f"{MERGED}&partition={BROKEN_DAY}")
    ui.get_by_text("failed, and did not materialize this asset").wait_for()
    ui.get_by_text("View all historical events").click()
    dialog = ui.get_by_role("dialog")
    dialog.get_by_text(BROKEN_DAY, exact=True).click()
    dialog.get_by_text("Remedy: fetch the file again").first.wait_for()
    assert f"events-{BROKEN_DAY}.csv.gz:{EVENTS_A_DAY + 2}" in dialog.inner_text()
    keep(ui, "3-why")


def test_only_the_mended_day_runs_again_and_nothing_counts_twice(
    ui: Page, served: Served, backfill: str, sound: bytes
) -> None:
    served.root.year_file(BROKEN_DAY).write_bytes(sound)
    ui.goto(backfill)
    ui.get_by_text("Status", exact=True).first.wait_for()
    ui.get_by_role("button").last.click()
    ui.get_by_role("menuitem", name="Re-execute from failure").click()
    ui.get_by_text("View", exact=True).click()
    ui.wait_for_url(lambda url: "/runs/b/" in url and url != backfill)
    ui.get_by_text(BROKEN_DAY).first.wait_for()
    keep(ui, "3-only-the-failed")
    _ended(ui, "Succeeded")
    keep(ui, "3-mended")
    assert _runs(served, ui.url) == ["SUCCESS"]
    ui.goto(MERGED)
    ui.get_by_text("Materialized (365)").wait_for()
    days = list(year_days(served.root))
    assert in_the_lake(served.root) == (365 * EVENTS_A_DAY, used(served.root, days))
    ui.goto(f"{MERGED}&partition=2023-03-08")
    ui.get_by_text("View all historical events (1)").wait_for()
