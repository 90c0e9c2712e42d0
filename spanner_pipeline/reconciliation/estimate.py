"""What the old system would have billed for a number, had it counted in some way.

A way to count is a set of switches over the number's atoms, then operations on their sum. Each step
from the lake's number to the old one is a cause, and the change that it makes is its part: so parts
sum to the difference whatever overlaps, and no part is taken from the difference itself.

All quantities are whole numbers of the comparison's smallest digit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from math import log2
from typing import Any, Protocol

from spanner_pipeline.reconciliation import plausibility
from spanner_pipeline.reconciliation.atoms import LAKE, Atom
from spanner_pipeline.reconciliation.causes import (
    BOUNDARY,
    CAUSES,
    CONFLICTS,
    LATE,
    LEFT_OUT,
    LINES,
    NEGATIVE,
    REJECTED,
    REPEATED,
    RETENTION,
)

_ORDER = {cause: place for place, cause in enumerate(CAUSES)}


@dataclass(frozen=True)
class Switch:
    """One way in which the old system may have counted other rows than the lake.

    Attributes:
        cause: The cause that it is.
        detail: What exactly, for a person.
        name: What tells it from others of its cause; the same for all numbers.
        bits: How much it takes to say it: the less, the sooner it is believed.
        group: Switches of one group exclude each other.
        record: The record whose rows it counts; empty where it leaves rows out.
        kind: The rows of the record (`detail` of the atoms).
        clock: The candidate period that it counts instead.
        late: It leaves out what was delivered so many days after the period, or later.
        adds: What other lines of the old bill add to the number.
        known: Whether the rows are on record.
    """

    cause: str
    detail: str
    name: str
    bits: float
    group: str = ""
    record: str = ""
    kind: str = ""
    clock: int = 0
    late: int | None = None
    adds: int = 0
    known: bool = False

    @property
    def keys(self) -> tuple[tuple[object, ...], ...]:
        """What tells it from other steps; the same for all numbers."""
        return ((self.cause, self.name),)

    @property
    def order(self) -> tuple[int, str]:
        """Its place among the causes."""
        return _ORDER[self.cause], self.detail


@dataclass
class Case:
    """One number that differs, with all that may explain it.

    Attributes:
        cell: The number.
        old: What the old bill says; None where it says nothing.
        new: What the lake says; None where it says nothing.
        atoms: Its surroundings.
        price: What one unit costs; 1 where units are compared.
        copies: What lines that stand twice on the old bill add once too often.
        credits: The old bill's negative lines.
        days: How many days the period has.
        mean: Whether the old bill gives a daily mean.
        digits: Digits after the point that quantities are whole in.
    """

    cell: int
    old: int | None
    new: int | None
    atoms: Sequence[Atom]
    price: int
    copies: int
    credits: int
    days: int
    mean: bool
    digits: int
    signatures: dict[tuple[object, ...], _Signature] = field(init=False)

    def __post_init__(self) -> None:
        """Gather atoms that no switch tells apart."""
        self.signatures = {}
        for atom in self.atoms:
            key = (atom.record, atom.detail, atom.inside, atom.late, atom.negative, atom.forgotten)
            self.signatures.setdefault(key, _Signature(atom)).add(atom, self.price)

    @property
    def target(self) -> int:
        """What the old bill says, nothing as 0."""
        return self.old or 0

    @cached_property
    def step(self) -> int:
        """The smallest digit that its numbers have."""
        step: int = 10**self.digits
        while step > 1 and (self.target % step or (self.new or 0) % step):
            step //= 10
        return step

    def information(self, step: int) -> float:
        """How many bits it takes to say the difference, to a step, where nothing explains it.

        Which of the number's orders of magnitude it has, then its digits. A cause that takes more
        to say than that would fit many a difference that it has no part in.
        """
        difference = abs((self.new or 0) - self.target)
        return log2(1 + difference / step) + log2(1 + self.orders(step))

    def orders(self, step: int) -> float:
        """How many bits the larger of its numbers has, to a step."""
        return log2(1 + max(abs(self.target), abs(self.new or 0)) / step)

    def estimate(self, switches: Sequence[Switch]) -> int:
        """The usage that these switches make the old system count."""
        return sum(s.total for s in self.signatures.values() if s.counted(switches))

    def touched(self, switch: Switch) -> bool:
        """Whether a switch is about any of the rows."""
        return any(s.total and s.touched(switch) for s in self.signatures.values())

    def goal(self, switches: Sequence[Switch]) -> int:
        """What that has to make: what the old bill says, without what its other lines add."""
        return self.target - sum(switch.adds for switch in switches)

    def by_day(self, switches: Sequence[Switch]) -> dict[date, int]:
        """That usage by day, on the clock that they say."""
        clock = sum(switch.clock for switch in switches)  # they exclude each other
        days: dict[date, int] = defaultdict(int)
        for signature in self.signatures.values():
            if signature.counted(switches):
                for day, quantity in signature.days_on(clock).items():
                    days[day] += quantity
        return dict(sorted(days.items()))

    def by_part(self, switches: Sequence[Switch], part: str) -> dict[Any, dict[date, int]]:
        """That usage by `file` or `hour`, and by day."""
        clock = sum(switch.clock for switch in switches)
        parts: dict[Any, dict[date, int]] = defaultdict(lambda: defaultdict(int))
        for signature in self.signatures.values():
            if signature.counted(switches):
                for atom in signature.atoms:
                    day = atom.days[min(clock, len(atom.days) - 1)]
                    parts[getattr(atom, part)][day] += atom.quantity * self.price
        return dict(sorted(parts.items()))


class _Signature:
    """Atoms that no switch tells apart."""

    def __init__(self, atom: Atom) -> None:
        self.atom = atom
        self.atoms: list[Atom] = []
        self.total = 0
        self._parts: dict[tuple[date, ...], int] = defaultdict(int)
        self._days: dict[int, dict[date, int]] = {}

    def add(self, atom: Atom, price: int) -> None:
        self.atoms.append(atom)
        self.total += atom.quantity * price
        self._parts[atom.days] += atom.quantity * price

    def days_on(self, clock: int) -> dict[date, int]:
        """Its quantity by day on a candidate clock, if atoms tell; else on the number's own."""
        if clock not in self._days:
            days = self._days[clock] = defaultdict(int)
            for of, quantity in self._parts.items():
                days[of[min(clock, len(of) - 1)]] += quantity
        return self._days[clock]

    def counted(self, switches: Sequence[Switch]) -> bool:
        """Whether the old system counts these rows."""
        clock, recorded = 0, self.atom.record == LAKE
        for switch in switches:
            if switch.cause == BOUNDARY:
                clock = switch.clock
            elif switch.record:
                recorded |= self.touched(switch)
            elif self.touched(switch):
                return False
        return recorded and bool(self.atom.inside >> clock & 1)

    def touched(self, switch: Switch) -> bool:
        """Whether a switch is about these rows."""
        atom = self.atom
        if switch.cause == BOUNDARY:
            return bool((atom.inside ^ atom.inside >> switch.clock) & 1)
        if switch.record:
            return (switch.record, switch.kind) == (atom.record, atom.detail)
        if switch.cause == LATE:
            return None not in (atom.late, switch.late) and atom.late >= switch.late  # type: ignore[operator]
        return (switch.cause == NEGATIVE and atom.negative) or (
            switch.cause == RETENTION and atom.forgotten
        )


