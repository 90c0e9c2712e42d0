"""What columns hold, counted over all rows, by what an import would accept."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from spanner_pipeline.profiling.columns import Column
from spanner_pipeline.profiling.examine import examine
from spanner_pipeline_tests.profiling.choosing import write


def column(folder: Path, *values: str, name: str = "it") -> Column:
    """A column of these values, beside one that numbers the rows."""
    lines = [f"n\t{name}", *(f"{n}\t{value}" for n, value in enumerate(values))]
    return examine(write(folder / "f", "\n".join(lines) + "\n")).columns[1]


@pytest.mark.parametrize(
    ("values", "label"),
    [
        (("1", "-2.5", ".5"), "number"),
        (("1.5E+3", "2e-7"), "number"),
        (("1,824", "359", "3,091,726"), "number, thousands `,`"),
        (("0,5", "12,25"), "number, decimal comma"),
        (("1.234,5", "7,25"), "number, decimal comma, thousands `.`"),
        (("1 824", "12 000"), "number, thousands space"),
        (("2024-01-02T03:04:05Z", "2024-01-02 03:04:05+02:00"), "time, ISO 8601 with offset"),
        (("2024-01-02T03:04", "2024-01-02 03:04:05.1234567"), "time, ISO 8601 without offset"),
        (("1700000000", "1700003600"), "time, epoch seconds"),
        (("1700000000123", "1700003600000"), "time, epoch milliseconds"),
        (("10/Oct/2026:13:55:36 +0200",), "time, %d/%b/%Y:%H:%M:%S %z"),
        (("31.12.2024 23:00", "01.01.2025 00:00"), "time, %d.%m.%Y %H:%M"),
        (("12/31/2024", "01/02/2025"), "time, %m/%d/%Y"),
        (("20241231", "20250101"), "time, %Y%m%d"),
        (("2024-01-02 03:04:05 UTC",), "time, %Y-%m-%d %H:%M:%S%.f UTC"),
        (("acme", "1x", "umbrella"), "text"),
        (("12", "99999999"), "number"),
    ],
)
def test_kinds(tmp_path: Path, values: tuple[str, ...], label: str) -> None:
    assert column(tmp_path, *values).kind.label == label


def test_counts_and_span(tmp_path: Path) -> None:
    found = column(tmp_path, "3", "-1.50", "", "3", "NA", "0", "2e1")
    assert (found.rows, found.nulls, found.distinct) == (7, 2, 4)
    assert found.words == {"NA": 1}
    assert (found.least, found.most) == (Decimal("-1.5"), Decimal(20))
    assert (found.not_positive, found.fractions, found.exponents) == (2, 1, 1)
    assert found.examples == ("3", "-1.50", "0")


def test_a_word_for_null_is_a_name_among_names(tmp_path: Path) -> None:
    found = column(tmp_path, "NA", "DE", "US")
    assert (found.nulls, found.words, found.distinct) == (0, {}, 3)


def test_what_does_not_fit_is_counted_and_shown(tmp_path: Path) -> None:
    found = column(tmp_path, *map(str, range(1, 100)), "twelve")
    assert (found.kind.label, found.strays, found.stray) == ("number", 1, "twelve")


def test_a_stray_far_behind_the_first_rows_is_found(tmp_path: Path) -> None:
    found = column(tmp_path, *map(str, range(1, 20_000)), "twelve")
    assert (found.strays, found.stray) == (1, "twelve")


def test_days_and_months_that_may_be_swapped_are_left_to_a_person(tmp_path: Path) -> None:
    found = column(tmp_path, "01/02/2024", "03/04/2024")
    assert [kind.label for kind in (found.kind, *found.others)] == [
        "time, %d/%m/%Y",
        "time, %m/%d/%Y",
    ]
    assert not column(tmp_path, "01/02/2024", "31/04/2023", "31/12/2024").others


def test_a_comma_that_may_be_either_sign_is_left_to_a_person(tmp_path: Path) -> None:
    assert column(tmp_path, "1,824", "2,500").others
    assert not column(tmp_path, "1,824", "2,500,000").others
    assert not column(tmp_path, "0,824", "2,500").others


def test_a_time_is_shown_as_its_own_clock_has_it(tmp_path: Path) -> None:
    found = column(tmp_path, "2024-01-02T03:04:05", "2024-01-02T03:04:06.5")
    assert found.least == datetime(2024, 1, 2, 3, 4, 5)


def test_a_column_that_says_nothing(tmp_path: Path) -> None:
    assert column(tmp_path, "eur", "eur").constant
    empty = column(tmp_path, "", "")
    assert (empty.nulls, empty.distinct, empty.constant) == (2, 0, False)


def test_nothing_in_an_example_commands_a_terminal(tmp_path: Path) -> None:
    (example,) = column(tmp_path, "a\x1b[2Jb").examples
    assert example == "a·[2Jb"
