"""Old totals against the lake: what matches, what differs, and what could not be compared."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.usage.aggregations import TotalTooLargeError
from spanner_pipeline_tests.reconciliation.building import Books, found, statuses
from spanner_pipeline_tests.usage.events import Event

JANUARY, FEBRUARY = "2024-01-15T12:00:00Z", "2024-02-15T12:00:00Z"
UTC_MONTHS = {"column": "month", "grain": "month", "zone": "UTC"}


def row(
    customer: str, units: object, month: str = "2024-01", zone: str = "UTC", usd: object = ""
) -> Any:
    return (customer, zone, month, units, usd)


def test_each_status(tmp_path: Path) -> None:
    books = Books(tmp_path, {"tolerance": {"absolute": 1}})
    books.bill(row("a", 5), row("b", 6), row("c", 9), row("d", 7), row("zero", 0))
    books.lake(*(Event(JANUARY, 5, who) for who in "abce"))
    comparison = books.compare()

    assert statuses(comparison) == {
        ("a", "2024-01"): "match",
        ("b", "2024-01"): "within tolerance",
        ("c", "2024-01"): "quantity differs",
        ("d", "2024-01"): "only in the old",
        ("e", "2024-01"): "only in the new",
        ("zero", "2024-01"): "match",
    }
    assert comparison.breaks["subject"].to_list() == ["d", "e", "c"]  # biggest first
    assert comparison.breaks["difference"].to_list() == [-7, 5, -4]
    assert (comparison.old_total, comparison.new_total) == (27, 20)
    assert (comparison.difference, comparison.unexplained) == (-7, -7)


@pytest.mark.parametrize(
    ("severity", "units", "verdict"),
    [("error", 5, "PASS"), ("error", 6, "FAIL"), ("warn", 5, "PASS"), ("warn", 6, "WARN")],
)
def test_severity_makes_the_verdict(
    tmp_path: Path, severity: str, units: int, verdict: str
) -> None:
    books = Books(tmp_path, {"severity": severity}).bill(row("a", units))
    assert books.lake(Event(JANUARY, 5, "a")).compare().verdict == verdict


@pytest.mark.parametrize(
    ("tolerance", "old", "allowed", "within"),
    [
        ({}, "100", "0", False),
        ({"absolute": 5}, "100", "5", True),
        ({"absolute": "4.999"}, "100", "4.99", False),
        ({"relative": "5%"}, "100", "5", True),
        ({"relative": "0.049"}, "100", "4.9", False),
        ({"absolute": 1, "relative": "5%"}, "100", "5", True),
        ({"absolute": 6, "relative": "5%"}, "100", "6", True),
        ({"absolute": "0.16", "per": "day"}, "100", "4.96", False),  # 31 days
        ({"absolute": "0.1613", "per": "day"}, "100", "5", True),  # 5.0003
        ({"relative": "5%"}, "-100", "5", True),
        ({"relative": "100%"}, "0", "0", False),
        ({"absolute": "0.00000000000000000001"}, "100", "0", False),
    ],
)
def test_tolerance(tmp_path: Path, tolerance: Any, old: str, allowed: str, within: bool) -> None:
    written = {k: str(v) for k, v in tolerance.items()}
    books = Books(tmp_path, {"tolerance": written}, {"decimals": 2}).bill(row("a", old))
    comparison = books.lake(Event(JANUARY, Decimal(old) + 5, "a")).compare()

    assert comparison.cells["tolerance"].to_list() == [Decimal(allowed)]
    assert comparison.broke is not within
    assert comparison.unexplained == 5 or comparison.causes  # shown even where it passes


def test_half_a_unit_a_day_on_a_meter_without_decimals(tmp_path: Path) -> None:
    for more, verdict in ((15, "PASS"), (16, "FAIL")):
        books = Books(tmp_path / str(more), {"tolerance": {"absolute": "0.5", "per": "day"}})
        books.meter = {"decimals": 0}
        books.bill(row("a", 1000)).lake(Event(JANUARY, 1000 + more, "a"))
        assert books.compare().verdict == verdict


@pytest.mark.parametrize(("month", "days"), [("2024-02", 29), ("2023-02", 28), ("2024-04", 30)])
def test_daily_means_are_totals_over_the_days_of_the_period(
    tmp_path: Path, month: str, days: int
) -> None:
    total = {"quantity": {"column": "units", "per": "day", "thousands": ","}}
    total |= {"amount": {"column": "usd", "per": "day"}}
    books = Books(tmp_path, total).bill(row("a", "1,824.5", month, usd="0.10"))
    comparison = books.lake(Event(f"{month}-03T00:00:00Z", Decimal("1824.5") * days, "a")).compare()

    assert comparison.verdict == "PASS"
    assert comparison.cells["old"].to_list() == [Decimal("1824.5") * days]
    assert comparison.cells["amount"].to_list() == [Decimal("0.1") * days]


def test_unreadable_rows_are_named_and_break(tmp_path: Path) -> None:
    books = Books(tmp_path, {"severity": "warn"})
    books.bill(
        row("a", 5),
        row("", 5),
        row("b", "many"),
        row("c", "-"),
        row("d", 5, month="Jan 24"),
        row("e", 5, zone="Mars/Olympus"),
        row("f", 5, zone=""),
        row("g", "1e40"),
        row("h", "0.0000000001"),
    )
    comparison = books.lake(Event(JANUARY, 5, "a")).compare()

    unreadable = comparison.old.unreadable
    assert unreadable["line"].to_list() == list(range(3, 11))
    assert set(unreadable["source_file"]) == {"legacy/bill.csv"}
    assert unreadable["why"].to_list() == [
        "the subject is empty",
        "the quantity is no number that the meter can hold",
        "the quantity is empty",
        "the period in `month` is not %Y-%m",
        "the time zone is empty or unknown",
        "the time zone is empty or unknown",
        "the quantity is no number that the meter can hold",
        "the quantity is no number that the meter can hold",
    ]
    assert unreadable["original"][1] == "b,UTC,2024-01,many,"
    assert comparison.breaks.is_empty()
    assert comparison.verdict == "WARN"


def test_an_empty_subject_is_not_all_subjects(tmp_path: Path) -> None:
    """A source that declares other nulls has empty texts."""
    books = Books(tmp_path).bill(row("", 5), row("a", 5))
    books.declare()
    path = tmp_path / "sources/old_bill.yaml"
    declare = books.declare

    def with_other_nulls() -> None:
        declare()
        path.write_text(path.read_text().replace("- ''\n", "- NULL\n"))

    books.declare = with_other_nulls  # type: ignore[method-assign]
    comparison = books.lake(Event(JANUARY, 5, "a")).compare()
    assert comparison.old.unreadable["why"].to_list() == ["the subject is empty"]
    assert statuses(comparison) == {("a", "2024-01"): "match"}


def test_rows_that_are_not_asked_for_are_counted(tmp_path: Path) -> None:
    total = {"where": {"usd": ["x"]}, "period": UTC_MONTHS | {"from": "2024-01", "to": "2024-03"}}
    books = Books(tmp_path, total)
    books.bill(
        row("a", 5, usd="x"),
        row("a", 7, usd="y"),
        row("a", 7, "2023-12", usd="x"),
        row("a", 5, "2024-02", usd="x"),
        row("a", 7, "2024-03", usd="x"),
    )
    comparison = books.lake(Event(JANUARY, 5, "a"), Event(FEBRUARY, 5, "a")).compare()

    assert (comparison.old.rows, comparison.old.not_compared) == (5, 3)
    assert comparison.cells["old"].to_list() == [5, 5]
    assert comparison.verdict == "PASS"


def test_rows_of_one_cell_are_summed(tmp_path: Path) -> None:
    books = Books(tmp_path, {"amount": "usd"})
    rows = [row("a", "2.5", usd="1"), row("b", 1, usd="1"), row("a", "2.5", usd="0.5")]
    rows += [row("a", "-1", usd=""), row("b", 4, usd="3")]
    comparison = books.bill(*rows).lake(Event(JANUARY, 4, "a"), Event(JANUARY, 5, "b")).compare()

    assert comparison.verdict == "PASS"
    a, b = comparison.cells.rows(named=True)
    assert (a["old"], a["amount"]) == (4, None)  # one row lacks its amount
    assert (b["old"], b["amount"]) == (5, 4)
    assert a["lines"] == "legacy/bill.csv:2, legacy/bill.csv:4, legacy/bill.csv:5"


def test_duplicated_rows_count_twice_and_show(tmp_path: Path) -> None:
    comparison = Books(tmp_path).bill(*[row("a", 5)] * 2).lake(Event(JANUARY, 5, "a")).compare()
    assert comparison.difference == -5
    assert comparison.broke


def test_totals_of_all_subjects(tmp_path: Path) -> None:
    books = Books(tmp_path, {"subject": None, "period": UTC_MONTHS})
    books.bill(row("x", 12), row("y", 3, "2024-02"))
    comparison = books.lake(
        Event(JANUARY, 5, "a"),
        Event(JANUARY, 7, "b"),
        Event(FEBRUARY, 2, "c"),
        Event("2024-03-01T00:00:00Z", 9),
    ).compare()

    assert comparison.cells.select("subject", "old", "new").rows() == [("", 12, 12), ("", 3, 2)]
    assert (comparison.outside.rows, comparison.outside.quantity) == (1, 9)


@pytest.mark.parametrize(
    ("aggregation", "old"),
    [("avg", "2.67"), ("min", "1"), ("max", "4"), ("first", "4"), ("last", "1"), ("rate", "0.04")],
)
def test_meters_that_do_not_add_are_compared_and_not_explained(
    tmp_path: Path, aggregation: str, old: str
) -> None:
    period = {"column": "month", "format": "%Y-%m-%d", "grain": "day", "zone": "UTC"}
    events = [Event(f"2024-01-15T12:00:0{n}Z", units, "a") for n, units in enumerate((4, 3, 1))]
    if aggregation == "rate":
        events = [event for event in events for _ in range(1152)]  # 3,456 in 86,400 seconds
    for units, verdict in ((old, "PASS"), (Decimal(old) * 2, "FAIL")):
        books = Books(tmp_path / verdict, {"period": period})
        books.meter = {"aggregation": aggregation, "decimals": 2}
        books.bill(row("a", units, "2024-01-15"))
        comparison = books.lake(*events, Event(FEBRUARY, 9, "a")).compare()
        assert comparison.cells["new"].to_list() == [Decimal(old)]
        assert comparison.verdict == verdict
        assert found(comparison) == []
        assert (comparison.outside.rows, comparison.outside.quantity) == (1, 0)


def test_count_meters_count_events_outside_too(tmp_path: Path) -> None:
    books = Books(tmp_path, meter={"aggregation": "count", "decimals": 0}).bill(row("a", 2))
    events = [Event(JANUARY, 50, "a")] * 2 + [Event(FEBRUARY, 70, "a")] * 3
    comparison = books.lake(*events).compare()
    assert comparison.verdict == "PASS"
    assert (comparison.outside.rows, comparison.outside.quantity) == (3, 3)


def test_nothing_imported_is_a_break(tmp_path: Path) -> None:
    comparison = Books(tmp_path).bill(row("a", 5)).compare()
    assert statuses(comparison) == {("a", "2024-01"): "only in the old"}
    assert (comparison.lake_version, comparison.verdict) == (None, "FAIL")


def test_a_comparison_of_nothing_does_not_pass(tmp_path: Path) -> None:
    books = Books(tmp_path, {"where": {"customer": ["nobody"]}}).bill(row("a", 5))
    comparison = books.lake(Event(JANUARY, 5, "a")).compare()
    assert comparison.cells.is_empty()
    assert (comparison.verdict, comparison.outside.rows) == ("FAIL", 1)


def test_totals_beyond_a_quantity_are_refused_or_exact(tmp_path: Path) -> None:
    huge = "99999999999999999999999999999.999999999"  # 38 digits
    exact = Books(tmp_path / "exact").bill(row("a", huge), row("b", f"-{huge}"))
    exact.lake(Event(JANUARY, huge, "a"), Event(JANUARY, f"-{huge}", "b"))
    assert exact.compare().verdict == "PASS"

    gap = Books(tmp_path / "gap").bill(row("a", huge)).lake(Event(JANUARY, f"-{huge}", "a"))
    summed = Books(tmp_path / "summed").bill(row("a", huge), row("a", huge))
    daily = Books(tmp_path / "daily", {"quantity": {"column": "units", "per": "day"}})
    daily.bill(row("a", huge))
    new = Books(tmp_path / "new").bill(row("a", 5)).lake(*[Event(JANUARY, huge, "a")] * 3)
    for books in (gap, summed, daily, new):
        with pytest.raises(TotalTooLargeError, match="38 digits"):
            books.compare()


def test_a_difference_in_the_last_of_38_digits(tmp_path: Path) -> None:
    old, new = "99999999999999999999999999999.999999999", "99999999999999999999999999999.999999998"
    comparison = Books(tmp_path).bill(row("a", old)).lake(Event(JANUARY, new, "a")).compare()
    assert comparison.difference == Decimal("-0.000000001")
    assert comparison.unexplained == comparison.difference


def test_residuals_that_cancel_are_still_residuals(tmp_path: Path) -> None:
    books = Books(tmp_path).bill(row("a", 50), row("b", 60))
    events = [Event(JANUARY, n, who) for who in "ab" for n in (20, 35)]
    comparison = books.lake(*events).compare()
    assert (comparison.unexplained, comparison.residuals.height) == (0, 2)
    assert comparison.verdict == "FAIL"


@pytest.mark.parametrize(
    ("tolerance", "text"),
    [
        ({}, "nothing"),
        ({"absolute": "0.50", "per": "day"}, "0.5 call for each day of the period"),
        ({"relative": "0.1%"}, "0.1 % of the old total"),
        ({"absolute": 100, "relative": "1%"}, "100 call or 1 % of the old total"),
    ],
)
def test_the_tolerance_in_words(tmp_path: Path, tolerance: Any, text: str) -> None:
    comparison = Books(tmp_path, {"tolerance": tolerance}).bill(row("a", 5)).compare()
    assert comparison.tolerance_text == text
