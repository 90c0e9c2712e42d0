"""What an old system may have done wrong. Whoever bills with faults is `old_system`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cached_property
from zoneinfo import ZoneInfo

from spanner_pipeline.reconciliation import causes
from spanner_pipeline.reconciliation.causes import CAUSES

_ORDER = {cause: place for place, cause in enumerate(CAUSES)}


@dataclass(frozen=True)
class Number:
    """One number of a bill: a customer's usage at a place, for some days on its clock."""

    customer: str
    place: str
    zone: str
    begins: date
    ends: date

    def instant(self, day: date, zone: str | None = None) -> datetime:
        """The start of a day."""
        midnight = datetime.combine(day, datetime.min.time(), ZoneInfo(zone or self.zone))
        return midnight.astimezone(UTC)


class Fault:
    """One fault; `cause` is what the engine should call it."""

    cause: str

    @property
    def order(self) -> int:
        """Its place among the causes."""
        return _ORDER[self.cause]


@dataclass(frozen=True)
class Counts(Fault):
    """Rows counted that should not be: refused, repeated, or of some kinds."""

    cause: str
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class WithoutVoids(Fault):
    """Leaves out what is not above zero."""

    cause: str = causes.NEGATIVE


@dataclass(frozen=True)
class Closes(Fault):
    """Does not count what is delivered so many days after the period, or later."""

    after: int
    cause: str = causes.LATE


@dataclass(frozen=True)
class Forgets(Fault):
    """Had forgotten all that was before a day."""

    before: date
    cause: str = causes.RETENTION


@dataclass(frozen=True)
class OtherClock(Fault):
    """Cuts periods and days in another zone, at standard time, or with other ends."""

    zone: str = ""
    standard: bool = False
    bounds: str = "[start, end)"
    cause: str = causes.BOUNDARY


@dataclass(frozen=True)
class Lost(Fault):
    """Lacks (or counts twice) what falls on some days, into some hours, or came in a file."""

    cause: str
    days: tuple[date, ...] = ()
    hours: tuple[datetime, datetime] | None = None
    file: str = ""


@dataclass(frozen=True)
class Merged(Fault):
    """Has another customer's usage, too."""

    other: Number
    cause: str = causes.CUSTOMERS


@dataclass(frozen=True)
class Renamed(Fault):
    """Bills the customer under another name."""

    name: str
    cause: str = causes.CUSTOMERS


@dataclass(frozen=True)
class InUnits(Fault):
    """Counts in units of so many."""

    of: int
    cause: str = causes.UNIT


@dataclass(frozen=True)
class Line(Fault):
    """Prints the line twice, or a credit beside it (in the smallest digit)."""

    credit: int | None = None
    cause: str = causes.LINES


@dataclass(frozen=True)
class NotImported(Fault):
    """No fault of the old system: the time was not imported here."""

    cause: str = causes.NOT_IMPORTED


@dataclass(frozen=True)
class Rounds(Fault):
    """Rounds the total, each day or each event to a unit (in the smallest digit)."""

    what: str
    to: int
    how: str
    cause: str = causes.ROUNDING

    def round(self, quantity: Fraction | int) -> int:
        """One quantity, rounded; halves away from zero upwards."""
        share = Fraction(quantity) / self.to
        below = share.numerator // share.denominator
        up = {
            "down": False,
            "up": share > below,
            "nearest": share - below >= Fraction(1, 2),
        }[self.how]
        return (below + up) * self.to


@dataclass(frozen=True)
class Clock:
    """The clock on which an old system cuts a number's period and days."""

    number: Number
    fault: OtherClock

    @cached_property
    def zone(self) -> str:
        """Its zone."""
        return self.fault.zone or self.number.zone

    def instant(self, day: date) -> datetime:
        """The start of a day."""
        if not self.fault.standard:
            return self.number.instant(day, self.zone)
        return datetime.combine(day, datetime.min.time(), UTC) - self.standard_offset

    @cached_property
    def standard_offset(self) -> timedelta:
        """How far the zone is from UTC in winter."""
        noon = datetime.combine(self.number.begins, datetime.min.time(), ZoneInfo(self.zone))
        offset, summer = noon.utcoffset(), noon.dst()
        assert offset is not None
        assert summer is not None
        return offset - summer
