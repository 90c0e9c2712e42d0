"""Reports: the same bytes for the same books, safe to open, and readable whatever is in them.

`UPDATE_GOLDEN=1` writes the golden files anew; look at the difference before you commit it.
"""

from __future__ import annotations

import csv
import json
import os
import re
from decimal import Decimal
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.causes import CAUSES
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.reconciliation.report.files import Report, verdict, write_report
from spanner_pipeline.reconciliation.report.page import RUN_BLOCK
from spanner_pipeline.reconciliation.report.waterfall import Step, steps, waterfall
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.reconciliation.building import Books
from spanner_pipeline_tests.usage.events import Event

GOLDEN = Path(__file__).parents[1] / "golden"
VOID = {"meta", "br", "link", "img", "input", "hr"}


def imported_books(path: Path) -> Books:
    """One of everything: each cause, a rejected row, a conflict, an unreadable row, a credit."""
    total = {
        "amount": "usd",
        "currency": "USD",
        "tolerance": {"absolute": "0.5"},
        "description": "Calls billed by customer and month.",
        "where": {"usd": {"not": ["memo"]}},
    }
    books = Books(path, total, {"decimals": 3})
    usage = [
        ("1", "acme", "1000000.125", "2024-01-03T10:00:00Z"),
        ("2", "acme", "700.5", "2024-01-04T10:00:00Z"),
        ("3", "globex", "500", "2023-12-31T15:30:00Z"),
        ("13", "globex", "20", "2024-01-01T05:00:00Z"),
        ("4", "globex", "900", "2024-01-15T00:00:00Z"),
        ("5", "hooli", "123456.789", "2024-01-20T12:00:00Z"),
        ("6", "initech", "40", "2024-01-20T12:00:00Z"),
        ("", "initech", "60", "2024-01-21T12:00:00Z"),
        ("7", "umbrella", "-25", "2024-01-21T12:00:00Z"),
        ("8", "stark", "10.25", "2024-01-21T12:00:00Z"),
        ("9", "wayne", "77", "2024-01-22T12:00:00Z"),
        ("10", "wayne", "33", "2024-02-02T12:00:00Z"),
        ("11", "acme", "5", "2024-03-02T12:00:00Z"),
        ("10", "wayne", "34", "2024-02-02T12:00:00Z"),
        ("12", "wayne", "many", "2024-02-02T12:00:00Z"),
    ]
    books.imported(*usage)
    books.bill(
        ("acme", "UTC", "2024-01", "1001401.125", "2002.80"),
        ("globex", "Asia/Tokyo", "2024-01", "920", "1.84"),
        ("hooli", "UTC", "2024-01", "124000", "248.00"),
        ("initech", "UTC", "2024-01", "100", "0.20"),
        ("umbrella", "UTC", "2024-01", "-25", "-0.05"),
        ("stark", "UTC", "2024-01", "10", "0.02"),
        ("wayne", "UTC", "2024-02", "90.5", "0.18"),
        ("tyrell", "UTC", "2024-02", "3", ""),
        ("acme", "UTC", "2024-02", "x17", "1"),
        ("acme", "UTC", "2024-02", "17", "memo"),
    )
    return books


