"""Causes: each is found with its exact amount, none is invented, and all sum to the difference."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.causes import (
    BOUNDARY,
    MISSING,
    NOT_IMPORTED,
    REJECTED,
    ROUNDING,
    TWICE,
)
from spanner_pipeline.root import load_catalog
from spanner_pipeline_tests.reconciliation.building import Books, balances, found
from spanner_pipeline_tests.usage.events import Event

# Tokyo's January: 15:00Z of December to 15:00Z of January. Its days: 7, 100, 30.3, 1,000,000, 11.
USAGE = [
    Event("2023-12-31T14:59:59Z", "5", "a"),
    Event("2023-12-31T15:00:00Z", "7", "a"),
    Event("2024-01-10T01:00:00Z", "60", "a"),
    Event("2024-01-10T14:00:00Z", "40", "a"),
    Event("2024-01-19T15:00:00Z", "30.3", "a"),
    Event("2024-01-25T01:00:00Z", "1000000", "a"),
    Event("2024-01-31T14:00:00Z", "11", "a"),
    Event("2024-01-31T15:00:00Z", "13", "a"),
]
TRUE = Decimal("1000148.3")


def billed(path: Path, units: object, events: list[Event] = USAGE, **meter: Any) -> Books:
    books = Books(path, meter=meter).lake(*events)
    return books.bill(("a", "Asia/Tokyo", "2024-01", units, ""))


@pytest.mark.parametrize(
    ("units", "cause", "detail"),
    [
        (TRUE + 100, TWICE, "the old bill counts twice 2024-01-10"),
        (TRUE + 7, TWICE, "the old bill counts twice 2024-01-01"),
        (TRUE - Decimal("30.3"), MISSING, "the old bill lacks 2024-01-20"),
        (TRUE - 11, MISSING, "the old bill lacks 2024-01-31"),
        (TRUE - 7 + 13, BOUNDARY, "the old bill cuts this period in UTC, not in Asia/Tokyo"),
        (1_001_000, ROUNDING, "the old bill rounds up to a full 1,000"),
        (1_000_000, ROUNDING, "the old bill rounds to the nearest or down to a full 1,000"),
        (1_000_200, ROUNDING, "the old bill rounds up to a full 100"),
        (1_000_100, ROUNDING, "the old bill rounds to the nearest or down to a full 100"),
        (1_000_149, ROUNDING, "the old bill rounds up to a full 1"),
        (1_000_148, ROUNDING, "the old bill rounds to the nearest or down to a full 1"),
    ],
)
def test_each_cause_alone(tmp_path: Path, units: object, cause: str, detail: str) -> None:
    comparison = billed(tmp_path, units).compare()

    (explanation,) = comparison.causes
    assert (explanation.cause, explanation.detail) == (cause, detail)
    assert explanation.quantity == comparison.difference == TRUE - Decimal(str(units))
    assert comparison.unexplained == 0
    assert comparison.broke  # an explained difference is still a difference


def test_two_days_of_the_same_amount_are_both_named(tmp_path: Path) -> None:
    events = [*USAGE, Event("2024-01-12T01:00:00Z", "100", "a")]
    comparison = billed(tmp_path, TRUE, events).compare()
    assert [c.detail for c in comparison.causes] == ["the old bill lacks 2024-01-10 or 2024-01-12"]


def test_causes_that_no_number_can_tell_apart_are_all_named(tmp_path: Path) -> None:
    events = [Event("2023-12-31T15:00:00Z", 70, "a"), Event("2024-01-10T01:00:00Z", 6001, "a")]
    (cause,) = billed(tmp_path, 6001, events).compare().causes
    assert (cause.cause, cause.quantity) == (BOUNDARY, Decimal(70))
    assert cause.detail == (
        "the old bill cuts this period in UTC, not in Asia/Tokyo; or the old bill lacks 2024-01-01"
    )


def test_a_month_cut_in_utc_whose_start_is_the_same(tmp_path: Path) -> None:
    """London's March begins in winter time, equal to UTC, and ends in summer time."""
    books = Books(tmp_path).bill(("a", "Europe/London", "2024-03", 1207, ""))
    books.lake(Event("2024-03-05T00:00:00Z", 1200, "a"), Event("2024-03-31T23:30:00Z", 7, "a"))
    assert found(books.compare()) == [("a", BOUNDARY, Decimal(-7))]


