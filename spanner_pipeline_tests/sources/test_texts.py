"""Numbers are exact or refused; times are known or refused."""

from __future__ import annotations

import decimal
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spanner_pipeline.configuration.values import Timestamp
from spanner_pipeline.sources import texts

EXACT = decimal.Context(prec=2000)


def exact(values: list[str], decimals: int) -> list[Decimal | None]:
    frame = pl.DataFrame({"t": values}, schema={"t": pl.String})
    read: list[Decimal | None] = frame.select(texts.exact_decimal(frame, "t", decimals))[
        "t"
    ].to_list()
    return read


def reference(text: str, decimals: int) -> Decimal | None:
    """The value by Python's own decimals, where it fits 38 digits without rounding."""
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text):
        return None
    value = Decimal(text)
    rounded = value.quantize(Decimal(1).scaleb(-decimals), context=EXACT)
    return rounded if rounded == value and len(rounded.as_tuple().digits) <= 38 else None


DIGITS = st.text("0123456789", max_size=40)
NUMBER = st.builds(
    lambda sign, whole, point, fraction, exponent: f"{sign}{whole}{point}{fraction}{exponent}",
    st.sampled_from(["", "-", "+"]),
    DIGITS,
    st.sampled_from(["", "."]),
    DIGITS | st.just(""),
    st.sampled_from(["", "", "e0", "E-9", "e+3", "e-18", "E20", "e-45", "e999"]),
)


@settings(max_examples=400, deadline=None)
@given(values=st.lists(NUMBER, min_size=1, max_size=6), decimals=st.sampled_from([0, 2, 9, 18]))
def test_a_number_is_its_exact_value_or_none(values: list[str], decimals: int) -> None:
    assert exact(values, decimals) == [reference(value, decimals) for value in values]


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1,5", "1_000", "NaN", "inf", "0x1F", "٣", "1e", "--1"]
)
def test_what_is_no_plain_number_is_none(text: str) -> None:
    assert exact([text], 9) == [None]


def test_a_zero_with_a_long_exponent_is_zero() -> None:
    assert exact(["0E-18", "0e-50", "-0.000"], 2) == [0, 0, 0]


def canonical(values: list[str]) -> list[str | None]:
    frame = pl.DataFrame({"t": values})
    spelled: list[str | None] = frame.select(texts.canonical_number(frame, "t"))["t"].to_list()
    return spelled


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (["5", "5.0", "+5", "05", "5.", "0.5e1", "5000E-3"], "5"),
        (["-0", "0", "0.00", "-0.0"], "0"),
        (["100", "1e2", "100.000"], "100"),
        (["-1.50", "-1.5", "-15e-1"], "-1.5"),
    ],
)
def test_a_number_in_a_key_has_one_spelling(spellings: list[str], expected: str) -> None:
    assert canonical(spellings) == [expected] * len(spellings)


def aware(timestamp: Timestamp, text: str) -> Any:
    return pl.Series("t", [text]).to_frame().select(texts.aware_time(timestamp, pl.col("t"))).item()


def naive(timestamp: Timestamp, text: str) -> Any:
    return pl.Series("t", [text]).to_frame().select(texts.naive_time(timestamp, pl.col("t"))).item()


ISO = Timestamp(column="at")
NOON = datetime(2024, 1, 5, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-05T12:00:00Z",
        "2024-01-05 12:00:00.000000000z",
        "2024-01-05T12:00Z",
        "2024-01-05T17:45:00+05:45",
        "2024-01-05T07:00:00-0500",
        "2024-01-05 13:00+01",
        "2024-01-05t12:00:00+00:00",
    ],
)
def test_a_time_with_an_offset_is_utc(text: str) -> None:
    assert aware(ISO, text) == NOON
    assert naive(ISO, text) is None


@pytest.mark.parametrize(
    "text", ["2024-01-05T12:00:00", "2024-01-05 12:00", "2024-01-05 12:00:00.0"]
)
def test_a_time_without_an_offset_is_a_wall_clock(text: str) -> None:
    assert naive(ISO, text) == NOON.replace(tzinfo=None)
    assert aware(ISO, text) is None


@pytest.mark.parametrize(
    "text",
    ["2024-01-05", "2024-02-30T00:00:00Z", "2024-01-05T24:00:00Z", "now", "2024-01-05T12Z", ""],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert aware(ISO, text) is None
    assert naive(ISO, text) is None


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("%m/%d/%Y %I:%M %p", "01/05/2024 03:04 PM", datetime(2024, 1, 5, 15, 4)),
        ("%d.%m.%y", "05.01.24", datetime(2024, 1, 5)),
        ("%Y-%m", "2024-01", datetime(2024, 1, 1)),
        ("%Y%m%d%H%M%S%3f", "20240105120000123", datetime(2024, 1, 5, 12, 0, 0, 123000)),
        ("%F %R", "2024-01-05 12:34", datetime(2024, 1, 5, 12, 34)),
        ("%d/%b/%Y %T%.f", "05/Jan/2024 12:00:00.5", datetime(2024, 1, 5, 12, 0, 0, 500000)),
    ],
)
def test_a_declared_format_is_read_to_its_last_digit(
    pattern: str, text: str, expected: datetime
) -> None:
    assert naive(Timestamp(column="at", format=pattern), text) == expected


@pytest.mark.parametrize(
    ("format_", "text", "microseconds"),
    [
        ("epoch_seconds", "1704456000", 0),
        ("epoch_seconds", "1704456000.5", 500_000),
        ("epoch_seconds", "1704456000.1234560", 123_456),
        ("epoch_milliseconds", "1704456000001", 1_000),
        ("epoch_milliseconds", "1704456000000.25", 250),
    ],
)
def test_a_count_since_1970_is_a_time(format_: str, text: str, microseconds: int) -> None:
    timestamp = Timestamp(column="at", format=format_)
    assert aware(timestamp, text) == NOON + timedelta(microseconds=microseconds)


@pytest.mark.parametrize("text", ["1704456000.1234567", "1.7e9", "", "x", "-", "123456789012345"])
def test_another_count_is_no_time(text: str) -> None:
    assert aware(Timestamp(column="at", format="epoch_seconds"), text) is None


def test_a_count_before_1970_is_a_time_too() -> None:
    timestamp = Timestamp(column="at", format="epoch_seconds")
    assert aware(timestamp, "-0.5") == datetime(1969, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC)


def test_a_time_in_a_key_has_one_spelling() -> None:
    spellings = [
        "2023-11-16 18:17:03.9799600",
        "2023-11-16T18:17:03.97996",
        "2023-11-16T18:17:03.97996Z",
    ]
    frame = pl.DataFrame({"t": spellings})
    keys = frame.select(texts.canonical_time(ISO, pl.col("t")))["t"].to_list()
    assert keys == ["20231116T181703.97996", "20231116T181703.97996", "20231116T181703.97996Z"]
