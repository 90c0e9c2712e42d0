"""Draws faults of each class at random, and only such as change the number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

from spanner_pipeline.reconciliation import causes
from spanner_pipeline_tests.benchmarks.planted.deliveries import DECIMALS
from spanner_pipeline_tests.benchmarks.planted.faults import (
    Clock,
    Closes,
    Counts,
    Fault,
    Forgets,
    InUnits,
    Line,
    Lost,
    Merged,
    Number,
    OtherClock,
    Renamed,
    Rounds,
    WithoutVoids,
)
from spanner_pipeline_tests.benchmarks.planted.old_system import (
    CANCELLED,
    KEPT,
    NO_DEVICE,
    NO_ID,
    REFUSED,
    REPEATED,
    TOO_EARLY,
    OldSystem,
    during,
)

ONE = 10**DECIMALS
ZONES = (
    "America/New_York",
    "Europe/London",
    "UTC",
    "Asia/Tokyo",
    "Europe/Berlin",
    "Australia/Sydney",
)
_TRIES = 60


@dataclass(frozen=True)
class Declared:
    """What a bill's declaration says of the old system."""

    closes_after: int | None = None
    forgotten_before: date | None = None


@dataclass
class Draw:
    """Draws faults of numbers.

    Attributes:
        random: Where chance comes from.
        old: The old system.
        declared: What is declared of it.
        free: Numbers that nothing is planted in yet.
    """

    random: Random
    old: OldSystem
    declared: Declared
    free: list[Number] = field(default_factory=list)

    def plant(self, variants: Sequence[str]) -> tuple[Number, list[Fault]]:
        """Take a free number and faults of these variants that all change it.

        Raises:
            LookupError: When none was found.
        """
        for _ in range(_TRIES):
            number = self.random.choice(self.free)
            drawn = [VARIANTS[name].draw(self, number) for name in variants]
            faults = [fault for fault in drawn if fault is not None]
            if len(faults) < len(variants):
                continue
            self.free.remove(number)
            if self._all_matter(number, faults):
                for fault in faults:
                    if isinstance(fault, Merged):
                        self.free.remove(fault.other)
                return number, faults
            self.free.append(number)
        raise LookupError(f"no number for {', '.join(variants)}")

    def _all_matter(self, number: Number, faults: Sequence[Fault]) -> bool:
        """Whether each fault changes the number, beside and without the others."""
        if any(isinstance(fault, Renamed) for fault in faults):
            return True
        billed = sum(self.old.bills(number, faults))
        return all(self.old.parts(number, faults).values()) and all(
            sum(self.old.bills(number, [f for f in faults if f is not fault])) != billed
            for fault in faults
        )

    def day(self, number: Number) -> date:
        """One of its days."""
        days = (number.ends - number.begins).days
        return number.begins + timedelta(days=self.random.randrange(days))


@dataclass(frozen=True)
class Variant:
    """One kind of fault.

    Attributes:
        cause: Its class.
        draw: Makes one for a number; None where that number cannot have it.
    """

    cause: str
    draw: Callable[[Draw, Number], Fault | None]


def _closes(draw: Draw, number: Number) -> Fault:
    after = draw.declared.closes_after
    monthly = draw.old.grain == "month"  # then nobody knows the day of a delivery
    return Closes(draw.random.randrange(1 if monthly else 8) if after is None else after)


def _forgets(draw: Draw, number: Number) -> Fault | None:
    before = draw.declared.forgotten_before
    return None if before is None or before <= number.begins else Forgets(before)


def _other_zone(draw: Draw, number: Number) -> Fault:
    return OtherClock(draw.random.choice([z for z in ZONES if z not in (number.zone, "UTC")]))


def _in_utc(draw: Draw, number: Number) -> Fault | None:
    return None if number.zone == "UTC" else OtherClock("UTC")


def _lost(cause: str, what: str) -> Variant:
    def day(draw: Draw, number: Number) -> Fault:
        return Lost(cause, days=(draw.day(number),))

    def run(draw: Draw, number: Number) -> Fault | None:
        first, days = draw.day(number), draw.random.randint(2, 7)
        if first + timedelta(days=days) > number.ends:
            return None
        return Lost(cause, days=tuple(first + timedelta(days=n) for n in range(days)))

    def hours(draw: Draw, number: Number) -> Fault | None:
        rows = _right(draw, number)
        if rows.is_empty():
            return None
        since = rows["at"][draw.random.randrange(rows.height)].replace(minute=0, second=0)
        return Lost(cause, hours=(since, since + timedelta(hours=draw.random.randint(1, 6))))

    def file(draw: Draw, number: Number) -> Fault | None:
        files = _right(draw, number)["file"].unique(maintain_order=True)
        return Lost(cause, file=draw.random.choice(files.to_list())) if files.len() > 1 else None

    return Variant(cause, {"day": day, "run": run, "hours": hours, "file": file}[what])