def test_a_customer_whom_the_bill_lacks_was_not_cut_on_its_own_clock(tmp_path: Path) -> None:
    """Others' clocks are candidates for it too, and its own is no other."""
    books = Books(tmp_path).lake(*USAGE, Event("2024-01-15T00:00:00Z", 5000, "b"))
    books.bill(
        ("a", "Asia/Tokyo", "2024-01", TRUE - 7 + 13, ""),
        ("b", "Europe/London", "2024-02", 0, ""),
    )
    january, february = ("a", BOUNDARY, Decimal(-6)), ("a", BOUNDARY, Decimal(13))
    assert found(books.compare()) == [january, february]


@pytest.mark.parametrize("units", [TRUE + 1, TRUE - 1, 1_000_337, 1_003_000, 0, -3, TRUE * 2])
def test_what_no_cause_predicts_stays_unexplained(tmp_path: Path, units: Any) -> None:
    comparison = billed(tmp_path, units).compare()
    assert found(comparison) == []
    assert comparison.unexplained == comparison.difference == TRUE - Decimal(str(units))


def test_round_totals_that_are_small_say_nothing(tmp_path: Path) -> None:
    for units in (3000, 50_000, 99_000):
        books = Books(tmp_path / str(units)).bill(("a", "UTC", "2024-01", units, ""))
        books.lake(
            Event("2024-01-01T00:00:00Z", units - 400, "a"), Event("2024-01-02T00:00:00Z", 7, "a")
        )
        assert found(books.compare()) == []


def test_count_meters_are_explained_in_events(tmp_path: Path) -> None:
    counts = {3: 131, 4: 12, 5: 143}
    days = (day for day, count in counts.items() for _ in range(count))
    events = [Event(f"2024-01-{day:02}T01:00:00Z", 50, "a") for day in days]
    for units, cause in ((286 + 12, TWICE), (286 - 143, MISSING)):
        books = billed(tmp_path / cause, units, events, aggregation="count", decimals=0)
        comparison = books.compare()
        assert found(comparison) == [("a", cause, Decimal(286 - units))]
        assert balances(comparison)


def test_days_are_those_of_all_subjects_where_totals_are(tmp_path: Path) -> None:
    period = {"column": "month", "grain": "month", "zone": "Asia/Tokyo"}
    books = Books(tmp_path, {"subject": None, "period": period})
    books.lake(*USAGE, Event("2024-01-10T14:30:00Z", 900, "b"))
    comparison = books.bill(("", "", "2024-01", TRUE - 100, "")).compare()
    assert found(comparison) == [("", MISSING, Decimal(1000))]


GOOD = [("1", "a", "70.5", "2024-01-03T00:00:00Z"), ("2", "a", "29", "2024-01-04T00:00:00Z")]
# No id: rejected, although subject, time and quantity are known.
NO_ID = [("", "a", "0.5", "2024-01-05T00:00:00Z"), ("", "a", "3", "2024-01-09T00:00:00Z")]
ELSEWHERE = [("", "a", "3", "2024-02-05T00:00:00Z"), ("", "b", "3", "2024-01-05T00:00:00Z")]
UNKNOWN = [("3", "a", "many", "2024-01-05T00:00:00Z"), ("4", "a", "3", "yesterday")]


def imported(path: Path, units: object, rows: list[Any], **meter: Any) -> Books:
    books = Books(path, meter=meter).imported(*rows)
    return books.bill(("a", "UTC", "2024-01", units, ""))


def test_rejected_rows_explain_what_they_are_known_to_hold(tmp_path: Path) -> None:
    comparison = imported(tmp_path, "103", [*GOOD, *NO_ID, *ELSEWHERE, *UNKNOWN]).compare()

    (cause,) = comparison.causes
    assert (cause.cause, cause.quantity) == (REJECTED, Decimal("-3.5"))
    assert cause.detail == "2 rows rejected as identity_missing"
    assert comparison.unexplained == 0


def test_rejected_rows_of_a_count_meter_count_as_rows(tmp_path: Path) -> None:
    rows = [*GOOD, *NO_ID, *ELSEWHERE]
    books = imported(tmp_path, 4, rows, aggregation="count")
    comparison = books.compare()
    assert found(comparison) == [("a", REJECTED, Decimal(-2))]
    assert comparison.unexplained == 0