class Page(HTMLParser):
    """What a browser would see: tags that do not balance, resources, scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def checked(books: Books) -> tuple[Comparison, str, Page]:
    """Compare, write all files, and see that they are sound."""
    comparison = books.compare()
    report = write_report(books.root, comparison)
    html = report.html.read_text()
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "img", "object", "embed", "form", "base")
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes)
    assert not re.search(r"url\(|@import|NaN|None\b|Decimal\(", html)
    assert_files_say_the_same(comparison, report)
    return comparison, html, page


def assert_files_say_the_same(comparison: Comparison, report: Report) -> None:
    """CSV has all numbers as texts, Parquet as decimals; verdict and sums agree with both."""
    with report.csv.open(newline="") as file:
        lines = list(csv.DictReader(file))
    rows = pl.read_parquet(report.parquet).rows(named=True)
    assert len(lines) == len(rows) == comparison.cells.height
    for line, row, cell in zip(lines, rows, comparison.cells.rows(named=True), strict=True):
        assert set(line) == set(row)
        for name in ("old", "new", "difference", "unexplained", "amount"):
            assert row[name] == cell[name]
            assert "e" not in line[name].lower()
            assert (Decimal(line[name]) if line[name] else None) == cell[name]
        parts = sum((cause["quantity"] for cause in row["causes"] or ()), Decimal(0))
        if cell["difference"] is not None:
            assert parts + row["unexplained"] == row["difference"]
        assert len(row["causes"] or ()) == len(line["causes"].split("; ") if line["causes"] else ())
    said = json.loads(report.verdict.read_text())
    assert said.pop("run")
    assert said == verdict(comparison)
    assert Decimal(said["difference"]) == sum(row["difference"] or 0 for row in rows)


def written(books: Books) -> dict[str, bytes]:
    """The files of a report, without what they say of the run."""
    report = write_report(books.root, books.compare())
    said = json.loads(report.verdict.read_text())
    del said["run"]
    page, runs = re.subn(RUN_BLOCK, "", report.html.read_text())
    assert runs == 1
    return {
        "report.html": page.encode(),
        "report.csv": report.csv.read_bytes(),
        "report_verdict.json": (json.dumps(said, indent=1) + "\n").encode(),
        "report.parquet": report.parquet.read_bytes(),
    }


def test_the_golden_report(tmp_path: Path) -> None:
    """Same books, same bytes: in another folder, after a replay, after rendering again."""
    books = imported_books(tmp_path / "one")
    files = written(books)
    checked(books)

    catalog = load_catalog(books.root)
    (again,) = import_partition(books.root, catalog, catalog.sources["usage"], "whole")
    assert again.unchanged
    assert written(books) == files
    assert written(imported_books(tmp_path / "a" / "second root")) == files
    del files["report.parquet"]  # the same for one version of Polars, not for all
    for name, said in files.items():
        golden = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            golden.write_bytes(said)
        assert said == golden.read_bytes(), f"{golden} differs; see the docstring"


def test_a_second_run_leaves_all_files_as_they_are(tmp_path: Path) -> None:
    books = imported_books(tmp_path)
    report = write_report(books.root, books.compare())
    files = [report.html, report.csv, report.parquet, report.verdict]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    comparison = books.compare()
    older = report.verdict.read_text().replace('"made at": "2', '"made at": "1')
    assert older != report.verdict.read_text()  # what a run of another time would have said
    write_report(books.root, comparison)
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before
    report.verdict.write_text(older)
    write_report(books.root, comparison)
    assert report.verdict.read_text() == older

    books.bill(("acme", "UTC", "2024-01", "1", "1"))
    write_report(books.root, books.compare())
    assert all(file.read_bytes() != said for file, (said, _) in zip(files, before, strict=True))


def test_a_damaged_report_is_written_anew(tmp_path: Path) -> None:
    books = imported_books(tmp_path)
    report = write_report(books.root, books.compare())
    files = (report.html, report.csv, report.parquet, report.verdict)
    good = [file.read_bytes() for file in files]
    for damage in (b"", b"{", b"[1]", b"\xff\xfe"):
        for file in files:
            file.write_bytes(damage)
        checked(books)
    # All is as before, but for the seconds that went by.
    seconds = rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d"
    assert [re.sub(seconds, b"", f.read_bytes()) for f in (report.html, report.verdict)] == [
        re.sub(seconds, b"", said) for said in (good[0], good[3])
    ]
    assert [report.csv.read_bytes(), report.parquet.read_bytes()] == good[1:3]


def in_february(books: Books) -> Comparison:
    catalog = load_catalog(books.root)
    ((source, total),) = catalog.comparisons
    return reconcile(books.root, catalog, source, total, "2024-02")


def test_a_period_has_a_report_of_its_own(tmp_path: Path) -> None:
    books = imported_books(tmp_path)
    whole = write_report(books.root, books.compare())
    before = whole.csv.read_bytes()
    february = write_report(books.root, in_february(books))
    assert february.html == books.root.reports / "bill" / "2024-02" / "report.html"
    assert "periods that begin in 2024-02" in february.html.read_text()
    assert set(pl.read_parquet(february.parquet)["period"]) == {"2024-02"}
    assert json.loads(february.verdict.read_text())["period"] == "2024-02"
    assert whole.csv.read_bytes() == before


def test_signatures_and_the_fingerprint_are_shown_and_disarmed(tmp_path: Path) -> None:
    books = imported_books(tmp_path)
    comparison = books.compare()
    plain = write_report(books.root, comparison).html.read_text()
    assert 'class="signoffs"' not in plain
    assert "Fingerprint" not in plain
    lines = ["Prepared by A <b> on 2026-11-25", "VOID since the data changed: reviewed by C"]
    signed = write_report(books.root, comparison, lines, "f" * 64).html.read_text()
    assert "<p>Prepared by A &lt;b&gt; on 2026-11-25</p>" in signed
    assert '<p class="void">VOID since' in signed
    assert "f" * 64 in signed
    # A signature that is taken back is gone from the page.
    assert 'class="signoffs"' not in write_report(books.root, comparison).html.read_text()


def test_the_golden_report_says_what_is_in_the_books(tmp_path: Path) -> None:
    comparison, html, page = checked(imported_books(tmp_path))

    subjects = comparison.cells["subject"]
    assert {subjects[c.cell]: (c.cause, c.quantity, c.known) for c in comparison.causes} == {
        "acme": ("counted twice in the old bill", Decimal("-700.5"), False),
        "globex": ("period boundary", Decimal(500), False),
        "hooli": ("rounding of the old bill", Decimal("-543.211"), False),
        "initech": ("rejected rows", Decimal(-60), True),
    }
    for text in ("legacy/bill.csv:10", "x17", "identity_missing", "quantity_not_a_number", "many"):
        assert text in html
    assert "1 event" in page.texts  # in no number of the old bill
    assert "keep the first" in page.texts  # the rule of the conflict
    assert "on record" in page.texts
    for why in comparison.failings:
        assert f"{why[0].upper()}{why[1:]}." in page.texts
    for heading in (
        "From the old total to the new",
        "Breaks, biggest first",
        "Not comparable",
        "Within tolerance",
        "Completeness, subject by day",
        "Old and new, by period",
        "Control totals",
        "Not counted, or not as delivered",
        "Inputs",
        "Definitions",
        "This run",
    ):
        assert heading in page.texts
    titles = [page.texts.index(h) for h in ("Breaks, biggest first", "Control totals", "This run")]
    assert titles == sorted(titles)


def test_the_steps_lead_from_old_to_new_in_the_declared_order(tmp_path: Path) -> None:
    comparison, html, _ = checked(imported_books(tmp_path))
    way = steps(comparison)
    assert [step.cause for step in way] == [
        *(cause for cause in CAUSES if cause in {c.cause for c in comparison.causes}),
        "unexplained",
    ]
    running = comparison.old_total
    for step in way:
        running += step.quantity
        assert step.running == running
    assert running == comparison.new_total
    picture = html[html.index('class="waterfall"') :]
    places = [picture.index(f">{step.cause.capitalize()}<") for step in way]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("totals", "whole"),
    [
        ((100, 40, 60), True),
        ((-100, -40), True),
        ((100, -40), True),
        ((98650740, 98599684, 98597922), False),
        ((-1000, -1001), False),
        (("400000000000000001000000001.5", "188888888888888888888888893.6"), True),
        ((0, 5), True),
    ],
)
def test_no_step_leaves_the_picture(totals: tuple[Any, ...], whole: bool) -> None:
    first, *others = map(Decimal, totals)
    way, before = [], first
    for cause, running in zip(CAUSES, others, strict=False):
        way.append(Step(cause, running - before, running, 1))
        before = running
    drawn = waterfall(first, before, way, "call")
    bars = [
        {n: int(v) for n, v in re.findall(r'(x|width)="(-?\d+)"', bar)}
        for bar in re.findall(r"<rect [^>]*>", drawn)
    ]
    assert len(bars) == len(others) + 2
    for bar in bars:
        assert 212 <= bar["x"] <= bar["x"] + bar["width"] <= 772
    assert ("torn" in drawn) is not whole


def test_no_picture_without_a_step() -> None:
    assert (
        waterfall(Decimal(5), Decimal(5), [Step("unexplained", Decimal(0), Decimal(5), 0)], "")
        == ""
    )


def test_hostile_texts_are_texts(tmp_path: Path) -> None:
    script, formula = "<script>alert(1)</script>", "=cmd|' /C calc'!A0"
    file = "legacy/<img src=x onerror=alert(1)> bill.csv"
    books = Books(tmp_path, {"description": script}, {"unit": "<b>unit</b>"}, bill_file=file)
    subjects = [script, formula, "+1", "-1", "@x", "\t=1", '"><svg onload=alert(1)>']
    rows = [(who, "UTC", "2024-01", 5, "") for who in subjects]
    books.bill(*rows, (script, "UTC", "2024-01", script, ""))
    books.lake(Event("2024-01-01T00:00:00Z"))
    _, html, page = checked(books)

    assert "<script" not in html
    assert "<img" not in html
    assert "<b>unit" not in html
    assert script in page.texts
    with (books.root.reports / "bill" / "report.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert {row["subject"].removeprefix("'") for row in cells} == {*subjects, "acme"}
    for row in cells:
        assert not any(text[:1] in tuple("=+@\t\r") for text in row.values())
        assert row["subject"][:1] != "-"


def trend_bars(page: Page) -> list[dict[str, str | None]]:
    """The bars of the picture of old and new."""
    opened = next(i for i, (_, a) in enumerate(page.tags) if a.get("class") == "trend")
    bars = [a for tag, a in page.tags[opened:] if tag == "rect"]
    return [bar for bar in bars if bar["class"] in ("old", "new")]


def monthly(path: Path, rows: list[tuple[Any, ...]], events: list[Event], **total: Any) -> Books:
    return Books(path, total).bill(*rows).lake(*events)


def test_a_report_of_nothing(tmp_path: Path) -> None:
    rows = [("a", "UTC", "2024-01", 5, "")]
    empty = Books(tmp_path / "empty", {"where": {"customer": ["nobody"]}}).bill(*rows)
    comparison, html, _ = checked(empty)
    assert comparison.verdict == "FAIL"
    assert "Nothing was compared." in html
    assert "Old and new, by period" not in html

    _, html, _ = checked(Books(tmp_path / "not imported").bill(*rows))
    assert "Nothing was imported for this meter yet" in html
    assert "only in the old" in html


def test_a_report_of_credits(tmp_path: Path) -> None:
    rows = [("a", "UTC", "2024-01", -10, "-1"), ("a", "UTC", "2024-02", 4, "0")]
    rows += [("b", "UTC", "2024-03", 0, "5"), ("a", "UTC", "2024-04", -3, "")]
    events = [Event("2024-01-05T00:00:00Z", -5, "a"), Event("2024-02-05T00:00:00Z", 8, "a")]
    events += [Event("2024-03-05T00:00:00Z", 1, "b"), Event("2024-04-05T00:00:00Z", -3, "a")]
    _, html, page = checked(monthly(tmp_path, rows, events, amount="usd"))

    bars = trend_bars(page)
    assert len(bars) == 8
    for bar in bars:
        top, height = int(bar["y"] or -1), int(bar["height"] or -1)
        assert 0 <= top <= top + height <= 210
    heights = [int(bar["height"] or 0) for bar in bars]
    assert abs(heights[0] - 2 * heights[1]) <= 1  # -10 against -5
    assert "+5" in html


def test_only_credits(tmp_path: Path) -> None:
    _, _, page = checked(
        monthly(
            tmp_path,
            [("a", "UTC", "2024-01", -10, ""), ("a", "UTC", "2024-02", -7, "")],
            [Event("2024-01-05T00:00:00Z", -5, "a"), Event("2024-02-05T00:00:00Z", -7, "a")],
        )
    )
    heights = [int(bar["height"] or 0) for bar in trend_bars(page)]
    assert heights == [186, 93, 130, 130]


def test_a_report_of_forty_periods(tmp_path: Path) -> None:
    months = [f"{2021 + n // 12}-{n % 12 + 1:02}" for n in range(40)]
    rows = [("a", "UTC", month, 10, "") for month in months]
    events = [Event(f"{month}-02T00:00:00Z", 11, "a") for month in months]
    comparison, html, page = checked(monthly(tmp_path, rows, events))

    assert comparison.breaks.height == 40
    assert len(trend_bars(page)) == 72
    assert "4 earlier periods are not in the picture" in html
    assert "Completeness, subject by month" in page.texts
    drawn = html[html.index('class="trend"') :]
    labels = [int(x) for x in re.findall(r'<text x="(\d+)" y="\d+" class="tick"', drawn)]
    assert len(labels) == 12
    assert all(right - left >= 70 for left, right in pairwise(labels))


def test_a_report_of_five_hundred_breaks(tmp_path: Path) -> None:
    rows = [(f"c{n:03}", "UTC", "2024-01", n + 1, "") for n in range(500)]
    rows += [(f"u{n:03}", "UTC", "2024-01", "?", "") for n in range(300)]
    events = [Event("2024-01-05T00:00:00Z", 10_000, f"c{n:03}") for n in range(500)]
    comparison, html, page = checked(monthly(tmp_path, rows, events))

    assert (comparison.breaks.height, comparison.old.unreadable.height) == (500, 300)
    assert "300 more numbers in report.csv" in html
    assert "100 more rows" in html
    assert "100 more numbers in report.csv" in html  # of those that are not comparable
    assert sum(a.get("class") == "why" for _, a in page.tags) == 200 + 200


def test_many_within_tolerance(tmp_path: Path) -> None:
    rows = [(f"c{n:03}", "UTC", "2024-01", 10, "") for n in range(250)]
    events = [Event("2024-01-05T00:00:00Z", 11, f"c{n:03}") for n in range(250)]
    comparison, html, _ = checked(monthly(tmp_path, rows, events, tolerance={"absolute": 1}))
    assert comparison.verdict == "PASS"
    assert "50 more numbers in report.csv" in html


def test_residuals_that_cancel_are_not_called_explained(tmp_path: Path) -> None:
    events = [Event("2024-01-05T00:00:00Z", n, who) for who in "ab" for n in (20, 35)]
    rows = [("a", "UTC", "2024-01", 50, ""), ("b", "UTC", "2024-01", 60, "")]
    _, html, _ = checked(monthly(tmp_path, rows, events))
    assert "Every difference is explained" not in html
    assert "netted over 2 numbers" in html


def test_the_page_of_an_explained_break_says_so(tmp_path: Path) -> None:
    used = {3: "1000000.125", 4: "700.5", 9: "13.25"}
    events = [Event(f"2024-01-0{day}T00:00:00Z", quantity, "a") for day, quantity in used.items()]
    rows = [("a", "UTC", "2024-01", "1001414.375", "")]  # 2024-01-04 counts twice
    _, html, _ = checked(Books(tmp_path, {}, {"decimals": 3}).bill(*rows).lake(*events))
    assert "Every difference is explained below, to the last digit." in html


def test_invoices_dimensions_money_and_subtotals_have_their_words(tmp_path: Path) -> None:
    total = {
        "description": "Invoices.",
        "dimensions": {"region": "where"},
        "price": "price",
        "currency": "EUR",
        "subtotals": {"where": {"kind": ["total"]}, "of": ["customer"]},
        "period": {"start": "since", "last": "until", "zone": "Europe/Berlin"},
        "tolerance": {"relative": "0.5%"},
        "thresholds": {"breaks": "any", "unexplained": "1%"},
    }
    columns = ("customer", "where", "since", "until", "price", "units", "kind")
    meter = {"decimals": 3, "dimensions": [{"name": "region", "type": "string", "required": False}]}
    books = Books(tmp_path, total, meter, columns)
    books.bill(
        ("a", "eu", "2024-01-05", "2024-02-04", "0.125", "12.5", ""),
        ("a", "us", "2024-01-05", "2024-02-04", "0.25", "10", ""),
        ("b", "eu", "2024-01-10", "2024-02-09", "0.125", "1", ""),
        ("a", "", "", "", "", "23", "total"),
    )
    events = [
        Event("2024-01-05T00:00:00Z", 100, "a", {"region": "eu"}),
        Event("2024-02-01T00:00:00Z", "41.5", "a", {"region": "us"}),
        Event("2024-02-01T00:00:00Z", "8.001", "b", {"region": "eu"}),
    ]
    comparison, html, page = checked(books.lake(*events))

    assert comparison.breaks.select("subject", "old", "new").rows() == [
        ("a", Decimal(10), Decimal("10.375"))
    ]
    for text in (
        "region: us",
        "2024-01-05/2024-02-05",
        "Subtotals that contradict their rows",
        "Old and new, by month in which a period begins",
        "Its rows add up to",
    ):
        assert text in page.texts or f"{text} " in page.texts, text
    assert "usage times price is compared, in EUR" in html
    assert "A number may differ by 0.5 % of the old total." in html
    assert "With any number of breaks, with at most 1 % of the old total unexplained" in html
