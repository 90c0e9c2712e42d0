"""How reports spell numbers, shares, money and periods."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from spanner_pipeline.reconciliation.report import (
    counted,
    grouped,
    money,
    percent,
    period_label,
    plain,
    signed,
    worth,
)


@pytest.mark.parametrize(
    ("number", "machine", "person", "difference"),
    [
        ("0", "0", "0", "0"),
        ("-0", "0", "0", "0"),
        ("-0.00", "0", "0", "0"),
        ("1E+3", "1000", "1,000", "+1,000"),
        ("-1E+3", "-1000", "−1,000", "−1,000"),
        ("100", "100", "100", "+100"),
        ("0.10", "0.1", "0.1", "+0.1"),
        ("-0.5", "-0.5", "−0.5", "−0.5"),
        ("1E-18", "0.000000000000000001", "0.000000000000000001", "+0.000000000000000001"),
        ("1234567.8900", "1234567.89", "1,234,567.89", "+1,234,567.89"),
        (
            "99999999999999999999999999999.999999999",
            "99999999999999999999999999999.999999999",
            "99,999,999,999,999,999,999,999,999,999.999999999",
            "+99,999,999,999,999,999,999,999,999,999.999999999",
        ),
    ],
)
def test_numbers_are_spelt_in_full(number: str, machine: str, person: str, difference: str) -> None:
    exact = Decimal(number)
    assert (plain(exact), grouped(exact), signed(exact)) == (machine, person, difference)


def test_money_has_both_decimals() -> None:
    spelt = {"-1.4": "−1.40", "0.00": "0.00", "-0.00": "0.00", "1234567": "+1,234,567.00"}
    assert {number: money(Decimal(number)) for number in spelt} == spelt
    assert money(None) == "–"


def test_numbers_that_are_not_there() -> None:
    assert (plain(None), grouped(None), grouped(1234)) == ("", "–", "1,234")
    assert (counted(1, "row"), counted(0, "row"), counted(1200, "row")) == (
        "1 row",
        "0 rows",
        "1,200 rows",
    )


@pytest.mark.parametrize(
    ("part", "whole", "share"),
    [
        ("1", "0", ""),
        ("0", "5", "0 %"),
        ("1", "3", "+33.33 %"),
        ("-1", "3", "−33.33 %"),
        ("1", "-4", "+25 %"),
        ("-683.91", "1422776", "−0.048 %"),
        ("1", "123456789", "+0.00000081 %"),
        ("300", "1", "+30,000 %"),
        ("1E+28", "3E-9", None),
    ],
)
def test_shares(part: str, whole: str, share: str | None) -> None:
    text = percent(Decimal(part), Decimal(whole))
    assert text == share if share is not None else text.startswith("+333,333,333")


def test_what_a_difference_is_worth() -> None:
    row = {"old": Decimal(1000), "amount": Decimal("2.5"), "difference": Decimal(-10)}
    assert worth(row) == Decimal("-0.02")  # half even
    assert worth(row | {"old": Decimal(0)}) is None
    assert worth(row | {"old": None}) is None
    assert worth(row | {"amount": None}) is None
    assert worth(row | {"amount": Decimal(0)}) == 0


def test_a_period_is_called_by_its_first_day_where_it_is_not_the_calendars() -> None:
    assert period_label("month", date(2024, 1, 1)) == "2024-01"
    assert period_label("month", date(2024, 1, 15)) == "2024-01-15"
    assert period_label("year", date(2024, 1, 1)) == "2024"
    assert period_label("year", date(2024, 4, 1)) == "2024-04-01"
    assert period_label("day", date(2024, 1, 1)) == "2024-01-01"