def test_rejected_rows_and_another_cause_together(tmp_path: Path) -> None:
    comparison = imported(tmp_path, Decimal("103") + 29, [*GOOD, *NO_ID]).compare()
    assert found(comparison) == [
        ("a", REJECTED, Decimal("-3.5")),
        ("a", TWICE, Decimal(-29)),
    ]
    assert balances(comparison)


def test_rejected_rows_that_do_not_narrow_the_gap_are_no_cause(tmp_path: Path) -> None:
    comparison = imported(tmp_path, "98.7", [*GOOD, *NO_ID]).compare()
    assert found(comparison) == []
    assert comparison.unexplained == Decimal("0.8")


def test_a_rejected_row_of_absurd_size_does_not_stop_the_report(tmp_path: Path) -> None:
    absurd = [("", "a", "9" * 29, "2024-01-05T00:00:00Z")] * 12
    comparison = imported(tmp_path, "98.7", [*GOOD, *absurd]).compare()
    assert found(comparison) == []
    assert balances(comparison)


def test_quarantine_of_an_earlier_configuration_with_other_decimals(tmp_path: Path) -> None:
    """A partition imported with 9 decimals, another with 2: DuckDB would cut all to the first's."""
    books = Books(tmp_path, meter={"decimals": 9}).bill(("a", "UTC", "2024-01", "100.13", ""))
    books.declare()
    usage = (tmp_path / "sources/usage.yaml").read_text()
    usage = usage.replace("legacy/usage.csv", "legacy/usage-{year}.csv")
    usage = usage.replace("grain: whole", "grain: year\n  from: 2023-01-01\n  to: 2026-01-01")
    books.write("sources/usage.yaml", usage)
    good = "1,a,99.5,2024-01-03T00:00:00Z\n"
    lines = {2023: ",a,0.125,", 2024: good + ",a,0.5,", 2025: ",a,0.005,"}
    for year, line in lines.items():
        end = "2024-01-05T00:00:00Z\n"
        books.write(f"legacy/usage-{year}.csv", f"id,who,units,at\n{line}{end}")
        if year == 2024:  # the lake holds nothing yet, so the meter may change
            meter = (tmp_path / "meters/calls.yaml").read_text()
            books.write("meters/calls.yaml", meter.replace("decimals: 9", "decimals: 3"))
        catalog = load_catalog(books.root)
        import_partition(books.root, catalog, catalog.sources["usage"], str(year))
    files = sorted((tmp_path / "quarantine").rglob("*.rejected.parquet"))
    assert len({pl.read_parquet_schema(file)["quantity"] for file in files}) == 2

    books.meter = {"decimals": 3}
    comparison = books.compare()
    assert found(comparison) == [("a", REJECTED, Decimal("-0.63"))]
    assert comparison.unexplained == 0
    assert balances(comparison)


def test_credits_count_as_what_they_are(tmp_path: Path) -> None:
    events = [
        Event("2024-01-03T00:00:00Z", "-20.25", "a"),
        Event("2024-01-04T00:00:00Z", "-7.1", "a"),
    ]
    for units, cause, amount in (("-47.6", TWICE, "20.25"), ("-20.25", MISSING, "-7.1")):
        comparison = billed(tmp_path / cause, units, events).compare()
        assert found(comparison) == [("a", cause, Decimal(amount))]


def test_what_nobody_imported_is_the_cause_of_all_that_is_not_there(tmp_path: Path) -> None:
    comparison = Books(tmp_path).bill(("a", "Asia/Tokyo", "2024-01", 5, "")).compare()
    assert found(comparison) == [("a", NOT_IMPORTED, Decimal(-5))]
    (cause,) = comparison.causes
    assert cause.detail == "nothing was imported for this time: usage whole"
    assert comparison.verdict == "FAIL"


def test_numbers_too_small_to_tell_causes_apart_get_none(tmp_path: Path) -> None:
    """Of six calls on three days, a third of all differences would look like a day."""
    events = [Event(f"2024-01-{day:02}T01:00:00Z", 1, "a") for day in (3, 3, 4, 5, 5, 5)]
    for units in (1, 2, 3, 4, 5, 7, 8, 9):
        comparison = billed(tmp_path / str(units), units, events).compare()
        assert found(comparison) == []
        assert comparison.unexplained == 6 - units
