"""Law 5: quantities are exact from the file to the lake; a sum loses nothing or raises."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spanner_pipeline.control import ControlTotals, Total, exact_sum
from spanner_pipeline.errors import ConservationError
from spanner_pipeline_tests.lake.building import Row, TinyRoot, balance, exact_total

LARGEST = 10**38 - 1
UNITS = st.one_of(
    st.integers(-LARGEST, LARGEST),
    st.sampled_from([LARGEST, -LARGEST, 1, -1, 0, 10**37, 5 * 10**37, LARGEST - 1]),
)


@given(st.lists(st.one_of(st.none(), UNITS), max_size=30), st.sampled_from([0, 2, 9, 18]))
@example([LARGEST, LARGEST, LARGEST, LARGEST], 9)
@example([LARGEST, -LARGEST, 1], 9)
@settings(max_examples=300, deadline=None)
def test_sums_are_those_of_whole_numbers(units: list[int | None], scale: int) -> None:
    texts = [None if unit is None else _spelled(unit, scale) for unit in units]
    series = pl.Series(texts, dtype=pl.String).cast(pl.Decimal(38, scale))
    assert exact_sum(series) == Decimal(_spelled(sum(unit or 0 for unit in units), scale))


def _spelled(units: int, scale: int) -> str:
    digits = f"{abs(units):0{scale + 1}}"
    sign = "-" if units < 0 else ""
    return f"{sign}{digits[: len(digits) - scale]}.{digits[len(digits) - scale :] or '0'}"


def test_sums_of_many_large_quantities_do_not_wrap() -> None:
    value = Decimal("9" * 29 + "." + "9" * 9)
    series = pl.Series([value] * 1000, dtype=pl.Decimal(38, 9))
    assert exact_sum(series) == exact_total([value] * 1000)


TOTAL = st.builds(Total, st.integers(0, 10**6), UNITS.map(lambda n: Decimal(n).scaleb(-9)))


@given(st.lists(TOTAL, min_size=6, max_size=6), st.data())
@settings(deadline=None)
def test_totals_that_miss_one_row_or_one_billionth_do_not_balance(
    parts: list[Total], data: st.DataObject
) -> None:
    read = sum(parts, Total())
    ControlTotals(read, *parts).check("file")
    lost = data.draw(st.sampled_from([Total(1), Total(0, Decimal("1e-9")), Total(1, Decimal(5))]))
    index = data.draw(st.integers(0, 5))
    parts[index] += lost
    with pytest.raises(ConservationError, match="file: read"):
        ControlTotals(read, *parts).check("file")


@pytest.mark.parametrize(
    "quantity",
    [
        "10000000000000000000000000000.000000001",
        "9" * 29 + "." + "9" * 9,
        "0.000000001",
        "123456789012345678.123456789",
        "1e28",
    ],
)
def test_a_quantity_reaches_the_lake_with_every_digit(tmp_path: Path, quantity: str) -> None:
    lake = TinyRoot(tmp_path)
    balance(lake.deliver([Row("1", quantity=quantity)]))
    assert lake.quantities() == {"1": Decimal(quantity)}
    assert lake.delta.to_pyarrow_table()["quantity"].to_pylist() == [Decimal(quantity)]
    assert lake.records()[0].totals.new == Total(1, Decimal(quantity))


@pytest.mark.parametrize("quantity", ["1" + "0" * 30, "1e30", "1" + "0" * 29, "0.0000000001"])
def test_a_quantity_that_does_not_fit_is_rejected_by_name(tmp_path: Path, quantity: str) -> None:
    lake = TinyRoot(tmp_path)
    done = lake.deliver([Row("1", quantity=quantity), Row("2")])
    balance(done)
    assert lake.quantities() == {"2": Decimal(1)}
    (rejected,) = lake.rejected()
    assert (rejected["reason_code"], rejected["value"]) == ("quantity_does_not_fit", quantity)


@given(st.lists(st.integers(1, LARGEST), min_size=1, max_size=4), st.sampled_from([0, 9, 18]))
@settings(max_examples=15, deadline=None)
def test_any_quantities_reach_the_lake_as_they_stand_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, units: list[int], scale: int
) -> None:
    lake = TinyRoot(tmp_path_factory.mktemp("exact"), decimals=scale)
    texts = [_spelled(unit, scale) for unit in units]
    done = lake.deliver([Row(str(index), quantity=text) for index, text in enumerate(texts)])
    balance(done)
    expected = {str(index): Decimal(text) for index, text in enumerate(texts)}
    assert lake.quantities() == expected
    assert done.totals.new == Total(len(units), Decimal(_spelled(sum(units), scale)))


def test_files_whose_sum_does_not_fit_a_decimal_column_still_balance(tmp_path: Path) -> None:
    lake = TinyRoot(tmp_path, corrections=True)
    large = Decimal("9" * 29)
    done = lake.deliver([Row(str(index), quantity=str(large)) for index in range(20)])
    balance(done)
    assert done.totals.new == Total(20, exact_total([large] * 20))
    done = lake.deliver([Row("0", quantity="1", rev="2"), Row("1", quantity=str(large), rev="0")])
    balance(done)
    assert exact_total(lake.quantities().values()) == exact_total([large] * 19 + [Decimal(1)])