def _right(draw: Draw, number: Number):
    own = during(Clock(number, OtherClock()), number.begins, number.ends)
    return draw.old.of(number).filter(own).filter(kind=KEPT)


def _merged(draw: Draw, number: Number) -> Fault | None:
    others = [
        other
        for other in draw.free
        if other != number
        and (other.begins, other.place, other.zone) == (number.begins, number.place, number.zone)
    ]
    return Merged(draw.random.choice(others)) if others else None


def _credit(draw: Draw, number: Number) -> Fault | None:
    [right] = draw.old.bills(number)
    most = right // ONE // 5
    return Line(draw.random.randint(1, most) * ONE) if most > 1 else None


def _rounds(what: str, units: Sequence[int]) -> Variant:
    def draw_one(draw: Draw, number: Number) -> Fault | None:
        unit = draw.random.choice(units) * ONE
        [right] = draw.old.bills(number)
        how = draw.random.choice(("down", "up", "nearest"))
        rounds = Rounds(what, unit, how)
        if right < 200 * unit:
            return None
        [rounded] = draw.old.bills(number, [rounds])
        # Errors of parts that all but cancel leave what any slip of a few units would.
        return rounds if what == "total" or abs(rounded - right) >= 10 * unit else None

    return Variant(causes.ROUNDING, draw_one)


def _counts(cause: str, *kinds: str) -> Variant:
    return Variant(cause, lambda draw, number: Counts(cause, kinds))


def _unit(many: int) -> Variant:
    return Variant(causes.UNIT, lambda draw, number: InUnits(many))


VARIANTS: dict[str, Variant] = {
    "rejected without id": _counts(causes.REJECTED, NO_ID),
    "rejected without device": _counts(causes.REJECTED, NO_DEVICE),
    "rejected, all": _counts(causes.REJECTED, NO_ID, NO_DEVICE),
    "conflicts": _counts(causes.CONFLICTS, REFUSED),
    "delivered twice": _counts(causes.REPEATED, REPEATED),
    "cancelled": _counts(causes.LEFT_OUT, CANCELLED),
    "before migrated time": _counts(causes.LEFT_OUT, TOO_EARLY),
    "without voids": Variant(causes.NEGATIVE, lambda draw, number: WithoutVoids()),
    "late": Variant(causes.LATE, _closes),
    "forgotten": Variant(causes.RETENTION, _forgets),
    "in UTC": Variant(causes.BOUNDARY, _in_utc),
    "in another zone": Variant(causes.BOUNDARY, _other_zone),
    "without summer time": Variant(causes.BOUNDARY, lambda d, n: OtherClock(standard=True)),
    "with its end": Variant(causes.BOUNDARY, lambda d, n: OtherClock(bounds="(start, end]")),
    "with both ends": Variant(causes.BOUNDARY, lambda d, n: OtherClock(bounds="[start, end]")),
    **{
        f"{verb} {what}": _lost(cause, what)
        for verb, cause in (("lacks", causes.MISSING), ("doubles", causes.TWICE))
        for what in ("day", "run", "hours", "file")
    },
    "merged": Variant(causes.CUSTOMERS, _merged),
    "renamed": Variant(causes.CUSTOMERS, lambda draw, n: Renamed(f"old-{n.customer}")),
    **{f"in units of {many}": _unit(many) for many in (1000, 1024, 60, 3600, 10**6)},
    "line twice": Variant(causes.LINES, lambda draw, number: Line()),
    "credit": Variant(causes.LINES, _credit),
    "rounds total": _rounds("total", (10, 100, 1000)),
    "rounds days": _rounds("day", (10, 60, 100)),
    "rounds events": _rounds("event", (10, 60, 100)),
}
"""By name; `NOT_IMPORTED` has none, for it is no fault of the old system."""

ALONE = ("renamed",)
"""Variants that are not mixed with others."""

_PARTS_ROUNDED = {"rounds days", "rounds events"}


def mixes(random: Random, number: int, variants: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Mixes of three different classes.

    Args:
        random: Where chance comes from.
        number: How many.
        variants: Those to mix.
    """
    by_cause: dict[str, list[str]] = {}
    for name in variants:
        by_cause.setdefault(VARIANTS[name].cause, []).append(name)
    while number:
        chosen = random.sample(sorted(by_cause), 3)
        mix = tuple(random.choice(by_cause[cause]) for cause in chosen)
        # To round in another unit is one cause; merged customers' parts would be rounded together.
        unit_rounded = {causes.UNIT, causes.ROUNDING} <= set(chosen)
        if not (unit_rounded or ("merged" in mix and _PARTS_ROUNDED & set(mix))):
            yield mix
            number -= 1
