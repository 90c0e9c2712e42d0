"""A report in a browser and on paper: nothing overflows, nothing is loaded, nothing is lost."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.compare import reconcile
from spanner_pipeline.reconciliation.report.files import write_report
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.reconciliation.building import Books
from spanner_pipeline_tests.reconciliation.test_report import imported_books
from spanner_pipeline_tests.small_root import DAYS, SmallRoot, small_root
from spanner_pipeline_tests.ui.conftest import SHOTS
from spanner_pipeline_tests.usage.events import Event

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.ui

LARGE = "99999999999999999999999999.009"

MARGIN = 12 / 25.4 * 72
"""What the style sheet leaves free at both sides of the paper, in points."""

OUT_OF_SIGHT = """() => [...document.querySelectorAll("main *")].filter(element => {
    if (element.closest("svg, .scroll")) return false;
    const box = element.getBoundingClientRect();
    return box.width && (box.right > window.innerWidth + 1 || box.left < -1);
}).map(element => element.outerHTML.slice(0, 120))"""

OVER_EACH_OTHER = """() => [...document.querySelectorAll("svg:not(.mark)")].flatMap(svg => {
    const boxes = [...svg.querySelectorAll("text")]
        .map(text => [text.textContent, text.getBoundingClientRect()]);
    return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([, q]) =>
        p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3
    ).map(([b]) => `${a} | ${b}`));
})"""

CELLS = """() => [...document.querySelectorAll("td, dd, li, .verdict p")]
    .map(element => element.innerText).filter(text => text.trim())"""


def report_of(root: SmallRoot) -> Path:
    catalog = load_catalog(root)
    for day in DAYS:
        import_partition(root, catalog, catalog.sources["switch"], day)
    [(source, total)] = catalog.comparisons
    return write_report(root, reconcile(root, catalog, source, total)).html


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    width = getattr(request, "param", 1280)
    opened = browser.new_page(viewport={"width": width, "height": 900})
    yield opened
    opened.close()


@pytest.mark.parametrize("page", [1280, 390], indirect=True)
@pytest.mark.parametrize(
    ("bill", "severity", "says"),
    [
        ("36.008", "error", "Passes"),
        ("35.008", "warn", "Does not pass (declared as a warning)"),
        (LARGE, "error", "Does not pass"),
    ],
)
def test_a_report_fits_the_screen_and_says_its_verdict(
    page: Page, tmp_path: Path, bill: str, severity: str, says: str
) -> None:
    root = small_root(tmp_path / "root")
    root.write_calls(DAYS[2], "7,acme,many,2024-01-03T09:00:00Z,eu")
    root.write_bill(acme=bill)
    root.rewrite("sources/bill.yaml", "severity: error", f"severity: {severity}")
    heard: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    html = report_of(root)
    page.goto(html.as_uri())
    assert page.inner_text(".verdict b") == says
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    name = f"report-{says.split()[0]}-{severity}-{inner}.png"
    page.screenshot(path=SHOTS / name, full_page=True)
    assert wide <= inner
    assert page.evaluate(OUT_OF_SIGHT) == []
    assert page.evaluate(OVER_EACH_OTHER) == []
    assert heard == []
    assert asked == [html.as_uri()], "the page stands alone"


def books_of_everything(path: Path) -> Books:
    return imported_books(path)


def books_of_large_numbers(path: Path) -> Books:
    """Numbers of 38 digits on both sides, which no column can hold on one line."""
    books = Books(path, {"amount": "usd", "currency": "USD"}, {"decimals": 3})
    rows = [(f"customer-{n}", "America/New_York", "2024-01", LARGE, "1") for n in range(3)]
    events = [Event("2024-01-05T00:00:00Z", f"{8 - n}{LARGE[1:]}", f"customer-{n}") for n in (0, 1)]
    return books.bill(*rows).lake(*events)


def books_of_many_breaks(path: Path) -> Books:
    """Tables of many pages."""
    rows = [(f"customer-{n:03}", "UTC", "2024-01", f"{n + 1}.25", "") for n in range(250)]
    rows += [(f"unreadable-{n:03}", "UTC", "2024-01", f"?{n}", "") for n in range(60)]
    events = [Event("2024-01-05T00:00:00Z", 10_000 + n, f"customer-{n:03}") for n in range(250)]
    return Books(path, {}, {"decimals": 3}).bill(*rows).lake(*events)


@pytest.mark.parametrize(
    "books_of", [books_of_everything, books_of_large_numbers, books_of_many_breaks]
)
def test_paper_has_every_number_of_the_page(page: Page, tmp_path: Path, books_of: object) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext; the package poppler-utils has it")
    assert callable(books_of)
    books = books_of(tmp_path / "root")
    html = write_report(books.root, books.compare()).html
    page.goto(html.as_uri())
    shown = page.evaluate(CELLS)
    heads = page.evaluate("() => [...document.querySelectorAll('thead')].length")
    assert heads > 5
    printed = SHOTS / f"{books_of.__name__}.pdf"
    page.pdf(path=printed, format="A4", prefer_css_page_size=True)
    read = subprocess.run(["pdftotext", "-raw", printed, "-"], capture_output=True, check=True)
    paper = read.stdout.decode()

    numbers = {n for text in shown for n in re.findall(r"[−+]?\d[\d,]*(?:\.\d+)?", text)}
    assert len(numbers) > 40
    packed = packed_text(paper)
    assert sorted(n for n in numbers if n not in packed) == []
    assert [text for text in shown if packed_text(text) not in packed] == []
    assert beyond_the_margin(printed) == []
    # A table that goes on to the next page has its headers there again.
    pages = [text for text in paper.split("\f") if "Unexplained: +" in text]
    assert all("New − old" in text for text in pages)


def beyond_the_margin(printed: Path) -> list[str]:
    """Words that are not wholly between the margins of their page."""
    command = ["pdftotext", "-bbox", printed, "-"]
    boxes = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    found, right = [], 0.0
    for line in boxes.splitlines():
        if paper := re.search(r'<page width="([\d.]+)"', line):
            right = float(paper[1]) - MARGIN
        word = re.search(r'xMin="(-?[\d.]+)" .*xMax="([\d.]+)".*>(.*)</word>', line)
        if word and (float(word[1]) < MARGIN - 1 or float(word[2]) > right + 1):
            found.append(word[3])
    assert right > 0
    return found


def packed_text(text: str) -> str:
    """A text without the spaces and line ends that paper puts between its parts."""
    return re.sub(r"\s|\u00ad|\f", "", text)
