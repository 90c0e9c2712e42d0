"""Each cause on its own and with others, from files that were really imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from spanner_pipeline.importing import import_partition
from spanner_pipeline.reconciliation.causes import (
    CAUSES,
    CONFLICTS,
    CUSTOMERS,
    LATE,
    LEFT_OUT,
    MISSING,
    NEGATIVE,
    NOT_IMPORTED,
    REJECTED,
    REPEATED,
    RETENTION,
    ROUNDING,
    TWICE,
    UNIT,
)
from spanner_pipeline.reconciliation.compare import Comparison, reconcile
from spanner_pipeline.root import DataRoot, load_catalog
from spanner_pipeline_tests.reconciliation.building import balances, spelled

Row = tuple[object, ...]
HEADER = ("id", "who", "units", "at", "plan")


@dataclass
class Deliveries:
    """A data root whose usage is delivered by day, with an old bill.

    Attributes:
        path: The data root.
        total: What the comparison declares beyond the usual.
        zone: The clock of the bill.
        days: The rows of each delivered day: `id, who, units, at`, or with a plan.
    """

    path: Path
    total: dict[str, Any] = field(default_factory=dict)
    zone: str = "UTC"
    days: dict[str, list[Row]] = field(default_factory=dict)

    def compare(self, *bill: Row, imported: Sequence[str] | None = None) -> Comparison:
        """Import the days, and compare with a bill of `customer, month, units`."""
        meter = {"name": "calls", "unit": "call", "decimals": 3}
        total = {
            "name": "bill",
            "meter": "calls",
            "subject": "customer",
            "quantity": "units",
            "period": {"column": "month", "grain": "month", "zone": self.zone},
        }
        old = {
            "source": "old_bill",
            "format": {"family": "delimited"},
            "files": "legacy/bill.csv",
            "partitions": {"grain": "whole"},
            "billing_totals": [total | self.total],
        }
        usage = {
            "meter": "calls",
            "subject": "who",
            "quantity": {"column": "units", "nonpositive": "keep"},
            "timestamp": "at",
            "where": {"plan": {"not": ["trial"]}},
        }
        source = {
            "source": "usage",
            "format": {"family": "delimited"},
            "files": "legacy/usage-{year}-{month}-{day}.csv",
            "partitions": {"grain": "day", "from": min(self.days), "to": "2024-03-01"},
            "identity": {"native": "id"},
            "usage": [usage],
        }
        self._write("meters/calls.yaml", yaml.safe_dump(meter))
        self._write("sources/old_bill.yaml", yaml.safe_dump(old))
        self._write("sources/usage.yaml", yaml.safe_dump(source))
        self._write("legacy/bill.csv", spelled(("customer", "month", "units"), bill))
        for day, rows in self.days.items():
            whole = [(*row, *("std",) * (len(HEADER) - len(row))) for row in rows]
            self._write(f"legacy/usage-{day}.csv", spelled(HEADER, whole))
        root = DataRoot(self.path)
        catalog = load_catalog(root)
        for day in sorted(self.days) if imported is None else imported:
            import_partition(root, catalog, catalog.sources["usage"], day)
        ((declaring, declared),) = catalog.comparisons
        comparison = reconcile(root, catalog, declaring, declared)
        assert balances(comparison)
        return comparison

    def _write(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def causes(comparison: Comparison, subject: str = "a") -> list[tuple[str, Decimal]]:
    """Causes of a customer's numbers, with their parts."""
    subjects = comparison.cells["subject"]
    return [(c.cause, c.quantity) for c in comparison.causes if subjects[c.cell] == subject]


def usage(**more: Sequence[Row]) -> dict[str, list[Row]]:
    """Four days of usage of `a` and `b`: 1001.25, 2002.5, 3003.75, 4005 and more for `a`."""
    days: dict[str, list[Row]] = {}
    for number in range(1, 5):
        day = f"2024-01-{10 + number}"
        of_a = (f"{day}/1", "a", f"{Decimal('1001.25') * number}", f"{day}T09:30:00Z")
        days[day] = [of_a, (f"{day}/2", "b", f"{770 + number}.1", f"{day}T10:00:00Z")]
    for name, rows in more.items():
        days.setdefault(name.removeprefix("on_").replace("_", "-"), []).extend(rows)
    return days


A, B = Decimal("10012.5"), Decimal("3090.4")


def test_conflicts(tmp_path: Path) -> None:
    """The old system kept the second payload, we the first."""
    again = ("2024-01-12/1", "a", "2100.5", "2024-01-12T09:30:00Z")
    found = Deliveries(tmp_path, days=usage(on_2024_01_14=[again])).compare(
        ("a", "2024-01", A - Decimal("2002.5") + Decimal("2100.5")), ("b", "2024-01", B)
    )
    assert causes(found) == [(CONFLICTS, Decimal(-98))]
    assert found.causes[0].detail == "1 row that conflict with what is kept here"
    assert found.causes[0].known


