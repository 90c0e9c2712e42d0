"""Old totals come in every shape that an old system has, and are declared, never guessed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spanner_pipeline.errors import ConfigurationError
from spanner_pipeline.reconciliation.causes import BOUNDARY, LINES, UNIT
from spanner_pipeline_tests.reconciliation.building import Books, balances, found, statuses
from spanner_pipeline_tests.usage.events import Event

DAYS = {"start": "since", "end": "until", "zone": "UTC"}
INVOICE = ("invoice", "customer", "since", "until", "units")


def invoices(path: Path, **total: Any) -> Books:
    return Books(path, {"period": DAYS, **total}, columns=INVOICE)


def test_each_invoice_has_a_period_of_its_own(tmp_path: Path) -> None:
    books = invoices(tmp_path).bill(
        ("1", "a", "2024-01-05", "2024-02-05", 30), ("2", "b", "2024-01-20", "2024-02-20", 7)
    )
    books.lake(
        Event("2024-01-05T00:00:00Z", 10, "a"),
        Event("2024-02-04T23:59:59.999999Z", 20, "a"),
        Event("2024-02-05T00:00:00Z", 99, "a"),
        Event("2024-01-20T00:00:00Z", 7, "b"),
        Event("2024-01-19T00:00:00Z", 98, "b"),
        Event("2024-01-25T00:00:00Z", 3, "c"),
    )
    comparison = books.compare()
    assert statuses(comparison) == {
        ("a", "2024-01-05/2024-02-05"): "match",
        ("b", "2024-01-20/2024-02-20"): "match",
        ("c", "2024-01-05/2024-02-20"): "only in the new",
    }
    assert (comparison.outside.rows, comparison.outside.quantity) == (2, 197)
    assert comparison.cells["days"].to_list() == [31, 46, 31]


def test_the_last_day_of_an_invoice_belongs_to_it(tmp_path: Path) -> None:
    period = {"start": "since", "last": "until", "zone": "America/New_York", "format": "%d.%m.%Y"}
    books = invoices(tmp_path, period=period).bill(("1", "a", "01.01.2024", "31.01.2024", 3))
    books.lake(Event("2024-02-01T04:59:59Z", 3, "a"), Event("2024-02-01T05:00:00Z", 4, "a"))
    comparison = books.compare()
    assert (comparison.verdict, comparison.outside.rows) == ("PASS", 1)


def test_periods_may_begin_and_end_at_times(tmp_path: Path) -> None:
    period = {"start": "since", "end": "until", "format": "iso8601", "zone": "Asia/Tokyo"}
    books = invoices(tmp_path, period=period)
    books.bill(
        ("1", "a", "2024-01-01T06:30:00", "2024-01-02T00:00:00Z", 3),
        ("2", "a", "2024-01-02T00:00Z", "2024-01-03T00:00Z", 4),
    )
    books.lake(
        Event("2023-12-31T21:29:59Z", 9, "a"),
        Event("2023-12-31T21:30:00Z", 3, "a"),
        Event("2024-01-02T00:00:00Z", 4, "a"),
    )
    comparison = books.compare()
    assert comparison.verdict == "PASS"
    assert comparison.cells["period"].to_list() == [
        "2023-12-31T21:30Z/2024-01-02T00:00Z",
        "2024-01-02T00:00Z/2024-01-03T00:00Z",
    ]


def test_invoices_that_overlap_are_not_compared_because_usage_would_count_in_both(
    tmp_path: Path,
) -> None:
    books = invoices(tmp_path).bill(
        ("1", "a", "2024-01-01", "2024-02-01", 30),
        ("2", "a", "2024-01-31", "2024-03-01", 30),
        ("3", "b", "2024-01-01", "2024-02-01", 5),
    )
    comparison = books.lake(Event("2024-01-05T00:00:00Z", 5, "b")).compare()
    assert set(comparison.not_comparable["why"]) == {
        "this period overlaps another of the same, so usage would count in both"
    }
    assert comparison.not_comparable.height == 2
    assert (comparison.old_total, comparison.failings) == (5, ["2 numbers could not be compared"])


def test_lines_of_an_invoice_add_up(tmp_path: Path) -> None:
    books = invoices(tmp_path).bill(
        ("1", "a", "2024-01-01", "2024-02-01", 30), ("2", "a", "2024-01-01", "2024-02-01", 12)
    )
    comparison = books.lake(Event("2024-01-05T00:00:00Z", 42, "a")).compare()
    assert comparison.verdict == "PASS"
    assert comparison.cells["lines"].to_list() == ["legacy/bill.csv:2, legacy/bill.csv:3"]


def test_the_end_belongs_to_the_period_where_that_is_declared(tmp_path: Path) -> None:
    period = {"column": "month", "grain": "month", "zone": "UTC", "bounds": "(start, end]"}
    books = Books(tmp_path, {"period": period})
    books.bill(("a", "", "2024-01", 12, ""), ("a", "", "2024-02", 5, ""))
    books.lake(
        Event("2024-01-01T00:00:00Z", 100, "a"),
        Event("2024-01-01T00:00:00.000001Z", 5, "a"),
        Event("2024-02-01T00:00:00Z", 7, "a"),
        Event("2024-03-01T00:00:00Z", 5, "a"),
        Event("2024-03-01T00:00:00.000001Z", 100, "a"),
    )
    comparison = books.compare()
    assert (comparison.verdict, comparison.outside.rows) == ("PASS", 2)


def test_an_end_that_belongs_to_the_period_is_found_where_it_is_not_declared(
    tmp_path: Path,
) -> None:
    books = Books(tmp_path).bill(("a", "UTC", "2024-01", 1009, ""))
    books.lake(
        Event("2024-01-01T00:00:00Z", 100, "a"),
        Event("2024-01-03T00:00:00Z", 1000, "a"),
        Event("2024-02-01T00:00:00Z", 9, "a"),
    )
    comparison = books.compare()
    assert found(comparison) == [("a", BOUNDARY, Decimal(91))]
    assert comparison.causes[0].detail == (
        "the old bill takes into each period its end, not its start"
    )


PRODUCTS: dict[str, Any] = {
    "dimensions": [
        {"name": "model", "type": "string", "required": False},
        {"name": "kind", "type": "string", "required": False},
    ]
}


def test_a_number_for_each_product(tmp_path: Path) -> None:
    columns = ("customer", "zone", "month", "product", "units")
    total = {"dimensions": {"model": {"column": "product", "map": {"Large": "l"}}}}
    books = Books(tmp_path, total, PRODUCTS, columns)
    books.bill(
        ("a", "UTC", "2024-01", "Large", 5),
        ("a", "UTC", "2024-01", "s", 7),
        ("b", "UTC", "2024-01", "s", 1),
    )
    at = "2024-01-05T00:00:00Z"
    books.lake(
        Event(at, 5, "a", {"model": "l"}),
        Event(at, 7, "a", {"model": "s"}),
        Event(at, 3, "b", {"model": "l"}),
    )
    comparison = books.compare()
    assert comparison.cells.select("subject", "dim_model", "status").rows() == [
        ("a", "l", "match"),
        ("a", "s", "match"),
        ("b", "l", "only in the new"),
        ("b", "s", "only in the old"),
    ]


def test_only_some_events_of_the_meter(tmp_path: Path) -> None:
    books = Books(tmp_path, {"only": {"kind": "input", "model": ["l", "m"]}}, PRODUCTS)
    books.bill(("a", "UTC", "2024-01", 12, ""))
    at = "2024-01-05T00:00:00Z"
    books.lake(
        Event(at, 5, "a", {"model": "l", "kind": "input"}),
        Event(at, 7, "a", {"model": "m", "kind": "input"}),
        Event(at, 9, "a", {"model": "s", "kind": "input"}),
        Event(at, 11, "a", {"model": "l"}),
    )
    assert books.compare().verdict == "PASS"


def test_money_is_usage_times_price(tmp_path: Path) -> None:
    columns = ("customer", "zone", "month", "price", "usd")
    total = {"quantity": "usd", "price": "price", "currency": "USD"}
    books = Books(tmp_path, total, {"decimals": 0}, columns)
    books.bill(
        ("a", "UTC", "2024-01", "0.0004", "4.938"),
        ("b", "UTC", "2024-01", "0.0004", "4.94"),
        ("c", "UTC", "2024-01", "0.1", "9"),
        ("c", "UTC", "2024-01", "0.2", "9"),
    )
    at = "2024-01-05T00:00:00Z"
    books.lake(*(Event(at, 12345, who) for who in "abcd"))
    comparison = books.compare()
    assert comparison.cells.select("subject", "new", "usage", "status", "why").rows() == [
        ("a", Decimal("4.938"), 12345, "match", None),
        ("b", Decimal("4.938"), 12345, "quantity differs", None),
        ("c", Decimal("1234.5"), 12345, "not comparable", "its lines have several prices"),
        ("d", None, 12345, "not comparable", "the old bill has no price for it"),
    ]
    assert found(comparison) == [("b", "rounding of the old bill", Decimal("-0.002"))]
    assert comparison.unit == "USD"
    assert balances(comparison)


def test_a_bill_in_thousands(tmp_path: Path) -> None:
    declared = {"quantity": {"column": "units", "factor": 1000}}
    bill = ("a", "UTC", "2024-01", "1.234", "")
    event = Event("2024-01-05T00:00:00Z", 1234, "a")
    assert Books(tmp_path / "1", declared).bill(bill).lake(event).compare().verdict == "PASS"
    comparison = Books(tmp_path / "2").bill(bill).lake(event).compare()
    assert found(comparison) == [("a", UNIT, Decimal("1232.766"))]
    assert comparison.causes[0].detail == "the old bill counts in units of 1,000 of ours"


SUBTOTALS = {"subtotals": {"where": {"kind": ["subtotal", "total"]}, "of": ["invoice"]}}
WITH_KIND = ("kind", "invoice", "customer", "month", "units")
MONTH = {"period": {"column": "month", "grain": "month", "zone": "UTC"}}


def test_subtotals_are_not_added_and_must_agree_with_their_rows(tmp_path: Path) -> None:
    books = Books(tmp_path, SUBTOTALS | MONTH, columns=WITH_KIND)
    rows = [("line", "1", "a", "2024-01", 5), ("line", "1", "a", "2024-01", 7)]
    event = Event("2024-01-05T00:00:00Z", 12, "a")
    right = books.bill(*rows, ("subtotal", "1", "a", "2024-01", 12)).lake(event).compare()
    assert (right.verdict, right.old.subtotals, right.old_total) == ("PASS", 1, 12)

    wrong = books.bill(*rows, ("subtotal", "1", "a", "2024-01", 13)).compare()
    assert wrong.old.contradictions.rows() == [("legacy/bill.csv", 4, "1", 13, 12)]
    assert wrong.failings == ["1 subtotal of the old bill without the rows to match"]
    assert (wrong.verdict, wrong.breaks.height) == ("FAIL", 0)


def test_a_line_that_stands_twice_and_a_credit_are_causes(tmp_path: Path) -> None:
    columns = ("invoice", "customer", "month", "units")
    books = Books(tmp_path, MONTH, columns=columns)
    books.bill(
        ("1", "a", "2024-01", 1200),
        ("1", "a", "2024-01", 1200),
        ("2", "a", "2024-01", 34),
        ("3", "b", "2024-01", 1300),
        ("4", "b", "2024-01", -61),
    )
    at = "2024-01-05T00:00:00Z"
    books.lake(Event(at, 1234, "a"), Event(at, 1300, "b"))
    comparison = books.compare()
    assert [(c.cause, c.detail, c.quantity) for c in comparison.causes] == [
        (LINES, "the old bill counts lines that stand twice", Decimal(-1200)),
        (LINES, "the old bill nets credits", Decimal(61)),
    ]


def test_thresholds_say_what_may_pass(tmp_path: Path) -> None:
    events = [Event(f"2024-01-{day:02}T00:00:00Z", 1000 + day, "a") for day in (3, 4, 5)]
    exact = 3012
    for units, thresholds, verdict in (
        (exact - 1004, {}, "FAIL"),
        (exact - 1004, {"breaks": 1}, "PASS"),
        (exact - 1004, {"breaks": "any", "unexplained": "0.1%"}, "PASS"),
        (exact - 500, {"breaks": "any", "unexplained": "0.1%"}, "FAIL"),
        (exact - 500, {"breaks": "any", "unexplained": "20%"}, "PASS"),
    ):
        folder = tmp_path / f"{units}-{len(str(thresholds))}-{verdict}"
        books = Books(folder, {"thresholds": thresholds}).lake(*events)
        assert books.bill(("a", "UTC", "2024-01", units, "")).compare().verdict == verdict


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"period": {"start": "since", "zone": "UTC"}}, "needs `column` and `grain`, or `start`"),
        ({"period": {"column": "month", "zone": "UTC"}}, "needs `grain`: day, month or year."),
        (
            {"period": {"column": "m", "grain": "day", "start": "s", "end": "e", "zone": "UTC"}},
            "takes `column` with `grain`, or `start` with `end`, not both.",
        ),
        ({"dimensions": {"colour": "x"}}, "meter calls has no such dimension (it has none)."),
        ({"only": {"colour": "x"}}, "meter calls has no such dimension (it has none)."),
        ({"old_system": {"zones": ["Mars"]}}, "`Mars` is no time zone."),
        ({"thresholds": {"breaks": "few"}}, "must be a whole number, or `any`."),
        ({"price": "p", "amount": "usd"}, "compares money already (`price`); remove `amount`."),
    ],
)
def test_a_mistake_in_the_declaration_says_what_to_write(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    books = Books(tmp_path, change).bill(("a", "UTC", "2024-01", 1, ""))
    with pytest.raises(ConfigurationError) as error:
        books.compare()
    assert message in str(error.value)
    assert "sources/old_bill.yaml:" in str(error.value)
