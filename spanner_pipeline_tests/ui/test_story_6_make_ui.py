"""`make ui` has all that can be started, and shows what it would do before it does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spanner_pipeline.lake.ledger import Ledger
from spanner_pipeline_tests.small_root import DAYS
from spanner_pipeline_tests.ui.conftest import keep, see
from spanner_pipeline_tests.ui.control_room import Served

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.ui, pytest.mark.slow]

JOBS = "/locations/spanner_pipeline/jobs"


def test_all_that_starts_by_itself_is_listed(ui: Page) -> None:
    ui.goto("/automation")
    for name in ("watch_switch", "import_switch_nightly", "reconcile_billed_calls_nightly"):
        see(ui, name)
    for when in ("Standard sensor", "At 02:00 AM UTC", "At 04:00 AM UTC"):
        ui.get_by_text(when).first.wait_for()
    keep(ui, "6-automation")


def test_there_is_a_job_for_each_thing(ui: Page) -> None:
    ui.goto("/jobs")
    for name in ("backfill_switch", "reconcile", "reconcile_billed_calls", "maintain"):
        see(ui, name)
    see(ui, "deliver")
    see(ui, "revert_batch")
    keep(ui, "6-jobs")


def test_a_revert_shows_its_defaults_and_what_it_would_do(ui: Page, served: Served) -> None:
    [batch] = [r.batch for r in Ledger(served.root).standing("switch") if r.partition == DAYS[1]]
    ui.goto(f"{JOBS}/revert_batch/playground")
    ui.get_by_text("dry_run: true").wait_for()
    ui.get_by_text("force: false").wait_for()
    ui.get_by_text('Missing required config entry "batch"').wait_for()
    keep(ui, "6-revert-form")
    ui.locator(".CodeMirror").first.click()
    ui.keyboard.press("Control+End")
    ui.keyboard.insert_text(f"batch: {batch}\n")
    ui.get_by_text("No errors").wait_for()
    ui.get_by_role("button", name="Launch Run").click()
    ui.wait_for_url("**/runs/*")
    ui.get_by_text("Dry run, nothing was changed.").first.wait_for()
    ui.get_by_text("calls: 6 rows (21.006) removed, 0 (0) restored").first.wait_for()
    keep(ui, "6-revert-preview")
    assert batch in [record.batch for record in Ledger(served.root).standing("switch")]


def test_a_delivery_only_plans_until_its_plan_is_accepted(ui: Page) -> None:
    ui.goto(f"{JOBS}/deliver/playground")
    ui.get_by_text("plan_only: true").wait_for()
    ui.get_by_text("accept: false").wait_for()
    ui.get_by_text("The plan was read and is accepted.").wait_for()
    ui.get_by_text('Missing required config entry "meter"').wait_for()
    keep(ui, "6-deliver-form")


def test_maintenance_shows_its_default(ui: Page) -> None:
    ui.goto(f"{JOBS}/maintain/playground")
    ui.get_by_text("keep_days: 7").wait_for()
    ui.get_by_text("How many days old must be what is deleted").wait_for()
    ui.get_by_text("No errors").wait_for()
    keep(ui, "6-maintain-form")


def test_a_broken_source_is_red_with_its_mistake_and_the_others_are_there(ui: Page) -> None:
    ui.goto("/assets/wharf/broken?view=checks")
    see(ui, "yaml_is_sound")
    ui.get_by_text("sources/wharf.yaml:3: format.family: must be one of 'delimited'").wait_for()
    ui.get_by_text("Failed", exact=True).first.wait_for()
    keep(ui, "6-broken")
