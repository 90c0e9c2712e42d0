"""Periods are cut on the clock of each subject, whatever that clock does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline_tests.reconciliation.building import Books, statuses
from spanner_pipeline_tests.usage.events import Event

JANUARY, FEBRUARY = "2024-01-15T12:00:00Z", "2024-02-15T12:00:00Z"


def row(
    customer: str, units: object, month: str = "2024-01", zone: str = "UTC", usd: object = ""
) -> Any:
    return (customer, zone, month, units, usd)


def test_each_subject_is_cut_on_its_own_clock(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.bill(
        row("utc", 1), row("ny", 1, zone="America/New_York"), row("jp", 1, zone="Asia/Tokyo")
    )
    late, early = "2024-02-01T04:59:59Z", "2023-12-31T15:00:00Z"
    edges = [Event(late, 1, "ny"), Event(early, 1, "jp"), Event(JANUARY, 1, "utc")]
    outside = [Event(early, 5, "ny"), Event(late, 6, "jp"), Event("2024-02-01T00:00:00Z", 7, "utc")]
    comparison = books.lake(*edges, *outside).compare()

    assert comparison.verdict == "PASS"
    assert (comparison.outside.rows, comparison.outside.quantity) == (3, 18)


def test_a_subject_that_moved_to_another_clock_is_not_counted_on_both(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.bill(row("a", 5), row("a", 7, "2024-02", "Asia/Tokyo"), row("b", 1, "2024-03"))
    march = "2024-03-31T14:00:00Z"
    comparison = books.lake(
        Event(JANUARY, 5, "a"), Event(FEBRUARY, 7, "a"), Event(march, 1, "b"), Event(march, 3, "a")
    ).compare()

    assert statuses(comparison) == {
        ("a", "2024-01"): "match",
        ("a", "2024-02"): "match",
        ("a", "2024-03"): "only in the new",
        ("b", "2024-03"): "match",
    }
    assert comparison.breaks["zone"].to_list() == ["Asia/Tokyo"]  # the clock that it had last


@pytest.mark.parametrize(
    ("zone", "day", "first", "hours"),
    [
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00:00Z", 23),
        ("Africa/Cairo", date(2023, 4, 28), "2023-04-27T22:00:00Z", 23),
        ("America/Havana", date(2024, 11, 3), "2024-11-03T04:00:00Z", 25),
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-29T10:00:00Z", 24),
        ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T10:00:00Z", 24),
    ],
)
def test_days_where_the_clock_changes_at_midnight(
    tmp_path: Path, zone: str, day: date, first: str, hours: int
) -> None:
    period = {"column": "month", "format": "%Y-%m-%d", "grain": "day", "zone": zone}
    books = Books(tmp_path, {"period": period}).bill(row("a", 2, str(day)))
    start, instant = datetime.fromisoformat(first), timedelta(microseconds=1)
    end = start + timedelta(hours=hours)
    moments = (start - instant, start, end - instant, end)
    comparison = books.lake(*(Event(moment, 1, "a") for moment in moments)).compare()

    assert comparison.cells.select("start", "end").rows() == [(start, end)]
    assert (comparison.verdict, comparison.outside.rows) == ("PASS", 2)


def test_the_lost_day_of_apia_is_empty(tmp_path: Path) -> None:
    period = {"column": "month", "format": "%Y-%m-%d", "grain": "day", "zone": "Pacific/Apia"}
    books = Books(tmp_path, {"period": period}).bill(row("a", 0, "2011-12-30"))
    comparison = books.lake(Event("2011-12-30T10:00:00Z", 1, "a")).compare()
    assert comparison.cells["new"].to_list() == [None]


def test_months_over_a_clock_change(tmp_path: Path) -> None:
    books = Books(tmp_path)
    books.bill(row("a", 2, "2024-03", "Europe/London"), row("a", 2, "2024-11", "America/New_York"))
    inside = ("2024-03-01T00:00:00Z", "2024-03-31T22:59:59Z", "2024-11-01T04:00:00Z")
    outside = ("2024-03-31T23:00:00Z", "2024-11-01T03:59:59Z", "2024-12-01T05:00:00Z")
    times = (*inside, "2024-12-01T04:59:59Z", *outside)
    comparison = books.lake(*(Event(time, 1, "a") for time in times)).compare()

    assert comparison.verdict == "PASS"
    assert comparison.outside.rows == 3


def test_whole_years(tmp_path: Path) -> None:
    period = {"column": "month", "format": "%Y", "grain": "year", "zone": "Asia/Tokyo"}
    books = Books(tmp_path, {"period": period, "quantity": {"column": "units", "per": "day"}})
    books.bill(row("a", 2, "2024"))
    times = ("2023-12-31T15:00:00Z", "2024-12-31T14:59:59Z")
    comparison = books.lake(*(Event(time, 366, "a") for time in times)).compare()
    assert comparison.verdict == "PASS"


def test_a_period_declared_from_a_day_within_the_month(tmp_path: Path) -> None:
    period = {"column": "month", "format": "%Y-%m-%d", "grain": "month", "zone": "UTC"}
    books = Books(tmp_path, {"period": period}).bill(row("a", 2, "2024-01-15"))
    times = ("2024-01-15T00:00:00Z", "2024-02-14T23:59:59Z", "2024-02-15T00:00:00Z")
    comparison = books.lake(*(Event(time, 1, "a") for time in times)).compare()
    assert (comparison.verdict, comparison.outside.rows) == ("PASS", 1)
    assert comparison.cells["end"].to_list() == [datetime(2024, 2, 15, tzinfo=UTC)]


def test_one_period_on_two_clocks_cannot_be_compared(tmp_path: Path) -> None:
    rows = [row("a", 5), row("a", 5, zone="Asia/Tokyo"), row("b", 5), row("b", 5, zone="Mars")]
    comparison = Books(tmp_path).bill(*rows).lake(Event(JANUARY, 5, "b")).compare()
    why = "this period is billed on two clocks, so its usage would count in both"
    assert comparison.old.unreadable["why"].to_list() == ["the time zone is empty or unknown"]
    assert comparison.not_comparable.select("subject", "zone", "why").rows() == [
        ("a", "Asia/Tokyo", why),
        ("a", "UTC", why),
    ]
    assert comparison.compared.select("subject", "status").rows() == [("b", "match")]
    assert comparison.verdict == "FAIL"
