"""Bills of the old system: right numbers, planted ones, and some that are wrong without a cause."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import polars as pl

from spanner_pipeline.reconciliation.causes import CUSTOMERS, NOT_IMPORTED
from spanner_pipeline.root import DataRoot
from spanner_pipeline_tests.benchmarks.planted.deliveries import DECIMALS, METER, declare
from spanner_pipeline_tests.benchmarks.planted.drawing import (
    ONE,
    VARIANTS,
    ZONES,
    Declared,
    Draw,
)
from spanner_pipeline_tests.benchmarks.planted.faults import (
    Fault,
    Merged,
    NotImported,
    Number,
    Renamed,
)
from spanner_pipeline_tests.benchmarks.planted.history import History
from spanner_pipeline_tests.benchmarks.planted.old_system import KEPT, OldSystem

FEWEST_EVENTS = 200
"""Breaks are planted in numbers of so many events: of few units, too many causes would fit."""

Key = tuple[str, str, str]
"""Subject, place, period."""


@dataclass(frozen=True)
class Plant:
    """A number with faults, and what they take from it.

    Attributes:
        number: The number.
        variants: What is planted.
        faults: The faults themselves.
        parts: By number and cause, what each takes: new minus old, in the smallest digit.
    """

    number: Number
    variants: tuple[str, ...]
    faults: tuple[Fault, ...]
    parts: dict[Key, dict[str, int]]


@dataclass
class Bill:
    """One bill.

    Attributes:
        name: Its name.
        grain: Its periods, month or day.
        declared: What is declared of the old system.
        lines: Subject, place, zone, period and quantity.
        plants: What is planted.
        noise: Numbers that are wrong without a cause.
    """

    name: str
    grain: str = "month"
    declared: Declared = field(default_factory=Declared)
    lines: list[tuple[str, str, str, str, int]] = field(default_factory=list)
    plants: list[Plant] = field(default_factory=list)
    noise: set[Key] = field(default_factory=set)

    def key(self, number: Number, subject: str = "") -> Key:
        """What a number is called."""
        period = number.begins.isoformat()[: 7 if self.grain == "month" else 10]
        return subject or number.customer, number.place, period

    def print(self, number: Number, quantities: Iterable[int], subject: str = "") -> None:
        """Add the lines of a number."""
        who, place, period = self.key(number, subject)
        self.lines += [(who, place, number.zone, period, quantity) for quantity in quantities]

    def write(self, root: DataRoot) -> None:
        """Write the bill and its declaration."""
        period = "%Y-%m" if self.grain == "month" else "%Y-%m-%d"
        old_system: dict[str, Any] = {}
        if self.declared.closes_after is not None:
            old_system["closes_after"] = self.declared.closes_after
        if self.declared.forgotten_before is not None:
            exported = self.declared.forgotten_before + timedelta(days=90)
            old_system["retention"] = {"days": 90, "exported": exported}
        source = {
            "source": self.name,
            "format": {"family": "delimited"},
            "files": f"legacy/{self.name}.csv",
            "partitions": {"grain": "whole"},
            "billing_totals": [
                {
                    "name": self.name,
                    "meter": METER,
                    "subject": "customer",
                    "dimensions": {"place": "place"},
                    "quantity": "quantity",
                    "period": {
                        "column": "period",
                        "grain": self.grain,
                        "format": period,
                        "zone": {"column": "zone"},
                    },
                    "old_system": old_system,
                }
            ],
        }
        declare(root.path, "sources", self.name, source)
        names = ("customer", "place", "zone", "period", "quantity")
        printed = [
            (*rest, f"{Decimal(quantity).scaleb(-DECIMALS):f}") for *rest, quantity in self.lines
        ]
        frame = pl.DataFrame(printed, schema=dict.fromkeys(names, pl.String), orient="row")
        frame.write_csv(root.path / f"legacy/{self.name}.csv")


class Printer:
    """Prints bills of one history."""

    def __init__(self, history: History, old: OldSystem) -> None:
        """Find the numbers that a bill has."""
        self._history, self._old = history, old
        self._events: dict[Number, int] = {}
        customers = sorted(set(old.rows["customer"]))
        self._zones = {who: ZONES[i % len(ZONES)] for i, who in enumerate(customers)}
        pairs = old.rows.select("customer", "place").unique().sort("customer", "place").rows()
        for first, after in _months(history.begins, history.imported_until):
            for customer, place in pairs:
                number = Number(customer, place, self._zones[customer], first, after)
                self._events[number] = self._count(number)
        self._numbers = [number for number, events in self._events.items() if events]
        self.months = sorted({number.begins for number in self._numbers})

    def _count(self, number: Number) -> int:
        start, end = number.instant(number.begins), number.instant(number.ends)
        during = (pl.col("at") >= start) & (pl.col("at") < end)
        return self._old.of(number).filter(during).filter(kind=KEPT).height

    def monthly(
        self,
        name: str,
        random: Random,
        declared: Declared,
        wanted: Sequence[tuple[str, ...]],
        noise: int,
    ) -> Bill:
        """A bill of months with plants and noise.

        Args:
            name: What to call it.
            random: Where chance comes from.
            declared: What is declared of the old system.
            wanted: The variants of each plant.
            noise: How many numbers are wrong without a cause.
        """
        bill = Bill(name, "month", declared)
        large = [n for n in self._numbers if self._events[n] >= FEWEST_EVENTS]
        draw = Draw(random, self._old, declared, large)
        done: set[Number] = set()
        for variants in wanted:
            number, faults = draw.plant(variants)
            plant = self._plant(bill, number, variants, faults)
            bill.plants.append(plant)
            done |= {number, *(f.other for f in faults if isinstance(f, Merged))}
        for number in random.sample(draw.free, min(noise, len(draw.free))):
            [right] = self._old.bills(number)
            wrong = right + _random_difference(random, right)
            bill.noise.add(bill.key(number))
            bill.print(number, [wrong])
            done.add(number)
        for number in self._numbers:
            if number not in done:
                bill.print(number, self._old.bills(number))
        random.shuffle(bill.lines)
        return bill

    def daily(self, name: str, random: Random, right: int, not_imported: int) -> Bill:
        """A bill of days on the legacy system's own clock, of which some were not imported."""
        bill, history = Bill(name, "day"), self._history
        pairs = self._old.rows.select("customer", "place").unique().sort("customer", "place").rows()
        for back in range(-right, not_imported):
            day = history.imported_until + timedelta(days=back)
            for customer, place in pairs:
                number = Number(customer, place, history.clock, day, day + timedelta(days=1))
                [quantity] = self._old.bills(number)
                if not quantity:
                    continue
                bill.print(number, [quantity])
                if back >= 0:
                    parts = {bill.key(number): {NOT_IMPORTED: -quantity}}
                    faults = (NotImported(),)
                    bill.plants.append(Plant(number, ("not imported",), faults, parts))
        return bill

    def _plant(
        self, bill: Bill, number: Number, variants: tuple[str, ...], faults: Sequence[Fault]
    ) -> Plant:
        parts: dict[Key, dict[str, int]] = {}
        lines, subject = self._old.bills(number, faults), ""
        for fault in faults:
            if isinstance(fault, Renamed):
                subject = fault.name
                parts[bill.key(number)] = {CUSTOMERS: sum(lines)}
                parts[bill.key(number, subject)] = {CUSTOMERS: -sum(lines)}
            elif isinstance(fault, Merged):
                parts[bill.key(fault.other)] = {CUSTOMERS: sum(self._old.bills(fault.other))}
        if not subject:
            parts[bill.key(number)] = self._old.parts(number, faults)
        bill.print(number, lines, subject)
        return Plant(number, variants, tuple(faults), parts)


def _months(begins: date, ends: date) -> Iterable[tuple[date, date]]:
    first = begins
    while (after := (first.replace(day=1) + timedelta(days=32)).replace(day=1)) <= ends:
        yield first, after
        first = after


def _random_difference(random: Random, right: int) -> int:
    """From one unit to a fifth of the number, evenly over the orders of magnitude."""
    largest = max(2, right // ONE // 5)
    size = int(largest ** random.random()) or 1
    return random.choice((1, -1)) * size * ONE


def classes(plants: Iterable[Plant]) -> Counter[tuple[str, ...]]:
    """How many plants there are of each mix of classes."""
    return Counter(tuple(VARIANTS[v].cause for v in plant.variants) for plant in plants)
