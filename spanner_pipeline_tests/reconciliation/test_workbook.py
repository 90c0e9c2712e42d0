"""The workbook: exact, safe to open, fit for paper, and the same for the same comparison."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import fastexcel
import polars as pl
import pytest

from spanner_pipeline.reconciliation.causes import CAUSES, UNEXPLAINED
from spanner_pipeline.reconciliation.compare import Comparison
from spanner_pipeline.reconciliation.workbook import sheets
from spanner_pipeline.reconciliation.workbook.book import write_workbook
from spanner_pipeline.reconciliation.workbook.notes import Notes
from spanner_pipeline.reconciliation.workbook.sheets import Book, Column
from spanner_pipeline_tests.reconciliation.building import Books
from spanner_pipeline_tests.reconciliation.spreadsheet import (
    MAIN,
    converted,
    frozen_in_libreoffice,
    needs_libreoffice,
    table,
    xml_of,
)
from spanner_pipeline_tests.usage.events import Event

MONDAY = date(2026, 11, 23)
TABLES = ("Breaks", "Causes", "All numbers", "Control totals", "Files")
SHEETS = ["Summary", "Breaks", "Causes", "All numbers", "Control totals", "Files", "Definitions"]


def compared(path: Path) -> Comparison:
    """Breaks of several kinds, rejected rows, an unreadable row, a match."""
    books = Books(
        path,
        {"amount": "usd", "currency": "USD", "description": "Calls by customer & month."},
        {"decimals": 3},
    )
    books.imported(
        ("1", "acme", "1000.125", "2024-01-03T10:00:00Z"),
        ("2", "globex", "500", "2023-12-31T15:30:00Z"),
        ("3", "globex", "900", "2024-01-15T00:00:00Z"),
        ("4", "initech", "40", "2024-01-20T12:00:00Z"),
        ("", "initech", "60", "2024-01-21T12:00:00Z"),
        ("5", "hooli", "5", "2024-01-21T12:00:00Z"),
    )
    books.bill(
        ("acme", "UTC", "2024-01", "1000.125", "2.00"),
        ("globex", "Asia/Tokyo", "2024-01", "900", "1.80"),
        ("initech", "UTC", "2024-01", "100", "0.20"),
        ("hooli", "UTC", "2024-01", "x17", "1"),
        ("tyrell", "UTC", "2024-01", "3.5", "1"),
        ("=1+1", "UTC", "2024-01", "7", "1"),
    )
    return books.compare()


def written(path: Path, comparison: Comparison) -> Path:
    notes = Notes("bill").followed(comparison, MONDAY)
    file = path / "report.xlsx"
    write_workbook(file, Books(path).root, comparison, notes)
    return file


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compared(tmp_path_factory.mktemp("books"))


@pytest.fixture(scope="module")
def workbook(tmp_path_factory: pytest.TempPathFactory, comparison: Comparison) -> Path:
    return written(tmp_path_factory.mktemp("workbook"), comparison)


def lines(path: Path, sheet: str) -> list[list[str]]:
    loaded = fastexcel.read_excel(path).load_sheet(sheet, header_row=None, dtypes="string")
    return [[value or "" for value in row] for row in loaded.to_polars().rows()]


def value_after(path: Path, label: str) -> str:
    return next(row[1] for row in lines(path, "Summary") if row[0].strip() == label)


def test_it_has_the_agreed_sheets(workbook: Path) -> None:
    assert fastexcel.read_excel(workbook).sheet_names == SHEETS


def test_the_summary_says_what_the_comparison_says(workbook: Path, comparison: Comparison) -> None:
    assert value_after(workbook, "verdict") == comparison.verdict == "FAIL"
    shown = [row[1] for row in lines(workbook, "Summary")]
    assert comparison.failings
    assert set(comparison.failings) <= set(shown)
    assert Decimal(value_after(workbook, "old total")) == comparison.old_total
    assert Decimal(value_after(workbook, "new total")) == comparison.new_total
    assert Decimal(value_after(workbook, "difference (new minus old)")) == comparison.difference
    assert Decimal(value_after(workbook, UNEXPLAINED)) == comparison.unexplained
    digests = {file.digest for file in comparison.old.files}
    assert digests <= {row[3] for row in lines(workbook, "Summary")}


def test_the_causes_lead_from_the_old_total_to_the_new(
    workbook: Path, comparison: Comparison
) -> None:
    rows = [[cell.strip() for cell in row] for row in lines(workbook, "Summary")]
    labels = [row[0] for row in rows]
    first, last = labels.index("old total"), labels.index("new total")
    steps = rows[first + 1 : last]
    assert sum(Decimal(row[1]) for row in rows[first:last]) == comparison.new_total
    known = list(CAUSES)
    order = [known.index(row[0]) for row in steps[:-1]]
    assert len(order) >= 2
    assert order == sorted(order)
    assert steps[-1][0] == UNEXPLAINED


def test_the_breaks_stand_biggest_first_and_what_cannot_be_compared_after(
    workbook: Path, comparison: Comparison
) -> None:
    rows = table(workbook, "Breaks")
    gaps = [abs(Decimal(row["difference"])) for row in rows if row["difference"]]
    assert len(gaps) == comparison.breaks.height >= 3
    assert gaps == sorted(gaps, reverse=True)
    assert [row["subject"] for row in rows[len(gaps) :]] == ["hooli"]
    assert rows[-1]["explanation"].startswith("not comparable: legacy/bill.csv:5: ")
    initech = next(row for row in rows if row["subject"] == "initech")
    assert initech["explanation"].startswith("rejected rows: ")
    assert initech["worth in USD"] == "-0.12"
    assert initech["share of old"] == "-0.6"
    assert initech["first seen"].startswith("2026-11-23")
    assert initech["follow-up"] == "open"


def test_each_cause_and_each_number_has_its_row(workbook: Path, comparison: Comparison) -> None:
    parts = [Decimal(row["part of the difference"]) for row in table(workbook, "Causes")]
    assert sum(parts) == sum(cause.quantity for cause in comparison.causes)
    assert len(parts) == len(comparison.causes) >= 2
    rows = table(workbook, "All numbers")
    assert len(rows) == comparison.cells.height
    new = sum(Decimal(row["new"] or 0) for row in rows if row["status"] != "not comparable")
    assert new == comparison.new_total


def test_control_totals_and_files_are_those_of_the_imports(
    workbook: Path, comparison: Comparison
) -> None:
    rows = {row[2].strip(): row for row in lines(workbook, "Control totals")}
    (record,) = comparison.imports
    assert Decimal(rows["read"][3]) == record.totals.read.rows == 6
    assert Decimal(rows["read"][4]) == record.totals.read.quantity
    assert any(word.startswith("rejected: ") for word in rows)
    assert any(
        "x17" in str(row) or "bill.csv" in row[0] for row in lines(workbook, "Control totals")
    )
    digests = {row["SHA-256"] for row in table(workbook, "Files")}
    assert digests == {f.digest for f in (*comparison.old.files, *record.files)}


def test_numbers_are_numbers_up_to_15_digits_and_texts_with_all_digits_beyond(
    tmp_path: Path,
) -> None:
    books = Books(tmp_path, meter={"decimals": 6})
    exact, longer = "123456789.123456", "1234567890.123456"
    books.lake(
        Event("2024-01-05T00:00:00Z", exact, "acme"),
        Event("2024-01-05T00:00:00Z", longer, "globex"),
        Event("2024-01-05T00:00:00Z", "1000000000000000000000", "hooli"),
    )
    books.bill(("acme", "UTC", "2024-01", exact, 1), ("globex", "UTC", "2024-01", longer, 1))
    path = written(tmp_path, books.compare())
    xml = xml_of(path, "All numbers")
    assert xml.count(f"<v>{exact}</v>") == 2
    assert f"<v>{longer}</v>" not in xml
    assert xml.count(f">{longer}</t>") == 2
    assert xml.count("<v>1000000000000000000000</v>") >= 2, "new, and the difference"
    rows = {row["subject"]: row for row in table(path, "All numbers")}
    assert rows["globex"]["new"] == longer


def test_no_text_becomes_a_formula_or_a_link(workbook: Path) -> None:
    with zipfile.ZipFile(workbook) as archive:
        names = [name for name in archive.namelist() if name.startswith("xl/worksheets")]
        formulas = [f for n in names for f in re.findall("<f>(.*?)</f>", archive.read(n).decode())]
        assert not [name for name in names if "rels" in name]
    assert formulas
    assert all(re.match(r"IF\(ISNUMBER\(|COUNTIF\(Breaks!", formula) for formula in formulas)
    assert "=1+1" in {row["subject"] for row in table(workbook, "Breaks")}


def test_the_same_comparison_gives_the_same_bytes(comparison: Comparison, tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    assert written(first, comparison).read_bytes() == written(second, comparison).read_bytes()


def test_a_workbook_that_would_be_the_same_is_not_written(
    comparison: Comparison, tmp_path: Path
) -> None:
    notes = Notes("bill").followed(comparison, MONDAY)
    path, root = tmp_path / "report.xlsx", Books(tmp_path).root
    assert write_workbook(path, root, comparison, notes)
    before = path.stat().st_ino
    assert not write_workbook(path, root, comparison, notes)
    assert path.stat().st_ino == before
    assert write_workbook(path, root, replace(comparison, lake_version=99), notes)
    assert [file.name for file in tmp_path.iterdir()] == ["report.xlsx"]


def test_more_rows_than_a_sheet_holds_are_cut_and_said(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "MOST_ROWS", 2)
    path = written(tmp_path, comparison)
    rows = lines(path, "All numbers")
    assert len(rows) == 4
    left = comparison.cells.height - 2
    assert rows[-1][0] == f"{left} more rows do not fit; report.csv has all of them"
    assert [row[0] for row in rows[1:3]] == comparison.cells["subject"].head(2).to_list()


def test_a_text_that_no_cell_holds_is_cut_and_says_so(tmp_path: Path) -> None:
    with Book(tmp_path / "long.xlsx", "long") as book:
        frame = pl.DataFrame({"text": ["short", "x" * 40_000, "🙂" * 20_000]})
        book.sheet("Sheet").table(frame, [Column("text")])
    rows = lines(tmp_path / "long.xlsx", "Sheet")[1:]
    assert rows[0] == ["short"]
    for (text,) in rows[1:]:
        assert len(text.encode("utf-16-le")) // 2 <= 32_767
        assert text.endswith("… (cut: all of it is in report.csv)")


def test_dates_before_excels_calendar_stay_readable(tmp_path: Path) -> None:
    days = [date(1850, 5, 4), date(1900, 2, 28), date(1900, 3, 1), date(2026, 1, 31), None]
    with Book(tmp_path / "dates.xlsx", "dates") as book:
        sheet = book.sheet("Sheet")
        sheet.table(pl.DataFrame({"day": days}), [Column("day", "date")])
        sheet.line(days[0], days[3])
    rows = lines(tmp_path / "dates.xlsx", "Sheet")
    shown = [row[0][:10] for row in rows[1:]]
    assert shown[:4] == ["1850-05-04", "1900-02-28", "1900-03-01", "2026-01-31"]
    assert rows[-1][0] == "1850-05-04"


def test_a_comparison_without_breaks_has_its_sheets_all_the_same(tmp_path: Path) -> None:
    books = Books(tmp_path).lake(Event("2024-01-05T00:00:00Z", 1, "acme"))
    path = written(tmp_path, books.bill(("acme", "UTC", "2024-01", 1, 1)).compare())
    assert lines(path, "Breaks")[1][0] == "none"
    assert value_after(path, "verdict") == "PASS"


def test_an_old_bill_without_a_number_gives_a_workbook_too(tmp_path: Path) -> None:
    books = Books(tmp_path, {"where": {"units": ["7"]}})
    books.lake(Event("2024-01-05T00:00:00Z", 1, "acme"))
    path = written(tmp_path, books.bill(("acme", "UTC", "2024-01", 1, 1)).compare())
    assert value_after(path, "verdict") == "FAIL"


def check_how_it_looks(path: Path) -> None:
    """Filters, widths, colours, the drop-down and the print set-up."""
    for name in TABLES:
        sheet = ElementTree.fromstring(xml_of(path, name))  # noqa: S314 - ours, or LibreOffice's
        widths = [float(c.get("width", 0)) for c in sheet.iter(f"{MAIN}col")]
        assert len(set(widths)) > 1
        assert min(widths) > 0
        assert sheet.find(f".//{MAIN}autoFilter") is not None, name
        page = sheet.find(f".//{MAIN}pageSetup")
        assert page is not None
        assert page.get("orientation") == "landscape"
        assert page.get("fitToHeight") == "0"
        fit = sheet.find(f".//{MAIN}pageSetUpPr")
        assert fit is not None
        assert fit.get("fitToPage") in ("1", "true")
    breaks = ElementTree.fromstring(xml_of(path, "Breaks"))  # noqa: S314
    (choice,) = breaks.findall(f".//{MAIN}dataValidation")
    assert choice.get("type") == "list"
    assert choice.findtext(f"{MAIN}formula1") == '"open,in progress,accepted,resolved,waived"'
    colours = breaks.findall(f".//{MAIN}cfRule")
    assert {"".join(rule.itertext()) for rule in colours} >= {'"quantity differs"', '"open"'}
    hidden = [c for c in breaks.findall(f".//{MAIN}col") if c.get("hidden") in ("1", "true")]
    assert len(hidden) == 1
    with zipfile.ZipFile(path) as archive:
        styles = archive.read("xl/styles.xml").decode()
        names = archive.read("xl/workbook.xml").decode()
    assert "#,##0.000" in styles
    assert re.search(r"yyyy\\?-mm\\?-dd", styles, re.IGNORECASE)
    assert len(re.findall("_xlnm.Print_Titles", names)) == 5


def test_it_is_made_to_be_read_and_printed(workbook: Path) -> None:
    check_how_it_looks(workbook)
    for name in TABLES:
        pane = re.search("<pane [^>]*>", xml_of(workbook, name))
        assert pane is not None
        assert 'ySplit="1"' in pane[0]
        assert 'state="frozen"' in pane[0]


@needs_libreoffice
def test_libreoffice_shows_it_with_frozen_headers(workbook: Path, tmp_path: Path) -> None:
    assert frozen_in_libreoffice(workbook, tmp_path) == dict.fromkeys(TABLES, 1)


@needs_libreoffice
def test_libreoffice_saves_it_with_formats_filters_and_all_numbers(
    workbook: Path, tmp_path: Path
) -> None:
    saved = converted(workbook, "xlsx", tmp_path)
    check_how_it_looks(saved)
    ours, theirs = (
        [[r[n] for n in ("subject", "old", "new", "difference")] for r in table(p, "All numbers")]
        for p in (workbook, saved)
    )
    assert theirs == ours
    ages = {row["age in days"] for row in table(saved, "Breaks")}
    assert ages
    assert all(int(age) >= (date.today() - MONDAY).days for age in ages)


@needs_libreoffice
def test_libreoffice_prints_every_number_of_it(
    workbook: Path, comparison: Comparison, tmp_path: Path
) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    pdf = converted(workbook, "pdf", tmp_path)
    command = ["pdftotext", "-layout", str(pdf), "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    words = {word.lstrip("+-") for word in text.split()}
    for name, decimals in (("old", 3), ("new", 3), ("difference", 1)):
        numbers = comparison.cells[name].drop_nulls()
        assert numbers.len() >= 4
        assert {f"{abs(number):,.{decimals}f}" for number in numbers} <= words
    for row in comparison.cells.iter_rows(named=True):
        assert text.count(row["subject"]) >= 1