def switches_of(
    case: Case, clocks: Sequence[str], zone: str, closes_after: int | None
) -> list[Switch]:
    """The switches that may change what is counted for a number, alone or with others.

    Args:
        case: The number.
        clocks: What candidate periods are called, in the order of `Atom.inside`.
        zone: The number's own clock.
        closes_after: Days after which the old bill is known to close.
    """
    candidates = [*_recorded(case), *_left_out(case, closes_after)]
    for index, name in enumerate(clocks[1:], start=1):
        detail = f"the old bill {name.format(zone=zone)}"
        bits = plausibility.UTC if " in UTC," in name else plausibility.CLOCK
        candidates.append(Switch(BOUNDARY, detail, name, bits, "clock", clock=index))
    for adds, what, how in (
        (case.copies, "lines that stand twice", "counts"),
        (case.credits, "credits", "nets"),
    ):
        if adds:
            detail = f"the old bill {how} {what}"
            candidates.append(
                Switch(LINES, detail, what, plausibility.OLD_LINES, adds=adds, known=True)
            )
    return [switch for switch in candidates if switch.adds or case.touched(switch)]


_RECORDED = {
    REJECTED: "rejected as {kind}",
    LEFT_OUT: "left out here: {kind}",
    REPEATED: "delivered twice",
    CONFLICTS: "that conflict with what is kept here",
}


