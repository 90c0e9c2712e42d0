"""Whether the service holds what it was sent: totals first, and ever finer where they differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from spanner_pipeline.control import EXACT, Total
from spanner_pipeline.delivery.causes import (
    ROUNDING,
    UNEXPLAINED,
    Difference,
    alike,
    rolled_up,
)
from spanner_pipeline.delivery.client import OpenSpanner
from spanner_pipeline.delivery.ledger import DeliveryLedger
from spanner_pipeline.delivery.live import Holding, LiveMeter, can_be_marked
from spanner_pipeline.delivery.seam import Seam, look_at_seam
from spanner_pipeline.delivery.sent import Place, Sent, bounds_of, reading_sent
from spanner_pipeline.delivery.settling import Settling
from spanner_pipeline.delivery.target import TargetError
from spanner_pipeline.meters import Meter
from spanner_pipeline.presence import at_work
from spanner_pipeline.root import DataRoot
from spanner_pipeline.usage.aggregations import ADDITIVE

DAY = timedelta(days=1)

BY_SUBJECT_AND_DAY = "by subject, and by subject and day"
BY_MARGINS = "by subject, and by day of all subjects together, as there are so many"
BY_EVENT = "event by event"

MOST_PLACES = 200_000
"""Subjects times days that are compared one by one: some 300 calls."""

_PLACES_OF_A_CALL = 700
_LONGEST_CALL = 366
_EVENTS_AT_ONCE = 100_000
_LONGEST_STRETCH = 31 * DAY


@dataclass(frozen=True)
class Verified:
    """What a verification found.

    Attributes:
        meter: The meter's name.
        start: First UTC day.
        end: UTC day after the last one.
        beside_lake: Rows and quantity by how lake and ledger agree.
        delivered: What the ledger says that the service has.
        there: Events that the service counts as ours.
        beside: Events of the same window there without our mark: live traffic.
        marked: Whether ours were told from live traffic by their mark; else by their keys alone.
        how: How far it looked where nothing differs: `BY_SUBJECT_AND_DAY` and the like.
        differences: Where ledger and service differ, and why; those at the seam as well.
        seam: Where history and live traffic meet; None where no cut-over is declared.
        calls: Requests that it took.
    """

    meter: str
    start: date
    end: date
    beside_lake: Mapping[str, Total]
    delivered: Total
    there: int
    beside: int
    marked: bool
    how: str
    differences: list[Difference]
    seam: Seam | None
    calls: int

    @property
    def fails(self) -> bool:
        """Whether a difference is not explained."""
        return any(difference.fails for difference in self.differences)


@dataclass(frozen=True)
class Verification:
    """All that a verification asks, while nobody delivers.

    Attributes:
        root: The data root.
        meter: The meter.
        live: The live meter.
        reader: The service.
        ledger: What was delivered into it.
        sent: The same, of the window.
        start: First instant, a UTC midnight.
        end: First instant after it, another.
        settling: Compares raw events with the ledger.
        marked: Whether ours are told from live traffic by their mark.
        cut_over: First instant of live traffic, where it is declared.
        now: The present.
    """

    root: DataRoot
    meter: Meter
    live: Mapping[str, object]
    reader: LiveMeter
    ledger: DeliveryLedger
    sent: Sent
    start: datetime
    end: datetime
    settling: Settling
    marked: bool
    cut_over: datetime | None
    now: datetime

    def run(self, *, thorough: bool = False) -> Verified:
        """Compare.

        Args:
            thorough: Compare every event by its key, not only where totals differ.

        Raises:
            TargetError: When the service refuses.
        """
        ours, theirs = self.sent.by_subject(), self.reader.by_subject(self.start, self.end)
        comparison = _Comparison(self, ours, theirs)
        differences = comparison.run(thorough=thorough)
        everything = (
            self.reader.by_subject(self.start, self.end, marked=False) if self.marked else theirs
        )
        seam = None
        if self.cut_over is not None:
            seam = look_at_seam(
                self.root, self.meter, self.reader, self.sent, self.cut_over, self.now
            )
            differences += seam.differences
        there = sum(holding.events for holding in theirs.values())
        return Verified(
            meter=self.meter.name,
            start=self.start.date(),
            end=self.end.date(),
            beside_lake=self.sent.beside_lake(),
            delivered=sum(ours.values(), Total()),
            there=there,
            beside=sum(holding.events for holding in everything.values()) - there,
            marked=self.marked,
            how=comparison.how,
            differences=differences,
            seam=seam,
            calls=self.reader.calls,
        )


@contextmanager
def verifying(
    root: DataRoot,
    meter: Meter,
    client: OpenSpanner,
    first: date | None = None,
    last: date | None = None,
    now: datetime | None = None,
    *,
    cut_over: datetime | None = None,
) -> Iterator[Verification]:
    """Prepare a verification, and keep others from delivering; nothing is changed.

    Args:
        root: The data root.
        meter: The meter.
        client: The service.
        first: First UTC day; that of the oldest delivered event by default.
        last: UTC day after the last one; that after the newest delivered event by default.
        now: With a zone; the present by default.
        cut_over: First instant of live traffic, where it is declared.

    Raises:
        TargetError: When there is no such meter there, nothing was delivered into it, another
            delivery is at work, or the service refuses.
    """
    live = client.find_meter(meter.name)
    if live is None:
        raise TargetError(f"the service has no meter {meter.name}. Deliver first.")
    ledger = DeliveryLedger(root, client.target, live)
    if (bounds := bounds_of(ledger)) is None:
        raise TargetError(
            f"nothing was delivered from here into the live meter {meter.name}. Deliver first."
        )
    with at_work(root), ledger.alone():
        ledger = DeliveryLedger(root, client.target, live)
        start = _midnight(first or bounds[0].astimezone(UTC).date())
        end = _midnight(last or bounds[1].astimezone(UTC).date() + DAY)
        if start >= end:
            raise TargetError(f"no day lies from {start:%Y-%m-%d} to {end:%Y-%m-%d}.")
        marked = can_be_marked([dimension.name for dimension in meter.dimensions])
        reader = LiveMeter(client, meter.name, marked=marked)
        now = now or datetime.now(UTC)
        kept_from = now - timedelta(days=int(live["event_retention_days"]))
        with reading_sent(root, meter, ledger, start, end, cut_over) as sent:
            counts, whole = meter.aggregation == "count", not sent.has_fractions()
            settling = Settling(reader, sent, kept_from, counts=counts, whole=whole or counts)
            yield Verification(
                root=root,
                meter=meter,
                live=live,
                reader=reader,
                ledger=ledger,
                sent=sent,
                start=start,
                end=end,
                settling=settling,
                marked=marked,
                cut_over=cut_over,
                now=now,
            )


def verify_delivery(
    root: DataRoot,
    meter: Meter,
    client: OpenSpanner,
    first: date | None = None,
    last: date | None = None,
    now: datetime | None = None,
    *,
    cut_over: datetime | None = None,
    thorough: bool = False,
) -> Verified:
    """Compare what the ledger says was delivered with what the service holds; nothing is changed.

    Memory holds the totals of all subjects, of 200,000 subjects and days, and the events of one
    subject and day, or of an hour and up to 100,000 more where every event is compared.

    Args:
        root: The data root.
        meter: The meter.
        client: The service.
        first: As of `verifying`, like the next ones.
        last: The same.
        now: The same.
        cut_over: The same.
        thorough: Compare every event by its key, not only where totals differ.

    Raises:
        TargetError: As of `verifying`.
    """
    with verifying(root, meter, client, first, last, now, cut_over=cut_over) as verification:
        return verification.run(thorough=thorough)


class _Comparison:
    """Goes from subjects to days to events, as far as they differ."""

    def __init__(
        self, asked: Verification, ours: Mapping[str, Total], theirs: Mapping[str, Holding]
    ) -> None:
        self._reader, self._sent, self._settling = asked.reader, asked.sent, asked.settling
        self._start, self._end = asked.start, asked.end
        self._ours, self._theirs = ours, theirs
        self._additive = asked.meter.aggregation in ADDITIVE
        self._counts = asked.meter.aggregation == "count"
        self._whole = self._counts or not asked.sent.has_fractions()
        self._grid: dict[str, dict[date, Decimal]] | None = None
        self._settled: set[Place] = set()
        self.how = BY_EVENT

    def run(self, *, thorough: bool) -> list[Difference]:
        """Find all differences, those of one subject together."""
        found: dict[str, list[Difference]] = defaultdict(list)
        uneven: set[str] = set()
        if self._additive:
            uneven = {s for s in self._ours.keys() | self._theirs.keys() if self._is_uneven(s)}
            days = self._days_that_differ()
            for subject in uneven | days.keys():
                found[subject] += self._settle(subject, days.get(subject))
            for subject in (self._ours.keys() & self._theirs.keys()) - found.keys():
                more = EXACT.subtract(
                    self._theirs[subject].quantity, self._value(self._ours[subject])
                )
                if more:
                    whole = Difference(subject, self._start, self._end, ROUNDING, 0, more)
                    found[subject].append(whole)
        if thorough or not self._additive:
            self.how = BY_EVENT
            for one in self._event_by_event():
                still = self._additive and one.subject not in uneven
                found[one.subject] += rolled_up([one]) if still else [one]
        return [one for subject in sorted(found) for one in found[subject]]

    def _is_uneven(self, subject: str) -> bool:
        mine = self._ours.get(subject, Total())
        its = self._theirs.get(subject, Holding(0, Decimal(0)))
        return mine.rows != its.events or not self._alike(mine, its.quantity)

    def _alike(self, ours: Total, theirs: Decimal) -> bool:
        return alike(self._value(ours), theirs, ours.rows, whole=self._whole)

    def _days_that_differ(self) -> dict[str, list[date]]:
        """The days on which a subject differs, so that no day makes up for another."""
        expected = self._sent.subjects_of_days()
        days: set[date] | None = None
        if sum(expected.values()) > MOST_PLACES:
            self.how, days = BY_MARGINS, self._uneven_days()
            windows = [(_midnight(day), _midnight(day) + DAY) for day in sorted(days)]
        else:
            self.how, self._grid = BY_SUBJECT_AND_DAY, defaultdict(dict)
            windows = list(_windows(expected, self._start.date(), self._end.date()))
        theirs = self._reader.by_subject_and_day(windows)
        ours = self._sent.by_subject_and_day(days)
        found: dict[str, list[date]] = defaultdict(list)
        for subject, day in sorted(ours.keys() | theirs.keys()):
            there = theirs.get((subject, day), Decimal(0))
            if self._grid is not None:
                self._grid[subject][day] = there
            if not self._alike(ours.get((subject, day), Total()), there):
                found[subject].append(day)
        return found

    def _uneven_days(self) -> set[date]:
        ours, theirs = self._sent.by_day(), self._reader.by_day(self._start, self._end)
        inside = {day for day in ours.keys() | theirs.keys() if day < self._end.date()}
        return {
            day
            for day in inside
            if not self._alike(ours.get(day, Total()), theirs.get(day, Decimal(0)))
        }

    def _settle(self, subject: str, days: list[date] | None) -> Iterator[Difference]:
        ours = self._sent.by_day(subject)
        if self._grid is not None:
            theirs = self._grid.get(subject, {})
        else:
            theirs = self._reader.by_day(self._start, self._end, subject)
            every = sorted(ours.keys() | theirs.keys())
            days = [
                day
                for day in every
                if not self._alike(ours.get(day, Total()), theirs.get(day, Decimal(0)))
            ]
        # Where only the numbers of events differ, every day is looked at.
        for day in days or sorted(ours.keys() | theirs.keys()):
            start, there = _midnight(day), theirs.get(day, Decimal(0))
            if start >= self._end:
                yield from self._beyond(subject, there)
                continue
            edges = {start: -1} if start == self._start else {}
            yield from self._settling.compare(start, start + DAY, subject, there, edges=edges)
            self._settled.add((subject, day))

    def _beyond(self, subject: str, there: Decimal) -> Iterator[Difference]:
        """Events of the day after the last one, which the service counts before its midnight."""
        place = (self._end, self._end + DAY)
        moved = self._settling.moved(*place, subject, {self._end: 1})
        if moved is not None:
            yield moved
            there = EXACT.subtract(there, moved.quantity)
        if there:
            yield Difference(subject, *place, UNEXPLAINED, 0, there)

    def _event_by_event(self) -> Iterator[Difference]:
        for start, end in self._stretches():
            yield from self._settling.compare(start, end, but=self._settled)

    def _stretches(self) -> Iterator[tuple[datetime, datetime]]:
        """The window in stretches of whole hours, of few enough events."""
        start, held = self._start, 0
        for hour, events in [*self._sent.hours(), (self._end, 0)]:
            while start + _LONGEST_STRETCH < hour:
                yield start, start + _LONGEST_STRETCH
                start, held = start + _LONGEST_STRETCH, 0
            if held + events > _EVENTS_AT_ONCE and start < hour:
                yield start, hour
                start, held = hour, 0
            held += events
        yield start, self._end

    def _value(self, total: Total) -> Decimal:
        return Decimal(total.rows) if self._counts else total.quantity


def _windows(
    expected: Mapping[date, int], first: date, last: date
) -> Iterator[tuple[datetime, datetime]]:
    """Whole days in windows of which an answer holds all subjects and days, as far as we know."""
    start, held = first, 0
    for day, subjects in sorted(expected.items()):
        while day >= start + _LONGEST_CALL * DAY:
            yield _midnight(start), _midnight(start + _LONGEST_CALL * DAY)
            start, held = start + _LONGEST_CALL * DAY, 0
        if held and held + subjects > _PLACES_OF_A_CALL:
            yield _midnight(start), _midnight(day)
            start, held = day, 0
        held += subjects
    while start < last:
        end = min(last, start + _LONGEST_CALL * DAY)
        yield _midnight(start), _midnight(end)
        start = end


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
