"""How reports spell numbers, shares, money, times and texts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest

from spanner_pipeline.reconciliation.spelling import (
    counted,
    disarmed,
    exact_text,
    grouped,
    instant,
    money,
    padding,
    percent,
    places,
    plain,
    short,
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
    scale = len(f"{exact:f}".partition(".")[2])
    column = pl.DataFrame({"n": [exact]}, schema={"n": pl.Decimal(38, scale)})
    assert column.select(exact_text("n")).item() == machine


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
    assert worth(row | {"difference": None}) is None
    assert worth(row | {"amount": Decimal(0)}) == 0


def test_numbers_of_a_column_stand_point_below_point() -> None:
    numbers = [Decimal("1.25"), Decimal(1000), None, Decimal("-0.5")]
    assert places(numbers) == 2
    assert [grouped(n) + padding(grouped(n), 2) for n in numbers if n is not None] == [
        "1.25",
        "1,000.00",
        "−0.50",
    ]
    assert padding("7", 0) == ""
    assert places([]) == 0
    # What is broken into lines aligns with nothing.
    assert places([*numbers, Decimal("99999999999999999999.5")]) == 0


@pytest.mark.parametrize(
    ("number", "label"),
    [
        ("0", "0"),
        ("0E+26", "0"),
        ("12.5", "12.5"),
        ("999.999", "1,000"),
        ("-1234", "−1.23 k"),
        ("98650740", "98.65 M"),
        ("5326902484240", "5.33 T"),
        ("4E+26", "4 × 10²⁶"),
        ("-211111111111111111111111111", "−2.11 × 10²⁶"),
        ("0.000123", "0.00012"),
    ],
)
def test_labels_of_pictures_are_short(number: str, label: str) -> None:
    assert short(Decimal(number)) == label


def test_times_are_utc_and_exact() -> None:
    assert instant(datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2024-01-02 03:04:05 UTC"
    tokyo = timezone(timedelta(hours=9))
    assert instant(datetime(2024, 1, 2, 3, 4, 5, 6, tokyo)) == "2024-01-01 18:04:05.000006 UTC"
    assert instant(None) == "–"


def test_texts_that_a_spreadsheet_would_run_are_disarmed() -> None:
    risky = ["=1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]
    harmless = ["", "org_1", "a=b", "'=1", "1-2"]
    texts = pl.DataFrame({"text": [*risky, *harmless]})
    found = texts.select(disarmed(pl.col("text")).alias("text"))["text"].to_list()
    assert found == [*(f"'{text}" for text in risky), *harmless]