def _recorded(case: Case) -> Iterator[Switch]:
    """Rows on record beside the lake, which the old system may have counted."""
    rows: dict[tuple[str, str], int] = defaultdict(int)
    for atom in case.atoms:
        if atom.record != LAKE:
            rows[atom.record, atom.detail] += atom.rows
    for (record, kind), count in sorted(rows.items()):
        number = count // 2 if record == CONFLICTS else count  # both of its sides are rows
        noun = "row" if number == 1 else "rows"
        detail = f"{number:,} {noun} {_RECORDED[record].format(kind=kind)}"
        bits = plausibility.recorded_of(len(rows))
        yield Switch(record, detail, kind, bits, record=record, kind=kind, known=True)


_LATE = "the old bill lacks what was delivered {} after the period or later"


def _left_out(case: Case, closes_after: int | None) -> Iterator[Switch]:
    """Rows of the lake that the old system may have left out."""
    yield Switch(NEGATIVE, "the old bill leaves out quantities below zero", "", plausibility.VOIDS)
    detail = "the old system had forgotten usage before its retention"
    yield Switch(RETENTION, detail, "", plausibility.DECLARED, known=True)
    if closes_after is not None:
        detail = _LATE.format(_days(closes_after))
        yield Switch(
            LATE,
            detail,
            str(closes_after),
            plausibility.DECLARED,
            "late",
            late=closes_after,
            known=True,
        )
        return
    days = sorted({atom.late for atom in case.atoms if atom.late is not None and atom.late >= 0})
    for late in days:
        detail = _LATE.format(_days(late))
        bits = plausibility.chosen_of(plausibility.LATE, len(days))
        yield Switch(LATE, detail, str(late), bits, "late", late=late, known=True)


def _days(number: int) -> str:
    return f"{number} day{'' if number == 1 else 's'}"


def combinations(switches: Sequence[Switch], most: int, bits: float) -> list[tuple[Switch, ...]]:
    """Sets of at most so many switches that do not exclude each other, the simplest first."""
    found: list[tuple[Switch, ...]] = [()]
    layer: Iterable[tuple[tuple[Switch, ...], int]] = [((), 0)]
    for _ in range(most):
        following = []
        for chosen, after in layer:
            groups = {switch.group for switch in chosen if switch.group}
            for index in range(after, len(switches)):
                switch = switches[index]
                if switch.group in groups or cost((*chosen, switch)) > bits:
                    continue
                following.append(((*chosen, switch), index + 1))
        found += [chosen for chosen, _ in following]
        layer = following
    return sorted(found, key=cost)


class _Step(Protocol):
    @property
    def bits(self) -> float: ...


def cost(steps: Sequence[_Step]) -> float:
    """How many bits it takes to say these steps."""
    return sum(step.bits for step in steps)
