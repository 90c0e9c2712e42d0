"""A comparison split by period: parts sum to the whole, and each is judged by its own numbers."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from spanner_pipeline.reconciliation.periods import split_by_period
from spanner_pipeline_tests.reconciliation.building import Books
from spanner_pipeline_tests.usage.events import Event

JANUARY, FEBRUARY, MARCH = (f"2024-{month:02}-15T12:00:00Z" for month in (1, 2, 3))
BILL = [
    ("a", "UTC", "2024-01", "10", "1"),
    ("b", "Asia/Tokyo", "2024-01", "20", "1"),
    ("a", "UTC", "2024-02", "1000", "1"),
    ("b", "UTC", "2024-02", "4", "1"),
    ("c", "UTC", "2024-03", "?", "1"),
]
USAGE = [
    Event(JANUARY, 10, "a"),
    Event(JANUARY, 20, "b"),
    Event(FEBRUARY, 999, "a"),
    Event(FEBRUARY, 6, "b"),
    Event(MARCH, 3, "new"),
]


def test_the_parts_sum_to_the_whole_and_lose_no_number_and_no_cause(tmp_path: Path) -> None:
    january_bill = ("switched", "UTC", "2024-01", "31", "1")
    switched = Event("2024-01-31T23:30:00Z", 31, "switched")
    whole = Books(tmp_path).bill(*BILL, january_bill).lake(*USAGE, switched).compare()
    parts = split_by_period(whole)

    assert list(parts) == ["2024-01", "2024-02", "2024-03"]
    cells = [cell for part in parts.values() for cell in part.cells["cell"]]
    assert sorted(cells) == whole.cells["cell"].to_list()
    for name in ("old_total", "new_total", "difference", "unexplained"):
        assert sum(getattr(part, name) for part in parts.values()) == getattr(whole, name), name
    assert [c for part in parts.values() for c in part.causes] == list(whole.causes)
    assert sum(part.breaks.height for part in parts.values()) == whole.breaks.height


def test_a_period_fails_by_its_own_numbers(tmp_path: Path) -> None:
    whole = Books(tmp_path).bill(*BILL).lake(*USAGE).compare()
    verdicts = {period: part.verdict for period, part in split_by_period(whole).items()}
    assert verdicts == {"2024-01": "PASS", "2024-02": "FAIL", "2024-03": "FAIL"}


@pytest.mark.parametrize(("share", "february"), [("0.195%", "FAIL"), ("0.2%", "PASS")])
def test_thresholds_hold_for_the_numbers_of_the_period(
    tmp_path: Path, share: str, february: str
) -> None:
    limits = {"thresholds": {"breaks": "any", "unexplained": share}}
    whole = Books(tmp_path, limits).bill(*BILL[:4]).lake(*USAGE[:4]).compare()
    parts = split_by_period(whole)
    assert whole.unexplained == parts["2024-02"].unexplained == Decimal(2)  # of 1034, of 1004
    assert whole.verdict == parts["2024-01"].verdict == "PASS"
    assert parts["2024-02"].verdict == february


def test_what_cannot_be_placed_stays_with_the_whole(tmp_path: Path) -> None:
    rows = [*BILL[:2], ("a", "UTC", "sometime", "1", "1")]
    whole = Books(tmp_path).bill(*rows).lake(*USAGE[:2]).compare()
    assert whole.verdict == "FAIL"
    assert {p: part.verdict for p, part in split_by_period(whole).items()} == {"2024-01": "PASS"}


def test_periods_that_are_not_the_calendars_are_refused(tmp_path: Path) -> None:
    own = {"period": {"start": "since", "end": "until", "zone": "UTC"}}
    books = Books(tmp_path, own, columns=("customer", "since", "until", "units"))
    books.bill(("a", "2024-01-10", "2024-02-10", "10")).lake(Event(JANUARY, 10, "a"))
    with pytest.raises(ValueError, match="periods of its own"):
        split_by_period(books.compare())