def test_rows_delivered_twice(tmp_path: Path) -> None:
    again = ("2024-01-12/1", "a", "2002.5", "2024-01-12T09:30:00Z")
    found = Deliveries(tmp_path, days=usage(on_2024_01_14=[again])).compare(
        ("a", "2024-01", A + Decimal("2002.5")), ("b", "2024-01", B)
    )
    assert causes(found) == [(REPEATED, Decimal("-2002.5"))]


def test_rows_left_out(tmp_path: Path) -> None:
    trial = ("t", "a", "71.125", "2024-01-12T09:30:00Z", "trial")
    found = Deliveries(tmp_path, days=usage(on_2024_01_12=[trial])).compare(
        ("a", "2024-01", A + Decimal("71.125")), ("b", "2024-01", B)
    )
    assert causes(found) == [(LEFT_OUT, Decimal("-71.125"))]
    assert found.causes[0].detail == "1 row left out here: filtered by `where`"


def test_voids(tmp_path: Path) -> None:
    void = ("v", "a", "-5.5", "2024-01-12T09:30:00Z")
    found = Deliveries(tmp_path, days=usage(on_2024_01_12=[void])).compare(
        ("a", "2024-01", A), ("b", "2024-01", B)
    )
    assert causes(found) == [(NEGATIVE, Decimal("-5.5"))]


LATE_ROWS = [("l", "a", "33.3", "2024-01-31T23:00:00Z"), ("m", "a", "4", "2024-01-30T00:00:00Z")]


def test_late_arrivals(tmp_path: Path) -> None:
    days = usage(on_2024_02_02=LATE_ROWS[:1], on_2024_02_05=LATE_ROWS[1:])
    bill = (("a", "2024-01", A + Decimal("33.3")), ("b", "2024-01", B))
    declared = {"old_system": {"closes_after": 3}}
    found = Deliveries(tmp_path / "declared", declared, days=days).compare(*bill)
    assert causes(found) == [(LATE, Decimal(4))]
    found = Deliveries(tmp_path / "not", days=days).compare(*bill)
    assert causes(found) == [(LATE, Decimal(4))]
    assert found.causes[0].detail == (
        "the old bill lacks what was delivered 4 days after the period or later"
    )


def test_retention(tmp_path: Path) -> None:
    declared = {"old_system": {"retention": {"days": 90, "exported": "2024-04-12"}}}
    found = Deliveries(tmp_path, declared, days=usage()).compare(
        ("a", "2024-01", A - Decimal("1001.25") - Decimal("2002.5")),
        ("b", "2024-01", B - Decimal("771.1") - Decimal("772.1")),
    )
    # 90 days before 12 April is 13 January.
    assert causes(found) == [(RETENTION, Decimal("3003.75"))]
    assert causes(found, "b") == [(RETENTION, Decimal("1543.2"))]


def test_a_customer_under_another_and_one_renamed(tmp_path: Path) -> None:
    rows = [("c", "c", "55.5", "2024-01-12T00:00:00Z"), ("d", "d", "9.25", "2024-01-12T00:00:00Z")]
    found = Deliveries(tmp_path, days=usage(on_2024_01_12=rows)).compare(
        ("a", "2024-01", A + Decimal("55.5")), ("b", "2024-01", B), ("D Inc", "2024-01", "9.25")
    )
    assert causes(found) == [(CUSTOMERS, Decimal("-55.5"))]
    assert causes(found, "c") == [(CUSTOMERS, Decimal("55.5"))]
    assert causes(found, "d") == [(CUSTOMERS, Decimal("9.25"))]
    assert causes(found, "D Inc") == [(CUSTOMERS, Decimal("-9.25"))]
    assert found.unexplained == found.difference == 0
    details = {found.cells["subject"][c.cell]: c.detail for c in found.causes}
    assert details["a"] == "the old bill has under this customer what the lake has under c"
    assert details["c"] == "the old bill has it under a"


def test_a_day_that_was_not_imported(tmp_path: Path) -> None:
    period = {"column": "month", "grain": "day", "format": "%Y-%m-%d", "zone": "UTC"}
    days = usage()
    bill = [(row[1], day, row[2]) for day, rows in days.items() for row in rows]
    found = Deliveries(tmp_path, {"period": period}, days=days).compare(
        *bill, imported=["2024-01-11", "2024-01-12", "2024-01-14"]
    )
    assert causes(found) == [(NOT_IMPORTED, Decimal("-3003.75"))]
    assert found.causes[0].detail == "nothing was imported for this time: usage 2024-01-13"
    assert "2024-01-13" in found.not_imported["usage"]


