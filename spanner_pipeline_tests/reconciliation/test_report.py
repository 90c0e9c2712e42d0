"""Reports: the same bytes for the same books, safe to open, and readable whatever is in them.

`UPDATE_GOLDEN=1` writes the golden files anew; look at the difference before you commit it.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.report import (
    disarmed,
    render_csv,
    render_html,
    verdict,
    write_report,
)
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
    """Compare, render all three, and see that the page is sound."""
    comparison = books.compare()
    html = render_html(books.root, comparison)
    page = Page(html)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "img", "object", "embed", "form", "base")
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes)
    assert not re.search(r"url\(|@import|NaN|None\b|Decimal\(", html)
    rows = list(csv.reader(io.StringIO(render_csv(comparison))))
    assert len(rows) == comparison.cells.height + 1
    assert {len(row) for row in rows} == {13}
    json.dumps(verdict(comparison))
    return comparison, html, page


def written(books: Books) -> dict[str, str]:
    report = write_report(books.root, books.compare())
    return {path.name: path.read_text() for path in (report.html, report.csv, report.verdict)}


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
    names = {"report.html": "report.html", "report.csv": "report.csv"}
    for name, text in files.items():
        golden = GOLDEN / names.get(name, "report_verdict.json")
        if os.environ.get("UPDATE_GOLDEN"):
            golden.write_text(text)
        assert text == golden.read_text(), f"{golden} differs; see the docstring"


def test_the_golden_report_says_what_is_in_the_books(tmp_path: Path) -> None:
    comparison, html, _ = checked(imported_books(tmp_path))

    causes = {str(c.cell[0]): (c.cause, c.quantity) for c in comparison.causes}
    assert causes == {
        "acme": ("day counted twice in the old bill", Decimal("-700.5")),
        "globex": ("period boundary in another zone", Decimal(500)),
        "hooli": ("rounding of the old bill", Decimal("-543.211")),
        "initech": ("rejected rows", Decimal(-60)),
    }
    for text in ("legacy/bill.csv:10", "x17", "identity_missing", "quantity_not_a_number", "many"):
        assert text in html
    assert "1 event, not part of the comparison" in html
    assert "keep" in html  # the rule of the conflict


def test_hostile_texts_are_texts(tmp_path: Path) -> None:
    script, formula = "<script>alert(1)</script>", "=cmd|' /C calc'!A0"
    file = "legacy/<img src=x onerror=alert(1)> bill.csv"
    books = Books(tmp_path, {"description": script}, {"unit": "<b>unit</b>"}, bill_file=file)
    subjects = [script, formula, "+1", "-1", "@x", "\t=1", '"><svg onload=alert(1)>']
    rows = [(who, "UTC", "2024-01", 5, "") for who in subjects]
    books.bill(*rows, (script, "UTC", "2024-01", script, ""))
    books.lake(Event("2024-01-01T00:00:00Z"))
    comparison, html, page = checked(books)

    assert "<script" not in html
    assert "<img" not in html
    assert "<b>unit" not in html
    assert script in page.texts
    cells = list(csv.reader(io.StringIO(render_csv(comparison))))[1:]
    assert {row[0] for row in cells} == {disarmed(who) for who in [*subjects, "acme"]}
    for row in cells:
        assert row[0][:1] not in tuple("=+-@\t\r")


def test_disarmed() -> None:
    for text in ("=1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"):
        assert disarmed(text) == f"'{text}"
    for text in ("", "org_1", "a=b", "'=1", "1-2"):
        assert disarmed(text) == text


def monthly(path: Path, rows: list[tuple[Any, ...]], events: list[Event], **total: Any) -> Books:
    return Books(path, total).bill(*rows).lake(*events)


def test_a_report_of_nothing(tmp_path: Path) -> None:
    rows = [("a", "UTC", "2024-01", 5, "")]
    empty = Books(tmp_path / "empty", {"where": {"customer": ["nobody"]}}).bill(*rows)
    comparison, html, _ = checked(empty)
    assert comparison.verdict == "FAIL"
    assert "nothing was compared" in html
    assert "Old and new, by period" not in html

    _, html, _ = checked(Books(tmp_path / "not imported").bill(*rows))
    assert "nothing was imported for this meter yet" in html
    assert "only in the old" in html


def test_a_report_of_credits(tmp_path: Path) -> None:
    rows = [("a", "UTC", "2024-01", -10, "-1"), ("a", "UTC", "2024-02", 4, "0")]
    rows += [("b", "UTC", "2024-03", 0, "5"), ("a", "UTC", "2024-04", -3, "")]
    events = [Event("2024-01-05T00:00:00Z", -5, "a"), Event("2024-02-05T00:00:00Z", 8, "a")]
    events += [Event("2024-03-05T00:00:00Z", 1, "b"), Event("2024-04-05T00:00:00Z", -3, "a")]
    _, html, page = checked(monthly(tmp_path, rows, events, amount="usd"))

    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    assert len(bars) == 8
    for bar in bars:
        top, height = int(bar["y"] or -1), int(bar["height"] or -1)
        assert 0 <= top <= top + height <= 210
    assert int(bars[0]["height"] or 0) == 2 * int(bars[1]["height"] or 0)  # -10 against -5
    assert "+5" in html


def test_only_credits(tmp_path: Path) -> None:
    _, _, page = checked(
        monthly(
            tmp_path,
            [("a", "UTC", "2024-01", -10, ""), ("a", "UTC", "2024-02", -7, "")],
            [Event("2024-01-05T00:00:00Z", -5, "a"), Event("2024-02-05T00:00:00Z", -7, "a")],
        )
    )
    heights = [int(a["height"] or 0) for tag, a in page.tags if tag == "rect"]
    assert heights == [186, 93, 130, 130]


def test_a_report_of_forty_periods(tmp_path: Path) -> None:
    months = [f"{2021 + n // 12}-{n % 12 + 1:02}" for n in range(40)]
    rows = [("a", "UTC", month, 10, "") for month in months]
    events = [Event(f"{month}-02T00:00:00Z", 11, "a") for month in months]
    comparison, html, page = checked(monthly(tmp_path, rows, events))

    assert comparison.breaks.height == 40
    assert sum(tag == "rect" for tag, _ in page.tags) == 72
    assert "4 earlier periods are not in the picture" in html
    labels = [float(a["x"] or 0) for tag, a in page.tags if a.get("class") == "tick"]
    assert all(right - left >= 70 for left, right in itertools.pairwise(labels))


def test_a_report_of_five_hundred_breaks(tmp_path: Path) -> None:
    rows = [(f"c{n:03}", "UTC", "2024-01", n + 1, "") for n in range(500)]
    rows += [(f"u{n:03}", "UTC", "2024-01", "?", "") for n in range(300)]
    events = [Event("2024-01-05T00:00:00Z", 10_000, f"c{n:03}") for n in range(500)]
    comparison, html, page = checked(monthly(tmp_path, rows, events))

    assert (comparison.breaks.height, comparison.old.unreadable.height) == (500, 300)
    assert "300 more breaks in report.csv" in html
    assert "100 more rows" in html
    assert sum(a.get("class") == "why" for _, a in page.tags) == 200


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
    assert "in 2 numbers" in html


def test_the_page_of_an_explained_break_says_so(tmp_path: Path) -> None:
    events = [Event(f"2024-01-0{n}T00:00:00Z", n, "a") for n in (3, 5, 7)]
    _, html, _ = checked(monthly(tmp_path, [("a", "UTC", "2024-01", 10, "")], events))
    assert "Every difference is explained below, to the last digit." in html
