"""A quantity times the factor of its unit is exact to the last digit, or refused."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spanner_pipeline.configuration.quantity import Quantity
from spanner_pipeline.sources.mapping import with_quantity
from spanner_pipeline_tests.conftest import MakeRoot
from spanner_pipeline_tests.lake_reading import events, quarantined
from spanner_pipeline_tests.sources.test_mapping import imported, source

EXACT = Context(prec=500)
FACTORS = {"B": "1", "KB": "1e3", "GiB": "1073741824", "ms": "0.001", "odd": "123456789.987654321"}


def products(
    declared: dict[str, Any], rows: list[tuple[str, str]], decimals: int
) -> list[Decimal | None]:
    """The quantities of rows of a number and a unit."""
    frame = pl.DataFrame(rows, schema={"raw.n": pl.String, "raw.unit": pl.String}, orient="row")
    quantity = Quantity.model_validate({"column": "n"} | declared)
    found: list[Decimal | None] = with_quantity(frame, quantity, decimals)["quantity"].to_list()
    return found


def reference(number: str, factor: str, decimals: int) -> Decimal | None:
    """The product by Python's own decimals, where it fits 38 digits without rounding."""
    product = EXACT.multiply(Decimal(number), Decimal(factor))
    held = product.quantize(Decimal(1).scaleb(-decimals), context=EXACT)
    return held if held == product and len(held.as_tuple().digits) <= 38 else None


def digits_of(text: str) -> int:
    """How many digits a number has between its outer zeros."""
    return len("".join(map(str, Decimal(text).as_tuple().digits)).strip("0"))


NUMBERS = st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False, places=9).map(
    "{:f}".format
)
SHORT = st.decimals(-(10**6), 10**6, allow_nan=False, allow_infinity=False, places=3).map(str)
SPELLED = st.sampled_from(["0", "-0.00", "007", "+1.50", ".5", "5.", "1e3", "1.25E-4", "9" * 38])


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(
        st.tuples(NUMBERS | SHORT | SPELLED, st.sampled_from(list(FACTORS))), min_size=1, max_size=8
    ),
    decimals=st.sampled_from([0, 3, 9, 18]),
)
def test_a_product_is_exact_or_none(rows: list[tuple[str, str]], decimals: int) -> None:
    found = products({"unit": {"column": "unit", "factors": FACTORS}}, rows, decimals)
    for (number, unit), quantity in zip(rows, found, strict=True):
        exact = reference(number, FACTORS[unit], decimals)
        if quantity is None and digits_of(number) + digits_of(FACTORS[unit]) > 38:
            continue  # more digits than can be multiplied; refused by name
        assert quantity == exact, (number, unit)


@settings(max_examples=60, deadline=None)
@given(numbers=st.lists(NUMBERS | SHORT, min_size=1, max_size=4), factor=st.integers(1, 10**17))
def test_a_constant_factor_is_that_of_one_unit(numbers: list[str], factor: int) -> None:
    rows = [(number, "x") for number in numbers]
    by_unit = {"unit": {"column": "unit", "factors": {"x": str(factor)}}}
    assert products({"factor": str(factor)}, rows, 9) == products(by_unit, rows, 9)


@pytest.mark.parametrize(
    ("declared", "number", "expected"),
    [
        ({"factor": "3600"}, "0.25", "900"),
        ({"factor": "1e9"}, "1.000000001", "1000000001"),
        ({"factor": "1024"}, "0.0009765625", "1"),
        ({"factor": "1024"}, "0.0001", None),
        ({"factor": "0.001"}, "1500", None),
        ({"factor": "0.001"}, "2000", "2"),
        ({"factor": "1000", "thousands": ".", "decimal": ","}, "1.234,5", "1234500"),
    ],
)
def test_what_the_meter_does_not_hold_is_refused_never_rounded(
    declared: dict[str, str], number: str, expected: str | None
) -> None:
    assert products(declared, [(number, "x")], 0) == [Decimal(expected) if expected else None]


def test_a_unit_without_a_factor_is_rejected_and_never_guessed(make_root: MakeRoot) -> None:
    quantity = {"column": "n", "unit": {"column": "u", "factors": {"MB": 1_000_000, "kB": 1000}}}
    rows = [("1.5", "MB"), ("2", "kB"), ("3", "Mb"), ("4", ""), ("x", "MB"), ("0.0000000001", "kB")]
    text = "id,who,n,u,at\n" + "".join(
        f"{line},acme,{number},{unit},2024-01-01 00:00\n"
        for line, (number, unit) in enumerate(rows, 2)
    )
    root, done = imported(make_root, source({"quantity": quantity}), text)
    stored = events(root, "calls").sort("source_line")["quantity"].to_list()
    assert stored == [Decimal(1_500_000), Decimal(2000)]
    assert done.record.rejected == {
        "unit_unknown": 2,
        "quantity_not_a_number": 1,
        "quantity_does_not_fit": 1,
    }
    first = quarantined(root).row(0, named=True)
    assert (first["reason_code"], first["value"], first["reasons"]) == (
        "unit_unknown",
        "Mb",
        "unit_unknown",
    )


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"factor": "0"}, "a plain number above 0"),
        ({"factor": "-1"}, "a plain number above 0"),
        ({"factor": "1/60"}, "a plain number above 0"),
        ({"factor": "1234567890123456789"}, "at most 18 digits"),
        ({"unit": {"column": "u", "factors": {}}}, "at least 1 item"),
        ({"unit": "u"}, "factors"),
        ({"factor": "2", "unit": {"column": "u", "factors": {"a": "1"}}}, "multiply the factors"),
    ],
)
def test_a_factor_that_cannot_be_meant_is_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Quantity.model_validate({"column": "n"} | declared)
