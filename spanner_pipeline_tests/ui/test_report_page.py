"""A report read in a browser: the verdict, no overflow, nothing in the console, nothing loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.reconciliation.report import write_report
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root
from spanner_pipeline_tests.ui.conftest import SHOTS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.ui


def report_of(root: SmallRoot) -> Path:
    catalog = load_catalog(root)
    for day in DAYS:
        import_partition(root, catalog, catalog.sources["switch"], day)
    [(source, total)] = catalog.comparisons
    return write_report(root, reconcile(root, catalog, source, total)).html


@pytest.mark.parametrize("width", [1100, 390])
@pytest.mark.parametrize(
    ("bill", "severity", "says"),
    [
        ("36.008", "error", "Pass"),
        ("35.008", "warn", "Breaks found (declared as a warning)"),
        ("99999999999999999999999999.009", "error", "Breaks found"),
    ],
)
def test_a_report_fits_the_screen_and_says_its_verdict(
    browser: Browser, tmp_path: Path, width: int, bill: str, severity: str, says: str
) -> None:
    root = small_root(tmp_path / "root")
    root.write_calls(DAYS[2], "7,acme,many,2024-01-03T09:00:00Z,eu")
    root.write_bill(acme=bill)
    root.rewrite("sources/bill.yaml", "severity: error", f"severity: {severity}")
    page = browser.new_page(viewport={"width": width, "height": 900})
    heard: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    html = report_of(root)
    page.goto(html.as_uri())
    assert page.inner_text(".verdict b") == says
    for details in page.query_selector_all("details"):
        details.evaluate("element => { element.open = true }")
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    page.screenshot(path=SHOTS / f"report-{says.split()[0]}-{severity}-{width}.png", full_page=True)
    page.close()
    assert wide <= inner
    assert heard == []
    assert asked == [html.as_uri()], "the page stands alone"