def test_hours_days_in_a_row_and_files(tmp_path: Path) -> None:
    hours = [(f"h{n}", "a", f"{100 + n}.5", f"2024-01-20T{n:02}:15:00Z") for n in range(24)]
    split = [("s1", "a", "70.125", "2024-01-22T00:00:00Z")]
    other = [("s2", "a", "80.5", "2024-01-22T01:00:00Z"), ("s3", "b", "1", "2024-01-23T00:00:00Z")]
    days = usage(on_2024_01_20=hours, on_2024_01_22=split, on_2024_01_23=other)
    total = A + sum(Decimal(str(row[2])) for row in [*hours, *split, *other[:1]])
    for name, taken, cause, detail in (
        (
            "hours",
            Decimal("107.5") + Decimal("108.5"),
            MISSING,
            "2024-01-20 07:00 to 2024-01-20 09:00 UTC",
        ),
        ("days", Decimal("2002.5") + Decimal("3003.75"), MISSING, "2024-01-12 to 2024-01-13"),
        ("file", Decimal("80.5"), MISSING, "the file legacy/usage-2024-01-23.csv"),
        ("twice", -Decimal("80.5"), TWICE, "the file legacy/usage-2024-01-23.csv"),
    ):
        found = Deliveries(tmp_path / name, days=days).compare(
            ("a", "2024-01", total - taken), ("b", "2024-01", B + 1)
        )
        assert causes(found) == [(cause, taken)]
        assert found.causes[0].detail.endswith(detail)


def test_units_and_roundings(tmp_path: Path) -> None:
    bills: Mapping[str, tuple[object, str, str]] = {
        "1024": (A * 1024, UNIT, "the old bill counts 1,024 where we count 1"),
        "rounded": ("10.01", UNIT, "in units of 1,000 of ours, rounded to the nearest or down to"),
        "total": ("10013", ROUNDING, "rounds to the nearest or up to a full 1"),
    }
    for name, (units, cause, detail) in bills.items():
        found = Deliveries(tmp_path / name, days=usage()).compare(
            ("a", "2024-01", units), ("b", "2024-01", B)
        )
        assert [c.cause for c in found.causes] == [cause], name
        assert detail in found.causes[0].detail


def test_a_rounding_of_each_day(tmp_path: Path) -> None:
    days: dict[str, list[Row]] = {}
    for number in range(1, 29):
        day = f"2024-01-{number:02}"
        days[day] = [(day, "a", f"{1000 + number * 7}.125", f"{day}T09:00:00Z")]
    exact = [1000 + number * 7 for number in range(1, 29)]
    rounded = sum(-(-(whole * 1000 + 125) // 10_000) * 10 for whole in exact)
    found = Deliveries(tmp_path, days=days).compare(("a", "2024-01", rounded))
    assert [c.cause for c in found.causes] == [ROUNDING]
    assert "the old bill rounds each day up to a full 10" in found.causes[0].detail


def test_what_two_causes_share_goes_to_the_first_of_the_declared_order(tmp_path: Path) -> None:
    """A late event on a day that the old bill lacks anyway."""
    late = [("l", "a", "33.3", "2024-01-13T23:00:00Z"), ("m", "a", "4", "2024-01-30T00:00:00Z")]
    declared = {"old_system": {"closes_after": 0}}
    found = Deliveries(tmp_path, declared, days=usage(on_2024_02_02=late)).compare(
        ("a", "2024-01", A - Decimal("3003.75")), ("b", "2024-01", B)
    )
    assert causes(found) == [(LATE, Decimal("37.3")), (MISSING, Decimal("3003.75"))]
    order = list(CAUSES)
    assert order.index(LATE) < order.index(MISSING)


def test_three_causes_at_once(tmp_path: Path) -> None:
    rows: list[Row] = [
        ("", "a", "12.5", "2024-01-12T00:00:00Z"),
        ("v", "a", "-3.125", "2024-01-12T01:00:00Z"),
    ]
    again = ("2024-01-12/1", "a", "2002.5", "2024-01-12T09:30:00Z")
    days = usage(on_2024_01_12=rows, on_2024_01_14=[again])
    old = A + Decimal("12.5") + Decimal("2002.5")
    found = Deliveries(tmp_path, days=days).compare(("a", "2024-01", old), ("b", "2024-01", B))
    assert causes(found) == [
        (REJECTED, Decimal("-12.5")),
        (REPEATED, Decimal("-2002.5")),
        (NEGATIVE, Decimal("-3.125")),
    ]
    assert found.unexplained == 0
